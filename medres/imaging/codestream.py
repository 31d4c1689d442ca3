"""The size that a compressed frame itself says it has.

Codecs decode to their own size, and a header with other Rows and Columns of the same product
would fold the picture without a word. JPEG, JPEG-LS, JPEG 2000 and HTJ2K say their size; RLE does
not.
"""

from __future__ import annotations

import struct

JPEG_START = b"\xff\xd8"
J2K_START = b"\xff\x4f\xff\x51"
STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
# SOF0-SOF15 without DHT (C4), JPG (C8) and DAC (CC); SOF55 (F7) is JPEG-LS.
FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream; None for any other.

    References:
        ITU-T T.81 B.2.2 (frame header), T.87 C.2.2, T.800 A.5.1 (SIZ).
    """
    if frame.startswith(J2K_START) and len(frame) >= 24:
        columns, rows, left, top = struct.unpack(">4I", frame[8:24])
        return rows - top, columns - left
    if frame.startswith(JPEG_START):
        return _jpeg_size(frame)
    return None


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
