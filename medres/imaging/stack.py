"""Slices in the order they lie in the patient, and what is wrong with them.

Positions are measured along the normal of the slices: the cross product of the directions of
rows and columns in Image Orientation (Patient) (0020,0037), with Image Position (Patient)
(0020,0032) (PS3.3 C.7.6.2.1.1). File names and instance numbers follow a scanner's habits, never
geometry; they decide only where a file says no position.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from medres.imaging.slice_record import (
    Note,
    NoteKind,
    Slice,
    Vector,
    dot,
    same_orientation,
    same_pixel_spacing,
)

Order = Literal["position", "instance number", "file name"]

SAME_POSITION_MM = 1e-3
UNEVEN = 0.01  # of the slice spacing; below it lies the rounding of written positions
GAP = 1.5  # times the slice spacing: at least half a slice is missing
TILT_DEGREES = 0.2


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices of one frame of reference, orientation, size and pixel spacing: one volume's.

    Args:
        slices: by position along the normal, ascending; by instance number where `order` says so.
        order: what decided.
        positions_mm: (S,) along the normal, one a slice; empty without positions.
        slice_spacing_mm: mean distance of neighbouring positions, gaps left out; None where there
            are not two.
        tilt_degrees: angle between the normal and the direction in which the slices follow each
            other: 0 for a straight stack, the gantry's tilt for a sheared one.
        notes: gaps, uneven spacing, several slices at one position, tilt.
    """

    slices: tuple[Slice, ...]
    order: Order
    positions_mm: tuple[float, ...] = ()
    slice_spacing_mm: float | None = None
    tilt_degrees: float = 0.0
    notes: tuple[Note, ...] = ()


def build_stacks(slices: Iterable[Slice]) -> tuple[Stack, ...]:
    """Slices of one series, in any order, as stacks; the largest first.

    The result depends neither on the order given nor, where positions are known, on file names.
    """
    groups: list[list[Slice]] = []
    for item in sorted(slices, key=_identity_key):
        for group in groups:
            if _fit_together(group[0], item):
                group.append(item)
                break
        else:
            groups.append([item])
    groups.sort(key=len, reverse=True)
    return tuple(_build_stack(group) for group in groups)


def _build_stack(slices: list[Slice]) -> Stack:
    if not slices[0].has_geometry:
        numbered = any(item.instance_number is not None for item in slices)
        return Stack(
            slices=tuple(sorted(slices, key=_number_key)),
            order="instance number" if numbered else "file name",
        )
    normal = _normal(slices[0].orientation or ())
    placed = sorted(
        ((dot(normal, item.position_mm or ()), item) for item in slices),
        key=lambda pair: (round(pair[0] / SAME_POSITION_MM), *_number_key(pair[1])),
    )
    positions = tuple(position for position, _ in placed)
    ordered = tuple(item for _, item in placed)
    spacing, spacing_notes = _check_spacing(positions)
    tilt = _tilt_degrees(normal, ordered)
    return Stack(
        slices=ordered,
        order="position",
        positions_mm=positions,
        slice_spacing_mm=spacing,
        tilt_degrees=tilt,
        notes=(*_check_duplicates(positions), *spacing_notes, *_check_tilt(tilt, ordered)),
    )


def _check_duplicates(positions: Sequence[float]) -> tuple[Note, ...]:
    starts = _first_of_each(positions)
    counts = [end - start for start, end in zip(starts, [*starts[1:], len(positions)], strict=True)]
    several = [(start, count) for start, count in zip(starts, counts, strict=True) if count > 1]
    if not several:
        return ()
    indices = tuple(start + step for start, count in several for step in range(count))
    message = (
        f"{len(several)} of {len(starts)} positions hold more than one slice, {len(indices)} in "
        "all: phases, echoes, diffusion weightings, or copies"
    )
    return (Note(NoteKind.DUPLICATE_POSITION, message, indices),)


def _check_spacing(positions: Sequence[float]) -> tuple[float | None, tuple[Note, ...]]:
    """Mean distance of neighbours, and a note for each gap and for uneven distances.

    The yardstick for a gap is the lower median of the distances, so that of three slices two can
    show where the fourth is missing.
    """
    starts = _first_of_each(positions)
    distances = [positions[b] - positions[a] for a, b in pairwise(starts)]
    if not distances:
        return None, ()
    usual = sorted(distances)[(len(distances) - 1) // 2]
    near = [distance for distance in distances if distance < GAP * usual]
    spacing = sum(near) / len(near)
    notes = [
        Note(
            NoteKind.GAP,
            f"{distance:.6g} mm from slice {after - 1} to slice {after}, where {spacing:.6g} mm "
            f"are usual: {max(round(distance / spacing) - 1, 1)} missing",
            (after - 1, after),
        )
        for distance, after in zip(distances, starts[1:], strict=True)
        if distance >= GAP * usual
    ]
    if max(abs(distance - spacing) for distance in near) > max(UNEVEN * spacing, SAME_POSITION_MM):
        message = f"neighbouring slices lie {min(near):.6g} to {max(near):.6g} mm apart"
        notes.append(Note(NoteKind.UNEVEN_SPACING, message))
    return spacing, tuple(notes)


def _check_tilt(measured: float, slices: Sequence[Slice]) -> tuple[Note, ...]:
    """A tilt by the positions, or one that only Gantry/Detector Tilt (0018,1120) says."""
    written = max((abs(item.gantry_tilt_degrees or 0.0) for item in slices), default=0.0)
    if max(measured, written) <= TILT_DEGREES:
        return ()
    said = f"Gantry/Detector Tilt (0018,1120) says {written:.4g} degrees"
    message = (
        f"the slices follow each other {measured:.4g} degrees off their normal: as a volume they "
        f"need shearing; {said}"
        if measured > TILT_DEGREES
        else f"{said}, the positions none"
    )
    return (Note(NoteKind.GANTRY_TILT, message),)


def _tilt_degrees(normal: Vector, slices: Sequence[Slice]) -> float:
    first, last = slices[0].position_mm or (), slices[-1].position_mm or ()
    travel = [b - a for a, b in zip(first, last, strict=True)]
    along = abs(dot(normal, travel))
    if along < SAME_POSITION_MM:
        return 0.0
    across = math.sqrt(max(dot(travel, travel) - along**2, 0.0))
    return math.degrees(math.atan2(across, along))


def _first_of_each(positions: Sequence[float]) -> list[int]:
    """Index of the first slice at each position."""
    return [
        index
        for index, position in enumerate(positions)
        if index == 0 or position - positions[index - 1] > SAME_POSITION_MM
    ]


def _fit_together(one: Slice, other: Slice) -> bool:
    exact = [
        (item.rows, item.columns, item.has_geometry, item.frame_of_reference_uid)
        for item in (one, other)
    ]
    if exact[0] != exact[1] or not same_pixel_spacing(one, other):
        return False
    return not one.has_geometry or same_orientation(one, other)


def _identity_key(item: Slice) -> tuple[object, ...]:
    number = item.instance_number
    return (number is None, number or 0, item.sop_instance_uid, item.frame, _natural(item.path))


def _number_key(item: Slice) -> tuple[object, ...]:
    number = item.instance_number
    return (number is None, number or 0, _natural(item.path), item.frame)


def _natural(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """File names in the order that people count: I20 before I100."""
    parts = re.findall(r"\d+|\D+", path.name)
    return tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts)


def _normal(orientation: Vector) -> Vector:
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.sqrt(dot(normal, normal))
    return tuple(component / length for component in normal)
