"""Stored values as each transfer syntax stores them, by the encoders there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom import uid as uids
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID

NATIVE = {
    "implicit": uids.ImplicitVRLittleEndian,
    "explicit": uids.ExplicitVRLittleEndian,
    "big-endian": uids.ExplicitVRBigEndian,
    "deflated": uids.DeflatedExplicitVRLittleEndian,
}
BY_PYDICOM = {
    "rle": (uids.RLELossless, "pydicom"),
    "jpeg-ls": (uids.JPEGLSLossless, "pyjpegls"),
    "jpeg-2000": (uids.JPEG2000Lossless, "pylibjpeg"),
}
BY_IMAGECODECS = {
    "jpeg lossless": uids.JPEGLossless,
    "jpeg lossless SV1": uids.JPEGLosslessSV1,
    "htj2k": uids.HTJ2KLossless,
    "htj2k RPCL": uids.HTJ2KLosslessRPCL,
}
HAS_IMAGECODECS = find_spec("imagecodecs") is not None  # the extra `codecs`
LOSSLESS = (*NATIVE, *BY_PYDICOM, *(BY_IMAGECODECS if HAS_IMAGECODECS else ()))


@dataclass(frozen=True)
class CodedPixels:
    """Pixel Data and the transfer syntax it is in.

    Args:
        syntax: UID.
        data: the value of Pixel Data.
        extended: offsets and lengths of an Extended Offset Table; empty where there is none.
    """

    syntax: UID
    data: bytes
    extended: tuple[bytes, ...] = ()


def code_pixels(
    coding: str,
    frames: NDArray[np.integer],
    bits: int,
    *,
    layout: str = "offsets",
    dirt: NDArray[np.integer] | None = None,
) -> CodedPixels:
    """(frames, H, W) stored values, in their container's type.

    Args:
        coding: one of `LOSSLESS`.
        frames: values within `bits`.
        bits: that are stored.
        layout: of compressed frames: offsets, no offsets, two fragments, extended.
        dirt: what else stands in the container's words, for codings that keep them whole.
    """
    words = frames if dirt is None else dirt
    if coding in NATIVE:
        order = ">" if coding == "big-endian" else "<"
        data = words.astype(words.dtype.newbyteorder(order)).tobytes()
        return CodedPixels(NATIVE[coding], data + b"\0" * (len(data) % 2))
    if coding in BY_PYDICOM:
        syntax, plugin = BY_PYDICOM[coding]
        streams = [_by_pydicom(frame, bits, syntax, plugin) for frame in words]
    else:
        syntax = BY_IMAGECODECS[coding]
        streams = [_by_imagecodecs(frame, bits, syntax) for frame in words]
    return _encapsulated(syntax, streams, layout)


def write_coded(dataset: Dataset, coded: CodedPixels, path: Path) -> None:
    """The data set as a file, with those pixels."""
    dataset.PixelData = coded.data
    dataset.file_meta.TransferSyntaxUID = coded.syntax
    encapsulated = coded.syntax.is_encapsulated
    dataset["PixelData"].VR = "OB" if encapsulated or dataset.BitsAllocated == 8 else "OW"
    dataset["PixelData"].is_undefined_length = encapsulated
    if coded.extended:
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = coded.extended
    dataset.save_as(path, enforce_file_format=True)


def _by_pydicom(frame: NDArray[np.integer], bits: int, syntax: UID, plugin: str) -> bytes:
    dataset = Dataset()
    dataset.file_meta = uids_meta()
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = frame.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * frame.itemsize, bits, bits - 1
    if syntax == uids.RLELossless:
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset.PixelRepresentation = int(frame.dtype.kind == "i")
    dataset.PixelData = frame.astype(frame.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OB" if frame.itemsize == 1 else "OW"
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    from pydicom.encaps import get_frame

    return bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))


def uids_meta() -> Dataset:
    """File meta information of an uncompressed data set."""
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    return meta


def _by_imagecodecs(frame: NDArray[np.integer], bits: int, syntax: UID) -> bytes:
    import imagecodecs

    if syntax in (uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL):
        return bytes(imagecodecs.htj2k_encode(frame, reversible=True))
    words = (frame.view(f"u{frame.itemsize}") & (2**bits - 1)).astype(f"u{frame.itemsize}")
    return bytes(imagecodecs.jpeg8_encode(words, lossless=True, bitspersample=bits))


def _encapsulated(syntax: UID, streams: Sequence[bytes], layout: str) -> CodedPixels:
    if layout == "extended":
        data, offsets, lengths = encapsulate_extended([*streams])
        return CodedPixels(syntax, data, (offsets, lengths))
    each = 2 if layout == "two fragments" and syntax != uids.RLELossless else 1
    return CodedPixels(
        syntax,
        encapsulate([*streams], fragments_per_frame=each, has_bot=layout != "no offsets"),
    )
