"""How much a file may ask for, and how it is opened so that it cannot ask for more.

A file's own figures are claims: of its size, its frames, the length of its elements, what it
inflates to. Each is compared with what is there, and with these limits, before memory or time is
spent on it. What a reading may then cost is the file's size, or what a compressed file may inflate
to, and up to 25 bytes for each pixel of one frame, 36 where it is coloured.
"""

from __future__ import annotations

import io
import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from medres.errors import RejectReason, UnreadableImageError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest that is read; far above any image to classify, far below a machine's end.

    Args:
        file_bytes: of a file. A breast tomosynthesis without compression has 1 to 2 GiB.
        frame_pixels: of one frame, slice or page: 16,384 squared. A mammogram has 2**24.6.
        inflated_bytes: of a deflated DICOM data set, known only by inflating it, which takes up to
            four times as much: 256 frames of 1024 squared at 8 bits.
        volume_bytes: of a NIfTI volume or an array in an npz file: slices across the fastest axis
            take reading it whole. 512 x 512 x 1,000 float32 has 1 GiB.
        frames: of a file, be they slices, pages or items of an array: what lists them holds one
            record each. Whole-slide images have some 100,000, the largest MedMNIST 236,386.
        pages: of a TIFF or an animated PNG, of which each may be the next directory of a chain.
        header_reads: of a DICOM file, two or three an element. 3,000 frames of an enhanced object
            have some 180,000 elements; each costs memory many times its 8 bytes, and 10 us.
        rle_segment_bytes: that an RLE segment may decode to where the frame needs fewer. It makes
            up to 64 bytes of one and says no size; up to here a decoder finds the excess itself,
            beyond it the runs are counted first, which takes 0.1 s for a million.
        reader_bytes: of address space for a process that reads on behalf of another
            (`medres.imaging.isolated`): the largest file and the largest frame at once.
        read_seconds: that such a process has for one image. The largest frame in JPEG 2000, the
            slowest coding, takes 30 s on one core.
        archive_members: files in a zip or tar.
        archive_ratio: times its own size that an archive may inflate to as a whole; radiographs
            shrink to a half or a fifth, a bomb to a thousandth.
        archive_bytes: that it may inflate to in any case.
    """

    file_bytes: int = 2**31
    frame_pixels: int = 2**28
    inflated_bytes: int = 2**28
    volume_bytes: int = 2**31
    frames: int = 2**20
    pages: int = 2**14
    header_reads: int = 2**19
    rle_segment_bytes: int = 2**27
    reader_bytes: int = 3 * 2**31
    read_seconds: int = 120
    archive_members: int = 2**20
    archive_ratio: int = 100
    archive_bytes: int = 2**30


LIMITS = Limits()
ENDED = object()
LARGEST_DEFLATE_RATIO = 1032  # zlib's technical notes: 258 bytes of 2 bits


class LimitExceededError(MemoryError):
    """A header of more pieces than one may have; caught where the file is known."""


class BoundedReader(io.BufferedReader):
    """A file that never reserves memory for bytes that it does not hold, nor is read for ever.

    Python reserves what is asked for before it reads: an element that claims 4 GiB would take them.

    Args:
        raw: the open file.
        size: of it, in bytes.
        reads: that are allowed; None for any number.
    """

    def __init__(self, raw: io.RawIOBase, size: int, reads: int | None = None) -> None:
        super().__init__(raw)
        self.size = size
        self._reads = itertools.repeat(None) if reads is None else iter(range(reads))

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes, and at most those left.

        Raises:
            LimitExceededError: it was read as often as is allowed.
        """
        if next(self._reads, ENDED) is ENDED:
            raise LimitExceededError
        left = max(self.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def open_bounded(path: Path, reads: int | None = None) -> BoundedReader:
    """Open a regular file without ever waiting: a FIFO without a writer would block for good.

    Args:
        path: of the file.
        reads: that are allowed; None for any number.

    Raises:
        UnreadableImageError: no such file, no regular one, or a larger one than is read.
        OSError: it is there and regular, but cannot be opened.
    """
    check_file(path)
    raw = io.FileIO(path, opener=_open_without_waiting)
    try:
        status = os.fstat(raw.fileno())
        _check_status(path, status)
        return BoundedReader(raw, status.st_size, reads)
    except BaseException:
        raw.close()
        raise


def check_file(path: Path) -> None:
    """Refuse what is no regular file of an acceptable size, without opening it.

    Raises:
        UnreadableImageError: not_found (absent, folder, FIFO, device, socket) or too_large.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        message = "there is no such file" if missing else "the path cannot be followed to a file"
        raise UnreadableImageError(RejectReason.NOT_FOUND, path, message) from error
    _check_status(path, status)


def check_pixels(path: object, rows: int, columns: int) -> None:
    """Refuse a frame of more pixels than are read.

    Raises:
        UnreadableImageError: too_large.
    """
    if rows * columns > LIMITS.frame_pixels:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"{rows} x {columns} pixels a frame; {LIMITS.frame_pixels} are read at most",
        )


def check_count(path: object, frames: int) -> None:
    """Refuse more frames than are listed.

    Raises:
        UnreadableImageError: too_large.
    """
    if frames > LIMITS.frames:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE, path, f"{frames} frames; {LIMITS.frames} are read at most"
        )


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_status(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImageError(
            RejectReason.NOT_FOUND, path, "is a folder; give the path of one file in it"
        )
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImageError(
            RejectReason.NOT_FOUND, path, "is no file but a FIFO, a device or a socket"
        )
    if status.st_size > LIMITS.file_bytes:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"the file has {status.st_size} bytes; {LIMITS.file_bytes} are read at most",
        )
