"""What is known of an image, and of one that is to be scored or was: records without pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from medres.data.image_rule import ImageKind


@dataclass(frozen=True)
class Facts:
    """What a header says of an image, apart from whose it is; entries of lists, never free text."""

    modality: str = ""
    body_part: str = ""
    view_position: str = ""
    image_type: tuple[str, ...] = ()
    laterality: str = ""
    manufacturer: str = ""
    rows: int = 0
    columns: int = 0
    transfer_syntax_uid: str = ""

    @property
    def kind(self) -> ImageKind:
        """For an `ImageRule`."""
        return ImageKind(self.modality, self.body_part, self.view_position, self.image_type)

    @classmethod
    def of(cls, record: object) -> Facts:
        """Of an `ImageRecord`."""
        return cls(**{field.name: getattr(record, field.name) for field in fields(cls)})

    def as_json(self) -> list[Any]:
        """The values alone, in order."""
        return list(asdict(self).values())

    @classmethod
    def from_json(cls, values: Iterable[Any]) -> Facts:
        """Of such a list."""
        texts: Iterable[Any] = (tuple(v) if isinstance(v, list) else v for v in values)
        return cls(*texts)


@dataclass(frozen=True)
class Picture:
    """An image, or the frames of one, of which the header was read.

    Args:
        part: array or plane within its file; "" where the file is the image.
        frames: indices of those to be scored.
        study: its UID, or another name of what belongs together.
        series_uid: "" where there is none.
        sop_uid: likewise.
        patient: stand-in for the patient id; "" where there is none.
        facts: what it is.
    """

    part: str
    frames: range | tuple[int, ...]
    study: str
    series_uid: str
    sop_uid: str
    patient: str
    facts: Facts

    def as_json(self) -> list[Any]:
        """Two lists, for the journal: whose it is, and what it is."""
        frames = self.frames
        counted = len(frames) if isinstance(frames, range) else list(frames)
        whose = [self.part, self.study, self.series_uid, self.sop_uid]
        return [whose, [self.patient, counted, self.facts.as_json()]]

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Picture:
        """Of such lists."""
        (part, study, series, sop), (patient, frames, facts) = values
        counted = range(frames) if isinstance(frames, int) else tuple(frames)
        return cls(part, counted, study, series, sop, patient, Facts.from_json(facts))


@dataclass(frozen=True)
class Planned:
    """One image to be scored, and where it is."""

    picture: int
    frame: int
    name: str
    part: str
    stamp: str
    path: str | None
    in_archive: bool
    at: int
    size: int
    facts: Facts


@dataclass(frozen=True)
class Row:
    """One image with what came of it; `result` as the journal has it."""

    name: str
    part: str
    frame: int
    study: str
    series_uid: str
    sop_uid: str
    facts: Facts
    result: Mapping[str, Any]

    @property
    def address(self) -> str:
        """What its key is made of."""
        return address_of(self.name, self.part)


def address_of(name: str, part: str) -> str:
    """A file's name, or the part of it that is the image: `scans.npz::images`."""
    return f"{name}::{part}" if part else name
