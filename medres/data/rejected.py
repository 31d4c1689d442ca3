"""What is missing from a table, and why: a line of JSON a file, beside the table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from medres.data.table import read_table
from medres.errors import ManifestError, RejectReason
from medres.files import write_text

SHOWN = 3


class LeftOutReason(StrEnum):
    """Why a file that can be read is not in a manifest."""

    NO_LABEL = "no_label"
    LOCALIZER = "localizer"
    EMPTY_SLICES = "empty_slices"


@dataclass(frozen=True)
class RejectedFile:
    """A file that is no image to medres.

    Args:
        file: relative to the folder.
        reason: one code of `RejectReason`.
        message: the same in words.
    """

    file: str
    reason: RejectReason
    message: str


@dataclass(frozen=True)
class LeftOutFile:
    """A file with images, of which none is in the manifest.

    Args:
        file: relative to the folder.
        reason: why.
    """

    file: str
    reason: LeftOutReason

    @property
    def message(self) -> str:
        """The same in words."""
        return LEFT_OUT[self.reason]


LEFT_OUT = {
    LeftOutReason.NO_LABEL: "no row of the label table is of it; label it, or leave it out",
    LeftOutReason.LOCALIZER: "is an overview of a series that is labelled as a whole; keep such "
    "images with --localizers keep",
    LeftOutReason.EMPTY_SLICES: "all its slices are empty; keep such with --empty-slices keep",
}


def rejected_path(table: Path) -> Path:
    """Where the files are listed that are missing from a table, one JSON object a line."""
    return table.with_name(f"{table.name}.rejected.jsonl")


def write_rejected(table: Path, rejected: Sequence[RejectedFile | LeftOutFile]) -> None:
    """List what is missing from a table; where nothing is, no list is left."""
    path = rejected_path(table)
    if not rejected:
        path.unlink(missing_ok=True)  # of an earlier run
        return
    lines = [
        json.dumps({"file": f.file, "reason": f.reason.value, "message": f.message}) + "\n"
        for f in rejected
    ]
    write_text(path, "".join(lines))


def count_reasons(rejected: Iterable[RejectedFile]) -> dict[str, int]:
    """How many files were rejected for each reason, most frequent first."""
    return dict(Counter(file.reason.value for file in rejected).most_common())


def describe_rejected(rejected: Sequence[RejectedFile], table: Path) -> str:
    """How many for each reason, the first by name, and where all are listed."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in count_reasons(rejected).items())
    names = [file.file for file in rejected[:SHOWN]] + (["..."] if rejected[SHOWN:] else [])
    return f"{reasons} ({', '.join(names)}); listed in {rejected_path(table).name}"


@dataclass(frozen=True)
class Origin:
    """Where the images of a manifest come from.

    Attributes:
        images: rows of the manifest.
        files: that they are of.
        missing: files that were found and are not in it, by reason; empty where no list of them
            lies beside it.
    """

    images: int
    files: int
    missing: Mapping[RejectReason | LeftOutReason, int] = field(default_factory=dict)


def read_origin(manifest: Path) -> Origin:
    """Count what a manifest holds, and what `medres prepare` left out of it.

    Raises:
        ManifestError: a manifest, or a list beside it, that cannot be read.
    """
    images = [row.get("image", "") for row in read_table(manifest).rows]
    files = {image.partition("::")[0] for image in images}
    path = rejected_path(manifest)
    missing = _read_reasons(path) if path.is_file() else Counter()
    return Origin(len(images), len(files), dict(missing.most_common()))


def _read_reasons(path: Path) -> Counter[RejectReason | LeftOutReason]:
    reasons: Counter[RejectReason | LeftOutReason] = Counter()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            reasons[_reason(json.loads(line)["reason"])] += 1
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{path}: line {number} is not as `medres prepare` writes it; prepare the manifest "
                "again, or remove the list"
            ) from error
    return reasons


def _reason(code: str) -> RejectReason | LeftOutReason:
    return LeftOutReason(code) if code in [*LeftOutReason] else RejectReason(code)
