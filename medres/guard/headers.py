"""What the headers of the training images say, against which a new image's header is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medres.imaging.grayscale import ImageRecord

PROJECTION = ("CR", "DX", "RG")
GRAYSCALE = ("MONOCHROME1", "MONOCHROME2")


def _modality(record: ImageRecord) -> str:
    # One examination on different detectors: a new one is no reason to hold up a site's images.
    return "CR/DX" if record.modality in PROJECTION else record.modality


def _photometric(record: ImageRecord) -> str:
    # Polarity is brought to one sense when the pixels are read; colour in place of gray is not.
    # Of pictures it says nothing: gray ones are often stored in three equal channels.
    if record.format != "dicom":
        return ""
    return "grayscale" if record.photometric_interpretation in GRAYSCALE else "colour"


ATTRIBUTES: Mapping[str, Callable[[ImageRecord], str]] = {
    "modality": _modality,
    "body_part": lambda record: record.body_part,
    "view_position": lambda record: record.view_position,
    "photometric": _photometric,
}
"""What is compared; "" says nothing, and is never held against an image."""


@dataclass(frozen=True)
class KnownHeaders:
    """Header values of a model's own images, each with the number of patients that have it.

    Attributes:
        values: counts by value, by attribute of `ATTRIBUTES`; those that are checked.
        unchecked: attributes that are not, each with why.
        false_alarms: estimated share of new patients with a value that none here has.
    """

    values: Mapping[str, Mapping[str, int]]
    unchecked: Mapping[str, str]
    false_alarms: float

    @classmethod
    def of(
        cls, records: Sequence[ImageRecord], patients: Sequence[str], most: float
    ) -> KnownHeaders:
        """Collect the values of training and validation images.

        How often the next patient brings a value that nobody had is estimated by the share of
        patients who are alone with theirs (Good, Biometrika 40 (1953) 237-264).

        Args:
            records: (N) of the images.
            patients: (N) ids of their patients.
            most: false alarms that the headers may cause, as a share of patients; attributes with
                too many rare values are not checked.
        """
        found = {name: _count(records, patients, read) for name, read in ATTRIBUTES.items()}
        unchecked = {name: "no image names one" for name, counts in found.items() if not counts}
        n = len(set(patients))
        rare = {
            name: sum(count == 1 for count in counts.values()) / n
            for name, counts in found.items()
            if counts
        }
        for name in sorted(rare, key=lambda name: -rare[name]):
            if sum(rare.values()) > most:
                share = rare.pop(name)
                unchecked[name] = f"values of one patient alone are too frequent ({share:.1%})"
        return cls({name: found[name] for name in rare}, unchecked, sum(rare.values()))

    def mismatch(self, record: ImageRecord) -> str:
        """The first attribute with a value that none of the model's own images has; "" for none."""
        for name, known in self.values.items():
            value = ATTRIBUTES[name](record)
            if value and value not in known:
                return name
        return ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "values": {name: dict(counts) for name, counts in self.values.items()},
            "unchecked": dict(self.unchecked),
            "false_alarms": self.false_alarms,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> KnownHeaders:
        """The inverse of `as_json`."""
        return cls(values["values"], values["unchecked"], float(values["false_alarms"]))


def _count(
    records: Sequence[ImageRecord], patients: Sequence[str], read: Callable[[ImageRecord], str]
) -> dict[str, int]:
    pairs = {(read(record), patient) for record, patient in zip(records, patients, strict=True)}
    return dict(sorted(Counter(value for value, _ in pairs if value).items()))
