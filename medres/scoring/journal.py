"""The journal of a results folder: what has been seen and scored, appended and never changed.

The first line says whose results these are; the others are files and images, each later one
standing in place of an earlier one of the same name (`medres.scoring.sealed_lines` has their form).
What was appended is on the disk when `commit` returns. A process that is killed, or a disk that is
full, leaves at most a broken end, which the next opening cuts off; a line that is damaged further
up counts as absent, and what it said is done again.

One process at a time has a journal open: the lock is the operating system's, and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from medres.data.pseudonyms import Keys
from medres.errors import ResultsError
from medres.scoring.sealed_lines import CRC_DIGITS, SealedLines, add_checksum, check_line

NAME, LOCK = "journal.jsonl", "lock"
SCHEMA = "medres.journal/2"
DIGITS, START = frozenset(b"0123456789abcdef"), b'{"journal":"medres.journal/'
NO_HEAD = (
    "its first line, which says whose results these are, is damaged, or it is another program's "
    "file; nothing is added to it: give another folder, or put the file back as it was"
)


class Journal:
    """An open journal; use it as a context manager, or `close` it.

    Args:
        folder: of the results; made where it is not there.
        identity: what may not differ between two runs on one folder, in words for each: the model,
            the sources. Values that differ are told by their key.
        keys: of the site, under whose secret it is sealed whose image a line is.

    Raises:
        ResultsError: another process has it open; other results stand in the folder; no journal
            can be written there.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], keys: Keys) -> None:
        self.path, self.identity, self._lines = folder / NAME, identity, SealedLines(keys)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(folder / LOCK)
        self._file = _open_private(self.path)
        try:
            _check_start(self.path)
            self._end = _cut_broken_end(self._file)
            head = _read_head(self.path)
            if head is None:
                self._commit(add_checksum(json.dumps({"journal": SCHEMA, **identity}).encode()))
                for place in (folder, folder.parent):
                    _sync_folder(place)
            else:
                _check_identity(folder, head, identity)
        except BaseException:
            self.close()
            raise

    def replay(self) -> Iterator[dict[str, Any]]:
        """Every sound line but the first, in the order of writing."""
        with self.path.open("rb") as file:
            yield from (entry for line in file if (entry := self._lines.read(line)) is not None)

    def commit(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append entries and wait until the disk has them: all of them, or none.

        Raises:
            ResultsError: the disk is full, or cannot be written to.
        """
        self._commit(b"".join(map(self._lines.write, entries)))

    def _commit(self, content: bytes) -> None:
        try:
            self._append(content)
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # a full disk allows it; one that fails need not
                self._file.truncate(self._end)
            raise ResultsError(
                f"{self.path}: cannot be written to ({error.strerror}); make room, and start the "
                "same command again: it goes on where this one stopped"
            ) from error
        self._end += len(content)

    def _append(self, content: bytes) -> None:
        rest = memoryview(content)
        self._file.seek(self._end)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_start(path: Path) -> None:
    """Refuse a file that no journal begins like, before anything of it is cut off."""
    with path.open("rb") as file:
        start = file.read(64)
    digits, text = start[:CRC_DIGITS], start[CRC_DIGITS:].replace(b" ", b"")
    if not (set(digits) <= DIGITS and (text.startswith(START) or START.startswith(text))):
        raise ResultsError(f"{path}: {NO_HEAD}")


def _read_head(path: Path) -> dict[str, Any] | None:
    """The first line; None where there is none yet."""
    with path.open("rb") as file:
        line = file.readline()
    text = check_line(line)
    if line and text is None:
        raise ResultsError(f"{path}: {NO_HEAD}")
    return None if text is None else json.loads(text)


def _cut_broken_end(file: IO[bytes]) -> int:
    """Cut off whatever follows the last whole line; returns where the file ends then."""
    size = file.seek(0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - 2**16)
        file.seek(start)
        newline = _read(file, end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)
    return end


def _read(file: IO[bytes], size: int) -> bytes:
    content = b""
    while len(content) < size and (piece := file.read(size - len(content))):
        content += piece
    return content


def _check_identity(folder: Path, head: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    found = head.get("journal")
    if found != SCHEMA:
        raise ResultsError(
            f"{folder}: holds results of another version of medres ({found!r}, expected "
            f"{SCHEMA!r}); give another folder"
        )
    for what, value in identity.items():
        if head.get(what) != value:
            raise ResultsError(
                f"{folder}: holds results of another {what} ({_short(head.get(what))}, now "
                f"{_short(value)}); they are never mixed: give another folder, or the same {what}"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}…"


def _open_private(path: Path) -> IO[bytes]:
    """Unbuffered, to read and append, readable by its owner alone from its first byte."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CREAT, 0o600)

    return open(path, "r+b", buffering=0, opener=opener)


def _sync_folder(folder: Path) -> None:
    """So that the names in it are on the disk too, where a system can say so."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_lock(path: Path, *, shared: bool = False) -> IO[bytes]:
    """To write; or, shared, to read beside other readers, from a disk that may be read-only."""
    lock = path.open("rb") if shared else _open_private(path)
    try:
        _lock(lock, shared=shared)
    except (BlockingIOError, PermissionError):
        lock.close()
        raise ResultsError(
            f"{path.parent}: another process is writing results here; wait for it, or give another "
            "folder"
        ) from None
    except OSError as error:
        lock.close()
        raise ResultsError(
            f"{path.parent}: its file system locks no files ({error.strerror}), so that a second "
            "process could not be kept out; give a folder on another disk"
        ) from error
    return lock


@contextlib.contextmanager
def no_writer(folder: Path) -> Generator[None, None, None]:
    """Keep other processes from writing results in a folder while one reads them there.

    Raises:
        ResultsError: a process is writing there.
    """
    if not (folder / LOCK).exists():  # a copy of results
        yield
        return
    with _take_lock(folder / LOCK, shared=True):
        yield


def _lock(file: IO[bytes], *, shared: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
