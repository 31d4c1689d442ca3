"""What lies under the sources that somebody names: every file, opened by none of this.

A source is a folder of any depth, a file, a zip or tar, a DICOMDIR, or a manifest (CSV or Parquet
with a column `image`). Each file under it is found once. What cannot be read as an image is found
too, and says why, or is passed by with a word: nothing is left out in silence.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from medres.data.manifest import parse_frame
from medres.data.table import PARQUET_SUFFIXES, read_table
from medres.errors import ManifestError, RejectReason, UnreadableImageError
from medres.imaging.containers import Member

MANIFEST_SUFFIXES = (".csv", *PARQUET_SUFFIXES)
DIRECTORY_FILE = "DICOMDIR"
HIDDEN, DIRECTORY, INNER_LINK = "hidden", "a DICOMDIR", "a link to what lies in the folder itself"
References = Callable[[str], list[tuple[str, ...]]]
# What a name may not hold as it is: what `printable` and addresses write for something else.
AMBIGUOUS = re.compile(r"[\udc80-\udcff]|\\x[0-9a-f]{2}|::|\A:|:\Z")
SEPARATOR_LIKE = re.compile(r":(?=:)|\A:|:\Z")


class Asked(NamedTuple):
    """An image that a table names.

    Args:
        part: of the file: "", or an array's, a plane's or a member's name.
        frame: index.
        study: that it belongs to, by the table; for files that do not say so themselves.
    """

    part: str
    frame: int
    study: str = ""


@dataclass(frozen=True)
class Found:
    """A file, before anyone has looked into it.

    Args:
        name: in tables and keys: the address relative to its source, with forward slashes.
        path: of the file, or of the archive that holds it.
        stamp: changes when the content does: size and time of the last change.
        in_archive: whether it is a member of the zip or tar at `path`.
        at: the member's place; see `medres.imaging.containers`.
        size: in bytes.
        frames: that a table asks for; None for all.
        study: that a table says all of an archive belongs to.
        reason: why it cannot be read; None where nothing is known against it.
        message: the same in words.
        aside: why it is passed by; "" where it is not.
    """

    name: str
    path: str = ""
    stamp: str = ""
    in_archive: bool = False
    at: int = 0
    size: int = 0
    frames: tuple[Asked, ...] | None = None
    study: str = ""
    reason: RejectReason | None = None
    message: str = ""
    aside: str = ""


def find_files(
    sources: Sequence[Path], references: References, *, leave_out: Iterable[Path] = ()
) -> Iterator[Found]:
    """Every file under the sources.

    Args:
        sources: see above; of several the names begin with the source's own, so that all differ.
        references: reads the files that a DICOMDIR names; apart from this process.
        leave_out: folders and files that are no input, such as the results'.

    Raises:
        ManifestError: a source that is not there, that is left out, or that lies in another; a
            table that names no images.
    """
    apart = {os.path.realpath(path) for path in leave_out}
    real = _check_overlap(sources, apart)
    for source, prefix in zip(sources, _prefixes(sources), strict=True):
        for found in _find(source, references, apart):
            if len(sources) > 1 and found.path and _is_list(source):
                _check_listed(found, source, real)
            yield replace(found, name=f"{prefix}{found.name}")


def members_of(found: Found, members: Iterable[Member]) -> Iterator[Found]:
    """The files in an archive that was found; equal names are told apart by a number.

    Where a table asks for some of them, those alone.
    """
    number = Numbering()
    asked: dict[str, list[Asked]] = {}
    for image in found.frames or ():
        asked.setdefault(image.part, []).append(image)
    whole = asked.get("")
    if whole:
        asked = {}
    all_of_them = not asked
    for member in members:
        name = number.apart(printable(member.name))
        if not all_of_them and name not in asked:
            continue
        frames = asked.pop(name, None)
        yield Found(
            name=f"{found.name}::{name}",
            frames=None if frames is None else tuple(image._replace(part="") for image in frames),
            study=whole[0].study if whole else "",
            path=found.path,
            stamp=f"{found.stamp}-{member.at}-{member.size}",
            in_archive=True,
            at=member.at,
            size=member.size,
            reason=member.reason,
            message=member.message,
            aside=_passed_by(member.name),
        )

    for name in asked:
        message = "the archive holds no such file"
        yield Found(f"{found.name}::{name}", reason=RejectReason.NOT_FOUND, message=message)


@dataclass(frozen=True)
class Numbering:
    """Tells equal names apart: `a`, `a #2`, `a #3`.

    Args:
        count: how often a name was asked for, or given.
    """

    count: dict[str, int] = field(default_factory=dict)

    def apart(self, name: str) -> str:
        """The name, or with the first number that makes it one of its own."""
        if name not in self.count:
            self.count[name] = 1
            return name
        while True:
            self.count[name] += 1
            numbered = f"{name} #{self.count[name]}"
            if numbered not in self.count:
                self.count[numbered] = 1
                return numbered


def printable(name: str) -> str:
    r"""A file's name as text that every table takes, and no other file's.

    Bytes that are no UTF-8 stand by their number (`caf\xe9`), and so do colons that would read as
    the `::` of an address; in a name that has either, or looks so, backslashes are doubled.
    """
    if AMBIGUOUS.search(name):
        name = SEPARATOR_LIKE.sub(r"\\x3a", name.replace("\\", r"\\"))
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _passed_by(member: str) -> str:
    """Why, as in a folder: hidden as macOS and version control do, or a disc's directory.

    `__MACOSX/._a.dcm` and `.git/x` are hidden, `../a.dcm` is not.
    """
    parts = member.replace("\\", "/").split("/")
    if parts[0] == "__MACOSX" or any(part.startswith(".") and part.strip(".") for part in parts):
        return HIDDEN
    return DIRECTORY if parts[-1].upper() == DIRECTORY_FILE else ""


def _prefixes(sources: Sequence[Path]) -> list[str]:
    if len(sources) == 1:
        return [""]
    number = Numbering()
    return [f"{number.apart(printable(source.resolve().name))}/" for source in sources]


def _check_overlap(sources: Sequence[Path], apart: set[str]) -> dict[str, Path]:
    """Refuse sources of which one holds the other: what lies in both would be scored twice.

    Returns:
        The sources by where they really are.
    """
    real: dict[str, Path] = {}
    for source in sources:
        path = os.path.realpath(source)
        if path in apart:
            raise ManifestError(
                f"{source}: is the folder of the results too; give a folder of their own to them"
            )
        if path in real:
            raise ManifestError(f"{source}: is given twice, as {real[path]} too; give it once")
        real[path] = source
    for path, source in real.items():
        for parent in Path(path).parents:
            if str(parent) in real:
                raise ManifestError(
                    f"{source}: lies in {real[str(parent)]}, which is given too; give one of them"
                )
    return real


def _is_list(source: Path) -> bool:
    """Whether a source is a file that names others."""
    is_table = source.suffix.lower() in MANIFEST_SUFFIXES
    is_list = is_table or source.name.upper() == DIRECTORY_FILE
    return is_list and not stat.S_ISDIR(_mode(source))


def _check_listed(found: Found, source: Path, real: dict[str, Path]) -> None:
    """Refuse a file that a list names and that is in another source, or in another list, too.

    Args:
        found: in the list.
        source: the list.
        real: the sources by where they really are, and files of lists with the list.
    """
    path = os.path.realpath(found.path)
    for place in (path, *map(str, Path(path).parents)):
        other = real.get(place, source)
        if other != source:
            raise ManifestError(
                f"{source}: names a file of {other} too; give one of them, or tables and folders "
                "that have no file in common"
            )
    real[path] = source


def _find(source: Path, references: References, apart: set[str]) -> Iterator[Found]:
    if stat.S_ISDIR(_mode(source)):
        yield from _walk(source, apart)
    elif not os.path.lexists(source):
        raise ManifestError(f"{source}: no such file or folder; give what holds images")
    elif source.suffix.lower() in MANIFEST_SUFFIXES:
        yield from _of_manifest(source)
    elif source.name.upper() == DIRECTORY_FILE:
        yield from _of_dicomdir(source, references)
    else:
        yield _at(source, source.name)


def _walk(root: Path, apart: set[str]) -> Iterator[Found]:
    """Files in an order that does not depend on the file system; of folders any depth."""
    real_root = os.path.realpath(root)
    names_apart = {Path(path).name for path in apart}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            message = "the folder cannot be opened; check its permissions, and how deep it lies"
            yield Found(f"{printable(folder)}/", reason=RejectReason.NOT_FOUND, message=message)
            continue
        inner = []
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name in names_apart and os.path.realpath(entry.path) in apart:
                continue
            if entry.name.startswith("."):
                yield Found(printable(name), aside=HIDDEN)
            elif entry.is_symlink():
                yield _of_link(entry, name, real_root)
            elif entry.is_dir(follow_symlinks=False):
                inner.append(name)
            elif entry.name.upper() == DIRECTORY_FILE:
                yield Found(printable(name), aside=DIRECTORY)
            else:
                yield _at(Path(entry.path), name)
        waiting += reversed(inner)


def _of_link(entry: os.DirEntry[str], name: str, real_root: str) -> Found:
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(real_root) or not _mode(target):
        message = "is a link to a place outside the folder, or to none; copy the file"
        return Found(printable(name), reason=RejectReason.NOT_FOUND, message=message)
    return Found(printable(name), aside=INNER_LINK)


def _at(path: Path, name: str, **more: object) -> Found:
    found = Found(printable(name), str(path))
    try:
        status = path.stat()
    except (OSError, ValueError):
        message = "there is no such file, or it cannot be opened"
        return replace(found, reason=RejectReason.NOT_FOUND, message=message)
    if not stat.S_ISREG(status.st_mode):
        message = "is no file but a folder, a FIFO, a device or a socket"
        return replace(found, reason=RejectReason.NOT_FOUND, message=message)
    return replace(found, stamp=_stamp(status), size=status.st_size, **more)  # type: ignore[arg-type]


def _mode(path: Path) -> int:
    """Kind and permissions; 0 where the path leads to nothing, or to where nobody may look."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def is_as_found(path: str, stamp: str) -> bool:
    """Whether a file, or the archive that a member is of, is as it was when it was found.

    Args:
        path: as in `Found`.
        stamp: likewise; "" of a file of which nothing was noted, which counts as unchanged.
    """
    if not stamp:
        return True
    try:
        now = _stamp(Path(path).stat())
    except (OSError, ValueError):
        return False
    return f"-{now}-" in f"-{stamp}-"


def _of_dicomdir(path: Path, references: References) -> Iterator[Found]:
    try:
        listed = references(str(path))
    except UnreadableImageError as error:
        yield Found(path.name, str(path), reason=error.reason, message=error.message)
        return
    root = os.path.realpath(path.parent)
    seen: set[str] = set()
    for number, parts in enumerate(listed, start=1):
        file = _resolve(path.parent, parts) if parts else None
        name = "/".join(parts) or f"(reference {number})"
        place = name if file is None else os.path.realpath(file)
        if place in seen:
            continue
        seen.add(place)
        if file is None:
            message = "a reference of the DICOMDIR leads to no file of its folder"
            yield Found(name, reason=RejectReason.NOT_FOUND, message=message)
        elif not Path(place).is_relative_to(root):
            message = "is a link to a place outside the DICOMDIR's folder; copy the file"
            yield Found(name, reason=RejectReason.NOT_FOUND, message=message)
        else:
            yield _at(file, name)


def _resolve(folder: Path, parts: tuple[str, ...]) -> Path | None:
    """The file, in capitals or not: systems mount discs in either way."""
    spellings = (parts, tuple(map(str.lower, parts)), tuple(map(str.upper, parts)))
    return next((p for s in spellings if stat.S_ISREG(_mode(p := folder.joinpath(*s)))), None)


def _of_manifest(path: Path) -> Iterator[Found]:
    table = read_table(path)
    if "image" not in table.columns:
        raise ManifestError(
            f"{path}: no column 'image'; a manifest names one image a row, relative to its folder"
        )
    frames: dict[str, dict[tuple[str, int], str]] = {}
    for index, row in enumerate(table.rows):
        image = row["image"].replace("\\", "/")
        if not image:
            raise ManifestError(f"{path}: row {index + 2} has an empty image; give the file's path")
        file, separator, part = image.rpartition("::")
        if not separator or os.path.lexists(path.parent / image):
            file, part = image, ""
        file = os.path.normpath(file).replace(os.sep, "/")
        study = row.get("study_instance_uid", "")
        frames.setdefault(file, {})[part, parse_frame(table, index)] = study
    for file, asked in frames.items():
        images = tuple(Asked(*image, study) for image, study in asked.items())
        found = _at(path.parent / file, file, frames=images)
        yield replace(found, stamp=f"{_asked_for(found)}{found.stamp}" if found.stamp else "")


def _asked_for(found: Found) -> str:
    """What a table asks of a file, for its stamp: asked for more, it is looked into again."""
    if found.frames == (Asked("", 0),):
        return ""
    return f"{hashlib.sha256(repr(found.frames).encode()).hexdigest()[:8]}-"
