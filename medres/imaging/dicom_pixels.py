"""The stored values of one DICOM frame, decoded by pydicom's plugins and checked before and after.

A file with less pixel data than its header promises gives an error, never a picture.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from pydicom.encaps import get_frame, parse_fragments
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from medres.errors import RejectReason
from medres.imaging.codecs import describe_missing_decoder, find_decoder
from medres.imaging.codestream import check_rle, codestream_size, count_tiles
from medres.imaging.dicom_header import Header, attempt, name_tag, name_uid
from medres.imaging.dicom_rendering import COLOR, stored_range
from medres.imaging.limits import LIMITS

# ITU-T T.800 A.4.2: a tile's index has 16 bits. Grayscale, colour, and an alpha to ignore.
MOST_TILES = 65_535
MOST_COMPONENTS = 4
# Without the end marker (ITU-T T.87 C.1.1) CharLS looks for it beyond the stream, for 4 s of CPU.
JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
JPEG_END = b"\xff\xd9"


def decode_frame(header: Header) -> NDArray[Any]:
    """Stored values of the frame, (H, W), or (H, W, 3) for colour, as RGB.

    Signed as Pixel Representation says, without what else the unused bits hold.
    """
    dataset = header.dataset
    syntax = _transfer_syntax(header)
    decoder = _decoder(header, syntax)
    native = not syntax.is_encapsulated
    if native:
        _check_length(header)
    else:
        _check_codestream(header)
    options: dict[str, Any] = {"allow_excess_frames": False}
    if native or syntax == RLELossless:
        options["correct_unused_bits"] = False  # done below, by High Bit too
    if native:
        options["view_only"] = True
    decoded, failure = attempt(lambda: decoder.as_array(dataset, index=header.frame, **options))
    if decoded is None:
        reason = RejectReason.TOO_LARGE if failure is MemoryError else RejectReason.DECODE_FAILED
        raise header.refuse(
            reason,
            f"{name_tag('PixelData')} ({name_uid(syntax)}) cannot be decoded: damaged, cut short, "
            "or not what the header says",
        )
    array: NDArray[Any] = decoded[0]
    if "correct_unused_bits" in options and header.text("PhotometricInterpretation") not in COLOR:
        array = _strip_unused_bits(header, array)
    return array


def _transfer_syntax(header: Header) -> UID:
    """Of the pixel data; where the file says none, what pydicom found the data set to be in."""
    dataset = header.dataset
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return UID(dataset.file_meta.TransferSyntaxUID)


def _decoder(header: Header, syntax: UID) -> Any:
    """The decoder for the transfer syntax, if one of its plugins can run here."""
    bits_stored = header.integer("BitsStored")
    decoder = find_decoder(syntax, bits_stored)
    if decoder is None:
        raise header.refuse(RejectReason.NO_DECODER, describe_missing_decoder(syntax, bits_stored))
    return decoder


def _check_length(header: Header) -> None:
    """Uncompressed pixel data must be as long as the header promises (PS3.5 8.1.1)."""
    bits = (
        header.integer("Rows")
        * header.integer("Columns")
        * header.integer("SamplesPerPixel", 1)
        * header.integer("BitsAllocated")
        * max(header.integer("NumberOfFrames", 1), 1)
    )
    if header.text("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    content = header.value("PixelData")
    if not isinstance(content, bytes):
        raise header.refuse(
            RejectReason.INVALID_HEADER, f"{name_tag('PixelData')} holds no bytes; repair the file"
        )
    if header.dataset["PixelData"].is_undefined_length:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag('PixelData')} is in fragments, but its transfer syntax is uncompressed",
        )
    expected, found = -(-bits // 8), len(content)
    if found < expected:
        raise header.refuse(
            RejectReason.TRUNCATED,
            f"{name_tag('PixelData')} holds {found} of the {expected} bytes that the header "
            "promises; fetch the file again",
        )


def _check_codestream(header: Header) -> None:
    """A compressed frame must have the size that the header says."""
    dataset, frames = header.dataset, max(header.integer("NumberOfFrames", 1), 1)
    found, _ = attempt(lambda: parse_fragments(dataset.PixelData))
    fragments = frames if found is None else found[0] - 1  # the first item is the offset table
    if fragments < frames:
        raise header.refuse(
            RejectReason.TRUNCATED,
            f"{name_tag('PixelData')} holds {fragments} fragments for the {frames} frames that the "
            "header promises; fetch the file again",
        )
    encoded, _ = attempt(
        lambda: get_frame(dataset.PixelData, header.frame, number_of_frames=frames)
    )
    if encoded is None:
        return  # the decoder says so
    if _transfer_syntax(header) in JPEG_LS and JPEG_END not in encoded:
        raise header.refuse(
            RejectReason.TRUNCATED,
            f"{name_tag('PixelData')} lacks the end of its JPEG-LS stream; fetch the file again",
        )
    _check_growth(header, encoded)
    size = codestream_size(encoded)
    expected = (header.integer("Rows"), header.integer("Columns"))
    if size is not None and size != expected:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"the compressed frame is {size[0]} x {size[1]} pixels, but Rows x Columns say "
            f"{expected[0]} x {expected[1]}",
        )


def _check_growth(header: Header, encoded: bytes) -> None:
    """Refuse a frame for which a decoder would reserve far more than the frame's own size."""
    rows, columns = header.integer("Rows"), header.integer("Columns")
    tiles, components = count_tiles(encoded)
    if not 1 <= tiles <= min(MOST_TILES, rows * columns) or components > MOST_COMPONENTS:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"the compressed frame has {tiles} tiles and {components} components; 1 to "
            f"{MOST_TILES} and at most {MOST_COMPONENTS} are read",
        )
    if _transfer_syntax(header) == RLELossless and not check_rle(
        encoded, max(2 * rows * columns, LIMITS.rle_segment_bytes)
    ):
        raise header.refuse(
            RejectReason.TOO_LARGE,
            f"an RLE segment decodes to far more than the frame's {rows} x {columns} pixels",
        )


def _strip_unused_bits(header: Header, array: NDArray[Any]) -> NDArray[Any]:
    """Only the stored bits, sign-extended (PS3.5 8.1.1): overlays and dirt may fill the others."""
    allocated, stored = 8 * array.dtype.itemsize, header.integer("BitsStored")
    if stored == allocated or header.integer("BitsAllocated") == 1:
        return array
    high_bit = header.integer("HighBit", stored - 1)
    if not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    low, high = stored_range(header)
    clean_below = low == 0 or low <= array.min()  # unsigned pixels are not below 0: a pass saved
    if high_bit == stored - 1 and clean_below and array.max() <= high:
        return array
    array = array.astype(array.dtype.newbyteorder("="))
    array <<= allocated - 1 - high_bit
    array >>= allocated - stored
    return array
