"""The files in a zip or tar, one at a time: nothing is unpacked, and no name leads anywhere.

A name within an archive is a label. A member is found by its place (in a zip by its number in the
directory, in a tar by its first byte) and is read from there, to a bounded size.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.limits import LIMITS, check_file
from medres.imaging.refusal import told_alone

Kind = Literal["zip", "tar"]

ZIP_SIGNATURES = (b"PK\3\4", b"PK\5\6")
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257
INFLATERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
DAMAGE = (
    *(OSError, EOFError, ValueError, struct.error, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError),
)
ENCRYPTED_FLAG = 0x1
PIECE_BYTES = 2**20
# Far below what any machine does: bz2, the slowest, inflates 20 MB/s on an idle core.
INFLATED_A_SECOND, LISTED_A_SECOND = 2**22, 2**21
REST = "(the rest of the archive)"
DAMAGED = "the archive is damaged or cut short here; fetch it again"
ENCRYPTED = "is encrypted in its archive; unpack it with its password"
NO_FILE = "is a link, a device or a sparse file in a tar; pack the file itself"


@dataclass(frozen=True)
class Member:
    """One file in an archive.

    Args:
        name: as the archive has it; a label, never a path to be followed.
        at: where it is found: the number in a zip's directory, the first byte in a tar.
        size: in bytes, as the archive says.
        reason: why it is not read; None where it may be.
        message: the same in words.
        grown: bytes that the archive has inflated to with this member and those before it.
    """

    name: str
    at: int
    size: int
    reason: RejectReason | None = None
    message: str = ""
    grown: int = 0


def archive_kind(path: Path) -> Kind | None:
    """Whether a file is a zip or a tar, compressed or not, by its first bytes.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(TAR_MAGIC_AT + len(TAR_MAGIC))
    if head.startswith(ZIP_SIGNATURES):
        return "zip"
    if any(head.startswith(magic) for magic in INFLATERS):
        try:
            with _tar_stream(path) as stream:
                head = stream.read(TAR_MAGIC_AT + len(TAR_MAGIC))
        except DAMAGE:
            return None
    return "tar" if head[TAR_MAGIC_AT:] == TAR_MAGIC else None


@told_alone
def list_members(path: Path) -> list[Member]:
    """The files in an archive, in its order; folders are left out.

    Raises:
        UnreadableImageError: no archive, a damaged one (damaged_archive), or one of more members
            or of far more bytes than its own size allows (too_large): a bomb.
    """
    kind = archive_kind(path)
    if kind is None:
        raise UnreadableImageError(RejectReason.UNKNOWN_FORMAT, path, "is neither zip nor tar")
    listing = _zip_members(path) if kind == "zip" else _tar_members(path)
    members: list[Member] = []
    try:
        for member in listing:
            members.append(member)
            _check_growth(path, members)
    except DAMAGE as error:
        if isinstance(error, UnreadableImageError):
            raise
        if not members:
            raise _damaged(path) from None
        members.append(Member(REST, -1, 0, RejectReason.DAMAGED_ARCHIVE, DAMAGED))
    return members


def _check_growth(path: Path, members: list[Member]) -> None:
    if len(members) > LIMITS.archive_members or members[-1].grown > _most_bytes(path):
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"an archive of more than {LIMITS.archive_members} files, or one that inflates to more "
            f"than {LIMITS.archive_ratio} times its size; unpack it, and look",
        )


def _most_bytes(path: Path) -> int:
    return max(LIMITS.archive_bytes, LIMITS.archive_ratio * path.stat().st_size)


def listing_seconds(path: Path) -> int:
    """How long listing may take beyond the time for one file; a compressed tar is inflated whole.

    Args:
        path: of the archive.
    """
    try:
        return path.stat().st_size // LISTED_A_SECOND
    except OSError:
        return 0


def inflating_seconds(path: Path, at: int) -> int:
    """How long finding a member may take: a compressed tar is inflated from its start.

    Args:
        path: of the archive.
        at: as in `Member`.
    """
    seconds = at // INFLATED_A_SECOND
    try:
        inflated = seconds and path.is_file() and _inflater(path) is not None
    except OSError:
        inflated = False
    return seconds if inflated else 0


@contextmanager
def member_as_file(path: Path, at: int, size: int, suffix: str) -> Generator[str, None, None]:
    """A path by which one member can be read, as long as the block lasts.

    It lies in memory, with no name in any folder, where the system has such files (Linux); else in
    a temporary folder.

    Args:
        path: of the archive.
        at: as in `Member`.
        size: as in `Member`; for a zip only what is to be expected.
        suffix: of the member's name, such as `.dcm`.

    Raises:
        UnreadableImageError: damaged, encrypted, or larger than is read.
    """
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("member")
        try:
            _copy(path, at, size, handle)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder, f"member{suffix}")
        with copied.open("wb") as file:
            _copy(path, at, size, file.fileno())
        yield str(copied)


@told_alone
def _copy(path: Path, at: int, size: int, target: int) -> None:
    if size > LIMITS.file_bytes:
        raise _too_large(path)
    _check_there(path)
    try:
        copied = (
            _copy_zip(path, at, target)
            if _kind(path) == "zip"
            else _copy_tar(path, at, size, target)
        )
    except DAMAGE as error:
        if isinstance(error, UnreadableImageError):
            raise
        raise _damaged(path) from None
    if copied < size:
        raise _damaged(path)


def _check_there(path: Path) -> None:
    """Refuse an archive that is there no more; its size is not limited."""
    try:
        check_file(path)
    except UnreadableImageError as error:
        if error.reason is not RejectReason.TOO_LARGE:
            raise


def _kind(path: Path) -> Kind:
    with path.open("rb") as file:
        return "zip" if file.read(4).startswith(ZIP_SIGNATURES) else "tar"


def _zip_members(path: Path) -> Iterator[Member]:
    grown = 0
    with zipfile.ZipFile(path) as archive:
        if _begins_with_member(path) and all(info.header_offset for info in archive.infolist()):
            # Of a zip cut short, zipfile takes the directory of a zip within it for the whole's.
            raise zipfile.BadZipFile
        for at, info in enumerate(archive.infolist()):
            grown += info.file_size
            if info.is_dir():
                continue
            reason, message = None, ""
            if info.flag_bits & ENCRYPTED_FLAG:
                reason, message = RejectReason.ENCRYPTED, ENCRYPTED
            yield Member(info.filename, at, info.file_size, reason, message, grown)


def _begins_with_member(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == ZIP_SIGNATURES[0]


def _tar_members(path: Path) -> Iterator[Member]:
    """One after the other: what a header claims is judged before the next is sought."""
    with _tar_stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all
            reason, message, size = None, "", info.size
            if not info.isreg() or info.issparse():
                reason, message, size = RejectReason.NOT_FOUND, NO_FILE, 0
            if not info.isdir():
                end = info.offset_data + size
                yield Member(info.name, info.offset_data, size, reason, message, end)
        _check_tar_end(stream, archive.offset, _most_bytes(path))


def _check_tar_end(stream: IO[bytes], at: int, most: int) -> None:
    """Refuse what is no end of a tar: tarfile takes a damaged header for one, and a missing one.

    What follows it may be anything (POSIX pax), but a tar that was put behind the first would be
    lost in silence; and a compressed one ends with a checksum, which is looked at there.
    """
    stream.seek(at)
    end_mark = stream.read(tarfile.BLOCKSIZE)
    if len(end_mark) < tarfile.BLOCKSIZE or end_mark.strip(b"\0"):
        raise tarfile.ReadError
    while rest := stream.read(PIECE_BYTES):
        headers = range(TAR_MAGIC_AT, len(rest), tarfile.BLOCKSIZE)
        if stream.tell() > most or any(rest.startswith(TAR_MAGIC, at) for at in headers):
            raise tarfile.ReadError


def _copy_zip(path: Path, at: int, target: int) -> int:
    archive = _kept.open(path, zipfile.ZipFile)
    info = archive.infolist()[at]
    if info.flag_bits & ENCRYPTED_FLAG:
        raise UnreadableImageError(RejectReason.ENCRYPTED, path, ENCRYPTED)
    with archive.open(info) as member:
        return _pump(path, member, info.file_size, target)


def _copy_tar(path: Path, at: int, size: int, target: int) -> int:
    stream = _kept.open(path, _tar_stream)
    stream.seek(at)  # within a compressed one forwards, where members are asked for in order
    return _pump(path, stream, size, target)


def _pump(path: Path, source: IO[bytes], size: int, target: int) -> int:
    """Bytes copied, at most `size`; one more than that, or than is read, is an error."""
    copied = 0
    while piece := source.read(min(PIECE_BYTES, size - copied)):
        copied += len(piece)
        if copied > LIMITS.file_bytes:
            raise _too_large(path)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(target, rest) :]
    return copied


@dataclass
class _Kept:
    """The archive that was read last stays open: reading a directory takes longer than a member."""

    key: tuple[Path, int, int, int] | None = None
    handle: Any = None

    def open(self, path: Path, opener: Callable[[Path], Any]) -> Any:
        status = path.stat()
        key = (path, status.st_ino, status.st_mtime_ns, status.st_size)
        if key != self.key:
            self.close()
            self.handle = opener(path)
            self.key = key
        return self.handle

    def close(self) -> None:
        """Let go of it."""
        if self.handle is not None:
            self.handle.close()
        self.key = self.handle = None


_kept = _Kept()


def _tar_stream(path: Path) -> IO[bytes]:
    stream: IO[bytes] = (_inflater(path) or Path.open)(path, "rb")
    return stream


def _inflater(path: Path) -> Callable[..., Any] | None:
    """What opens a compressed tar; None for one that is not."""
    with path.open("rb") as file:
        head = file.read(8)
    return next((opener for magic, opener in INFLATERS.items() if head.startswith(magic)), None)


def _damaged(path: Path) -> UnreadableImageError:
    return UnreadableImageError(
        RejectReason.DAMAGED_ARCHIVE,
        path,
        DAMAGED,
    )


def _too_large(path: Path) -> UnreadableImageError:
    return UnreadableImageError(
        RejectReason.TOO_LARGE,
        path,
        f"claims more than the {LIMITS.file_bytes} bytes that are read of one file, or more than "
        f"{LIMITS.archive_ratio} times its archive",
    )
