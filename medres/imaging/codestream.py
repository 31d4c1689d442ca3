"""The size that a compressed frame itself says it has.

Codecs decode to their own size, and a header with other Rows and Columns of the same product
would fold the picture without a word. JPEG, JPEG-LS, JPEG 2000 and HTJ2K say their size; RLE does
not, and is counted.
"""

from __future__ import annotations

import struct

JPEG_START = b"\xff\xd8"
J2K_START = b"\xff\x4f\xff\x51"
JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
JP2_HEADER_BYTES = 4096
LARGEST_RLE_RATIO = 64  # two bytes make up to 128
STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
# SOF0-SOF15 without DHT (C4), JPG (C8) and DAC (CC); SOF55 (F7) is JPEG-LS.
FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream; None for any other.

    References:
        ITU-T T.81 B.2.2 (frame header), T.87 C.2.2, T.800 A.5.1 (SIZ).
    """
    if frame.startswith(JP2_START):  # the codestream in its file format, against PS3.5 A.4.4
        frame = frame[max(frame.find(J2K_START, 0, JP2_HEADER_BYTES), 0) :]
    if frame.startswith(J2K_START) and len(frame) >= 24:
        columns, rows, left, top = struct.unpack(">4I", frame[8:24])
        return rows - top, columns - left
    if frame.startswith(JPEG_START):
        return _jpeg_size(frame)
    return None


def count_tiles(frame: bytes) -> tuple[int, int]:
    """Tiles and components of a JPEG 2000 codestream, for which a decoder reserves memory at once.

    (1, 1) for any other. 0 tiles where the tile's size is 0.

    References:
        ITU-T T.800 A.5.1 (SIZ): XTsiz, YTsiz, XTOsiz, YTOsiz, Csiz; equation B-5.
    """
    start = frame.find(J2K_START, 0, JP2_HEADER_BYTES)
    if not frame.startswith((J2K_START, JP2_START)) or start < 0 or len(frame) < start + 42:
        return 1, 1
    right, bottom, _, _, width, height, left, top, components = struct.unpack(
        ">8IH", frame[start + 8 : start + 42]
    )
    if not (width and height):
        return 0, components
    return -((left - right) // width) * -((top - bottom) // height), components


def check_rle(frame: bytes, segment_bytes: int) -> bool:
    """Whether no segment of an RLE frame grows beyond what a segment of this frame may have.

    Decoders decode a segment to its end, and compare its length then. Counting stops at the first
    that is too long, so that a bomb costs no more than a frame.

    Args:
        frame: the RLE header and its segments (PS3.5 G.5).
        segment_bytes: that a segment may decode to.
    """
    if len(frame) < 64 or len(frame) * LARGEST_RLE_RATIO <= segment_bytes:
        return True
    number, *offsets = struct.unpack("<16L", frame[:64])
    ends = [*offsets[1 : max(number, 1)], len(frame)]
    return all(
        (end - start) * LARGEST_RLE_RATIO <= segment_bytes
        or _decoded_length(frame, start, min(end, len(frame)), segment_bytes) <= segment_bytes
        for start, end in zip(offsets, ends, strict=False)
    )


def _decoded_length(frame: bytes, at: int, end: int, limit: int) -> int:
    """Bytes that an RLE segment decodes to, or a few more than the limit (PS3.5 G.3.2)."""
    decoded = 0
    while at < end and decoded <= limit:
        control = frame[at]
        if control < 128:
            decoded += control + 1
            at += control + 2
        else:
            decoded += 257 - control if control > 128 else 0
            at += 2 if control > 128 else 1
    return decoded


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in STANDALONE_MARKERS:
            at += 1 if marker == 0xFF else 2
        elif marker in FRAME_HEADERS:
            rows, columns = struct.unpack(">2H", frame[at + 5 : at + 9])
            return rows, columns
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
