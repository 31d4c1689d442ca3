"""Which patients and pixels a model was fitted or chosen on, as digests.

An evaluation compares them with its own, so that no one is judged whom the model has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


def patient_digest(patient_id: str) -> str:
    """16 hexadecimal digits that stand for a patient: comparable, not readable."""
    return hashlib.sha256(b"medres patient\0" + patient_id.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SeenCases:
    """Digests of the train and validation cases.

    Attributes:
        patients: of patient ids; empty where the data had none.
        pixels: first 16 digits of each image's pixel digest.
    """

    patients: frozenset[str]
    pixels: frozenset[str]

    @classmethod
    def of(cls, patient_ids: Iterable[str], pixel_digests: Iterable[str]) -> SeenCases:
        """Digest patients and images."""
        return cls(
            frozenset(patient_digest(patient) for patient in patient_ids),
            frozenset(digest[:16] for digest in pixel_digests),
        )

    def has_patient(self, patient_id: str) -> bool:
        """Whether the model has seen this patient."""
        return patient_digest(patient_id) in self.patients

    def has_pixels(self, pixel_digest: str) -> bool:
        """Whether the model has seen exactly these pixels."""
        return pixel_digest[:16] in self.pixels

    def as_json(self) -> dict[str, list[str]]:
        """Plain JSON values."""
        return {"patients": sorted(self.patients), "pixels": sorted(self.pixels)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SeenCases:
        """Rebuild from `as_json`."""
        return cls(frozenset(values["patients"]), frozenset(values["pixels"]))
