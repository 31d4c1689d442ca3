"""The journal of a results folder: what has been seen and scored, appended and never changed.

A line is eight hexadecimal digits, the CRC-32 of what follows, a blank, and one JSON object. The
first line says whose results these are; the others are files and images, each later one standing in
place of an earlier one of the same name. What was appended is on the disk when `commit` returns. A
process that is killed, or a disk that is full, leaves at most a broken end, which the next opening
cuts off; a line that is damaged further up counts as absent, and what it said is done again.

One process at a time has a journal open: the lock is the operating system's, and ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from medres.errors import ResultsError

NAME, LOCK = "journal.jsonl", "lock"
SCHEMA = "medres.journal/1"
CRC_DIGITS = 8


class Journal:
    """An open journal; use it as a context manager, or `close` it.

    Args:
        folder: of the results; made where it is not there.
        identity: what may not differ between two runs on one folder, in words for each: the model,
            the sources. Values that differ are told by their key.

    Raises:
        ResultsError: another process has it open; other results stand in the folder; no journal
            can be written there.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        self.path = folder / NAME
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(folder / LOCK)
        self._file = _open_private(self.path)
        try:
            self._end = _cut_broken_end(self._file)
            head = next(_sound_lines(self.path), None)
            if head is None:
                self._file.truncate(0)
                self._end = 0
                self.commit([{"journal": SCHEMA, **identity}])
                _sync_folder(folder)
            else:
                _check_identity(folder, head, identity)
        except BaseException:
            self.close()
            raise

    def replay(self) -> Iterator[dict[str, Any]]:
        """Every sound line but the first, in the order of writing."""
        lines = _sound_lines(self.path)
        next(lines, None)
        yield from lines

    def commit(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append entries and wait until the disk has them: all of them, or none.

        Raises:
            ResultsError: the disk is full, or cannot be written to.
        """
        content = b"".join(map(_line, entries))
        try:
            self._append(content)
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._end)  # gives space back, so that this succeeds
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


def _line(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None where the line is damaged."""
    text = line[CRC_DIGITS + 1 : -1]
    if not line.endswith(b"\n") or line[: CRC_DIGITS + 1] != b"%08x " % zlib.crc32(text):
        return None
    entry: dict[str, Any] = json.loads(text)
    return entry


def _sound_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from (entry for line in file if (entry := _parse(line)) is not None)


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
    """So that the new file's name is on the disk too, where a system can say so."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_lock(path: Path) -> IO[bytes]:
    lock = _open_private(path)
    try:
        _lock(lock)
    except OSError:
        lock.close()
        raise ResultsError(
            f"{path.parent}: another process is writing results here; wait for it, or give another "
            "folder"
        ) from None
    return lock


def _lock(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
