"""Files that are whole or absent: written beside their place, synced, then moved into it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and move it to `path` if the block succeeds.

    A process killed in between leaves the old file, or none. A private file is readable by its
    owner alone, from its first byte.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}-", suffix="".join(path.suffixes)
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o600 if private else 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed while writing `path` have left beside it."""
    for leftover in path.parent.glob(f".{path.stem}-*{''.join(path.suffixes)}"):
        leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write UTF-8 text, whole or not at all; private for the owner alone."""
    with written_whole(path, private=private) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, values: Any) -> None:
    """Write JSON, whole or not at all; NaN and infinity are refused, since JSON has neither.

    Raises:
        ValueError: a NaN or infinity among the values.
    """
    write_text(path, format_json(values))


def format_json(values: Any) -> str:
    """JSON for people, as `write_json` writes it.

    Raises:
        ValueError: a NaN or infinity among the values.
    """
    return json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: not JSON.
        OSError: not readable.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
