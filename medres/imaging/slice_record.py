"""One slice of a series, as its header says, and the notes that a series may get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

Vector: TypeAlias = tuple[float, ...]

SAME_DIRECTION = 1e-3  # of each direction cosine; scanners write 4 to 16 digits
SAME_PIXEL_SPACING = 1e-3  # relative


class NoteKind(StrEnum):
    """What a series is found to be beside a plain stack of slices. Stable across versions."""

    GAP = "gap"
    UNEVEN_SPACING = "uneven_spacing"
    DUPLICATE_POSITION = "duplicate_position"
    DUPLICATE_INSTANCE = "duplicate_instance"
    GANTRY_TILT = "gantry_tilt"
    LOCALIZER = "localizer"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_SIZE = "mixed_size"
    MIXED_PIXEL_SPACING = "mixed_pixel_spacing"
    MIXED_FRAME_OF_REFERENCE = "mixed_frame_of_reference"
    MIXED_PATIENTS = "mixed_patients"
    NO_POSITION = "no_position"
    NO_INSTANCE_NUMBER = "no_instance_number"
    NO_SERIES_UID = "no_series_uid"


@dataclass(frozen=True)
class Note:
    """One thing to know before a series is used as a volume.

    Args:
        kind: code.
        message: in words; numbers and units only, never identity.
        slices: indices in the stack, or in the series' localizers; empty where the whole is meant.
    """

    kind: NoteKind
    message: str
    slices: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One frame of one instance, as its header says.

    Args:
        path: of its file.
        frame: index in the file, from 0.
        rows: H.
        columns: W.
        pixel_spacing_mm: of rows, then of columns.
        instance_number: (0020,0013), None where absent.
        orientation: six direction cosines, along a row and down a column, in the patient's
            coordinates (L, P, S); None where absent or no two perpendicular unit vectors.
        position_mm: x, y, z of the first pixel's centre; None where absent.
        gantry_tilt_degrees: as the header says it, None where absent.
        image_type: such as (ORIGINAL, PRIMARY, AXIAL).
        sop_instance_uid: identity, as the two below; not in the `repr`.
        frame_of_reference_uid: in which positions are comparable.
        patient_id: whose it is.
    """

    path: Path
    frame: int = 0
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float] | None = None
    instance_number: int | None = None
    orientation: Vector | None = None
    position_mm: Vector | None = None
    gantry_tilt_degrees: float | None = None
    image_type: tuple[str, ...] = ()
    sop_instance_uid: str = field(default="", repr=False)
    frame_of_reference_uid: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)

    @property
    def has_geometry(self) -> bool:
        """Whether the file says where it lies in the patient."""
        return self.orientation is not None and self.position_mm is not None

    @property
    def is_localizer(self) -> bool:
        """Whether Image Type (0008,0008) says LOCALIZER: an overview, no slice of the volume."""
        return "LOCALIZER" in (value.upper() for value in self.image_type)


def same_orientation(one: Slice, other: Slice) -> bool:
    """Whether two slices are parallel, and turned alike."""
    return _close(one.orientation, other.orientation, SAME_DIRECTION)


def same_pixel_spacing(one: Slice, other: Slice) -> bool:
    """Whether pixels are equally large, but for rounding."""
    first = one.pixel_spacing_mm
    return _close(first, other.pixel_spacing_mm, SAME_PIXEL_SPACING * max(first or (0.0,)))


def is_orientation(cosines: Sequence[float]) -> bool:
    """Whether six numbers are two perpendicular unit vectors."""
    if len(cosines) != 6:
        return False
    row, column = cosines[:3], cosines[3:]
    return all(
        abs(dot(one, other) - expected) < 0.01
        for one, other, expected in ((row, row, 1), (column, column, 1), (row, column, 0))
    )


def dot(one: Sequence[float], other: Sequence[float]) -> float:
    """Inner product of two vectors of the same length."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def _close(one: Vector | None, other: Vector | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))
