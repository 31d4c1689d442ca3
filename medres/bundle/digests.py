"""`configs/digests.json`: the SHA-256 of every file of a model, so that a changed one is found.

A digest beside a file says that the file is whole, not who wrote it: whoever changes a file on
purpose can change its digest too. Note the digest of `digests.json` itself (`medres verify` prints
it) at a place of your own to notice that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medres.errors import BundleError
from medres.files import file_digest, write_json

DIGESTS = "configs/digests.json"
SCHEMA = "medres.digests/1"
OUTPUTS = ("data", "eval", "fine_tuned")
"""Folders of a model that its own workflows read from and write to; no part of it."""


@dataclass(frozen=True)
class Differences:
    """How the files of a model differ from those that were written.

    Attributes:
        changed: names of files with other bytes.
        missing: names of files that are not there.
        added: names of files that nobody has recorded.
    """

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.added)

    def __str__(self) -> str:
        parts = [("changed", self.changed), ("missing", self.missing), ("added", self.added)]
        return "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names)


def write_digests(folder: Path) -> None:
    """Record every file of a model, once all of them are written."""
    files = {name: file_digest(folder / name) for name in _files(folder) if name != DIGESTS}
    write_json(folder / DIGESTS, {"schema": SCHEMA, "sha256": files})


def compare_digests(folder: Path, recorded: Mapping[str, Any]) -> Differences:
    """Compare the files of a model with its `digests.json`.

    Args:
        folder: of the model.
        recorded: what `digests.json` holds.

    Raises:
        BundleError: the record is of another kind.
    """
    expected = recorded.get("sha256")
    if recorded.get("schema") != SCHEMA or not isinstance(expected, dict):
        raise BundleError(
            f"{folder / DIGESTS}: schema {recorded.get('schema')!r}, expected {SCHEMA!r} with a "
            "digest a file; restore the file or write the model again"
        )
    found = {name for name in _files(folder) if name != DIGESTS}
    present = sorted(found & expected.keys())
    changed = [name for name in present if _differs(folder / name, expected[name])]
    return Differences(
        tuple(changed),
        tuple(sorted(expected.keys() - found)),
        tuple(sorted(found - expected.keys())),
    )


def _differs(path: Path, expected: object) -> bool:
    """A link differs, wherever it leads: a model is written without any."""
    return path.is_symlink() or not path.is_file() or file_digest(path) != expected


def _files(folder: Path) -> Iterator[str]:
    """Names of a model's files, with forward slashes, sorted; links among them."""
    for path in sorted(folder.rglob("*")):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if name.parts[0] not in OUTPUTS and (path.is_symlink() or not path.is_dir()):
            yield str(name)
