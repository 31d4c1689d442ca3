"""Look-up tables of a DICOM header: modality and VOI LUTs, and palettes as their colours' luma.

Read here and not by pydicom, which takes words of big-endian files for little-endian ones, refuses
palettes of an odd number of bytes, and copies indirect segments from the wrong place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medres.errors import RejectReason
from medres.imaging.dicom_header import Header, name_tag
from medres.imaging.grayscale import LookupTable, luma

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CHANNELS = ("Red", "Green", "Blue")
DISCRETE, LINEAR, INDIRECT = 0, 1, 2


def lookup_table(
    header: Header, item: Dataset, keyword: str, *, takes_negatives: bool
) -> LookupTable:
    """A LUT from its descriptor and data (PS3.3 C.11.1.1.1).

    Args:
        header: of the image.
        item: of the sequence.
        keyword: of the sequence, for errors.
        takes_negatives: whether its input can be negative, which a first input written as US hides.

    Raises:
        UnreadableImageError: descriptor and data contradict each other.
    """
    descriptor = [int(number) for number in header.numbers("LUTDescriptor", item)]
    data = header.value("LUTData", item)
    if len(descriptor) != 3 or data is None:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag(keyword)} lacks {name_tag('LUTDescriptor')} or {name_tag('LUTData')}",
        )
    count = _count(descriptor)
    entries = _entries(header, data, count)
    if entries.size < count:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag(keyword)} holds {entries.size} of the {count} entries it describes",
        )
    entries = entries[:count].astype(np.float64)
    # Entries wider than the descriptor says are found in the wild: the range covers them.
    bits = max(descriptor[2], int(entries.max()).bit_length(), 1)
    return LookupTable(_first(descriptor, takes_negatives), entries, bits)


def palette_luma(header: Header, low: int, high: int) -> LookupTable:
    """The luma of each stored value's palette colour (PS3.3 C.7.6.3.1.5, C.7.9).

    Args:
        header: of the image.
        low: smallest stored value there can be.
        high: largest.

    Raises:
        UnreadableImageError: no palette, or one that contradicts itself.
    """
    if high - low > 0xFFFF:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag('BitsStored')} exceeds 16, more than a palette can have",
        )
    channels = [_palette_channel(header, color, low < 0) for color in CHANNELS]
    firsts, tables, bits = zip(*channels, strict=True)
    if len(set(firsts)) > 1 or len({table.size for table in tables}) > 1 or len(set(bits)) > 1:
        raise _contradiction(header)
    inputs = np.arange(low, high + 1)
    place = np.clip(inputs - firsts[0], 0, tables[0].size - 1)
    colors = np.stack([table[place] for table in tables], axis=-1)
    return LookupTable(low, luma(colors), bits[0])


def _palette_channel(
    header: Header, color: str, takes_negatives: bool
) -> tuple[int, NDArray[Any], int]:
    """First stored value, entries and bits per entry of one colour."""
    descriptor = [
        int(number) for number in header.numbers(f"{color}PaletteColorLookupTableDescriptor")
    ]
    plain = header.value(f"{color}PaletteColorLookupTableData")
    segments = header.value(f"Segmented{color}PaletteColorLookupTableData")
    if len(descriptor) != 3 or (plain is None and segments is None):
        raise _contradiction(header)
    count, bits = _count(descriptor), descriptor[2]
    if plain is not None:
        entries = _entries(header, plain, count)
        # 8-bit entries are found in words, and 16-bit ones in bytes: what is there decides.
        bits = 8 * entries.itemsize if bits in (8, 16) and isinstance(plain, bytes) else bits
    else:
        entries = _unfold(header, _segment_words(header, segments, bits), count, bits)
    if bits not in (8, 16) or entries.size < count:
        raise _contradiction(header)
    return _first(descriptor, takes_negatives), entries[:count], bits


def _count(descriptor: Sequence[int]) -> int:
    """0 stands for 65,536, which has no place in 16 bits."""
    return descriptor[0] % 0x10000 or 0x10000


def _first(descriptor: Sequence[int], takes_negatives: bool) -> int:
    """Written as US although the input is signed, by some."""
    first = descriptor[1]
    return first - 0x10000 if first > 0x7FFF and takes_negatives else first


def _entries(header: Header, data: Any, count: int) -> NDArray[Any]:
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    if len(data) in (count, count + count % 2):  # 8-bit entries without padding
        return np.frombuffer(_bytes_of_words(header, data), np.uint8)
    return _words(header, data)


def _words(header: Header, data: bytes) -> NDArray[Any]:
    """Little endian, but for the retired Explicit VR Big Endian."""
    kind = ">u2" if _is_big_endian(header) else "<u2"
    return np.frombuffer(data[: len(data) // 2 * 2], kind)


def _bytes_of_words(header: Header, data: bytes) -> bytes:
    """Bytes in the order of the words (OW) that hold them: low byte first (PS3.5 8.1)."""
    return _words(header, data).astype("<u2").tobytes() if _is_big_endian(header) else data


def _is_big_endian(header: Header) -> bool:
    return getattr(header.dataset, "original_encoding", (None, True))[1] is False


def _segment_words(header: Header, data: Any, bits: int) -> list[int]:
    if not isinstance(data, bytes):
        raise _contradiction(header)
    if bits == 8:
        return list(_bytes_of_words(header, data))
    return [int(word) for word in _words(header, data)]


def _unfold(header: Header, words: list[int], count: int, bits: int) -> NDArray[Any]:
    """The entries of a segmented palette (PS3.3 C.7.9.2), no more than the descriptor says."""
    entries: list[int] = []
    at = 0
    while len(entries) < count and at + 1 < len(words):
        kind, length = words[at : at + 2]
        size = {DISCRETE: 2 + length, LINEAR: 3, INDIRECT: 6 if bits == 8 else 4}.get(kind)
        if size is None or at + size > len(words):
            raise _contradiction(header)
        if kind == INDIRECT:
            _copy(header, words, entries, length, _offset(words[at + 2 : at + size], bits))
        else:
            _extend(header, entries, words[at : at + size])
        at += size
    return np.array(entries, np.uint8 if bits == 8 else np.uint16)


def _extend(header: Header, entries: list[int], segment: list[int]) -> None:
    """Add a discrete segment's values, or a line from the last value to the segment's."""
    kind, length = segment[:2]
    if kind == DISCRETE:
        entries += segment[2:]
    elif kind == LINEAR and entries:
        start, end = entries[-1], segment[2]
        steps = np.arange(1, length + 1)
        entries += [int(value) for value in np.rint(start + (end - start) * steps / max(length, 1))]
    else:
        raise _contradiction(header)


def _copy(header: Header, words: list[int], entries: list[int], segments: int, at: int) -> None:
    """Add some segments that stand elsewhere; an indirect one among them is not allowed."""
    for _ in range(min(segments, len(words))):
        if at + 2 > len(words):
            raise _contradiction(header)
        size = 2 + words[at + 1] if words[at] == DISCRETE else 3
        if at + size > len(words) or len(entries) > 0x10000:
            raise _contradiction(header)
        _extend(header, entries, words[at : at + size])
        at += size


def _offset(words: list[int], bits: int) -> int:
    """Where an indirect segment points to, of a byte offset of 32 bits, low part first."""
    if bits == 8:
        return int.from_bytes(bytes(words), "little")
    return (words[0] | words[1] << 16) // 2


def _contradiction(header: Header) -> Exception:
    return header.refuse(RejectReason.INVALID_HEADER, "the palette is absent or contradicts itself")
