"""Synthetic chest radiographs: X-ray projections of an analytic chest, with known truth.

A cone beam from 1.8 m falls through the patient's ellipsoids (`anatomy`) onto a flat
detector; `project_chest` gives the line integral of attenuation for every pixel and the masks of
lungs, heart and opacities as the beam sees them. `detector` turns that into what a
detector reads, `study` into whole studies. Everything follows from seeds; nothing is read
or written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medres.phantom.anatomy import ChestAnatomy
from medres.phantom.ellipsoids import (
    Bools,
    ConeBeam,
    Ellipsoids,
    Floats,
    ellipsoid,
    intervals,
    join,
    line_integrals,
    rotation,
    shadow,
    union_length,
)
from medres.phantom.habitus import FAT, LUNG, MUSCLE

View = Literal["PA", "LL"]
Box = tuple[int, int, int, int]

SOURCE_TO_DETECTOR_MM = 1800.0
_PATIENT_TO_DETECTOR_MM = 150.0
_LUNG_PATH_MM = 12.0
"""Least path through lung that counts as lung field in the mask."""
_OPACITY_SHARE = 0.3
"""Share of an opacity's own peak from which on a pixel belongs to its mask."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a patient stands before the detector.

    Args:
        turn_degrees: about the long axis; 0 faces the detector squarely.
        tilt_degrees: in the detector's plane.
        shift_mm: of the patient on the detector, right and down in the picture.
    """

    turn_degrees: float = 0.0
    tilt_degrees: float = 0.0
    shift_mm: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Rows × columns of the picture and the spacing of the detector's pixels."""

    rows: int
    columns: int
    spacing_mm: float


@dataclass(frozen=True, eq=False)
class Opacity:
    """One opacity in a lung: ellipsoids with soft edges, weights per mm above lung."""

    ellipsoids: Ellipsoids
    side: Literal["R", "L"]
    kind: Literal["focal", "patchy"]


@dataclass(frozen=True, eq=False)
class Projection:
    """What a view of a patient would show a perfect detector.

    Args:
        attenuation: (H, W), line integral of the attenuation coefficient, dimensionless.
        air: (H, W), mm of lung along the ray.
        lung_mask: (H, W), lung fields as seen: not where heart or diaphragm hide them.
        heart_mask: (H, W), the heart's shadow.
        opacity_mask: (H, W), empty without opacities.
        opacity_boxes: of each opacity (row, column, row, column); the ends are exclusive.
    """

    attenuation: Floats
    air: Floats
    lung_mask: Bools
    heart_mask: Bools
    opacity_mask: Bools
    opacity_boxes: tuple[Box, ...]


def aim_beam(view: View, detector: Detector, pose: Pose) -> ConeBeam:
    """The beam in the patient's frame, with the picture's rows and columns.

    Frontal pictures show the patient as if face to face, the patient's left at the right edge;
    lateral ones face the left edge.
    """
    right = np.array([1.0, 0.0, 0.0]) if view == "PA" else np.array([0.0, 1.0, 0.0])
    onward = np.array([0.0, -1.0, 0.0]) if view == "PA" else np.array([1.0, 0.0, 0.0])
    down = np.array([0.0, 0.0, -1.0])
    turned = rotation(2, pose.turn_degrees)
    right, onward = turned @ right, turned @ onward
    tilt = np.deg2rad(pose.tilt_degrees)
    right, down = (
        np.cos(tilt) * right + np.sin(tilt) * down,
        np.cos(tilt) * down - np.sin(tilt) * right,
    )
    target = -pose.shift_mm[0] * right - pose.shift_mm[1] * down
    source = target - (SOURCE_TO_DETECTOR_MM - _PATIENT_TO_DETECTOR_MM) * onward
    middle = target + _PATIENT_TO_DETECTOR_MM * onward
    along_row, along_column = right * detector.spacing_mm, down * detector.spacing_mm
    corner = (
        middle - along_row * (detector.columns - 1) / 2 - along_column * (detector.rows - 1) / 2
    )
    return ConeBeam(source, corner, along_row, along_column, detector.rows, detector.columns)


def project_chest(
    anatomy: ChestAnatomy, view: View, beam: ConeBeam, opacities: tuple[Opacity, ...] = ()
) -> Projection:
    """Project a chest, in closed form."""
    rays = beam.ray_lengths()
    tissue, bones = [anatomy.trunk], [anatomy.bones, anatomy.airways, anatomy.vessels]
    if view == "PA":  # the arms are raised out of a lateral view
        tissue.append(anatomy.arms)
        bones.append(anatomy.arm_bones)
    skin = _path(join([part.skin for part in tissue]), beam) * rays
    muscle = _path(join([part.muscle for part in tissue]), beam) * rays
    air = _lung_path(anatomy, beam) * rays
    attenuation = FAT * skin + (MUSCLE - FAT) * muscle - (MUSCLE - LUNG) * air
    attenuation += line_integrals(join(bones), beam)
    mask, boxes = np.zeros(rays.shape, dtype=np.bool_), []
    for opacity in opacities:
        part = line_integrals(opacity.ellipsoids, beam)
        attenuation += part
        seen = part > _OPACITY_SHARE * part.max() if part.max() > 0 else mask & False
        mask |= seen
        if seen.any():
            boxes.append(bounding_box(seen))
    return Projection(
        attenuation=attenuation,
        air=air,
        lung_mask=air > _LUNG_PATH_MM,
        heart_mask=shadow(anatomy.heart, beam),
        opacity_mask=mask,
        opacity_boxes=tuple(boxes),
    )


def bounding_box(mask: Bools) -> Box:
    """Smallest box around a mask that is not empty: (row, column, row, column), ends exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _path(solids: Ellipsoids, beam: ConeBeam) -> Floats:
    """(H, W), the share of each ray that lies in any of the solids."""
    return union_length(*intervals(solids, beam)).reshape(beam.rows, beam.columns)


def _lung_path(anatomy: ChestAnatomy, beam: ConeBeam) -> Floats:
    """(H, W), the share of each ray in lung: the lungs less what displaces them."""
    total = np.zeros(beam.rows * beam.columns)
    for start, end in zip(*intervals(anatomy.lungs, beam), strict=True):
        pixels = np.flatnonzero(end > start)
        starts, ends = (
            np.clip(part, start[pixels], end[pixels])
            for part in intervals(anatomy.displacing, beam, pixels)
        )
        met = (ends > starts).any(axis=1)
        total[pixels] += (end - start)[pixels] - union_length(starts[met], ends[met])
    return total.reshape(beam.rows, beam.columns)


def draw_opacities(
    anatomy: ChestAnatomy, rng: np.random.Generator, *, contrast: float = 1.0
) -> tuple[Opacity, ...]:
    """One or two opacities where a frontal view shows lung.

    Args:
        anatomy: whose lungs.
        rng: what decides on size, kind and place.
        contrast: multiplies their attenuation; 0 draws the same places and shows nothing.
    """
    count = 1 + int(rng.random() < 0.4)
    return tuple(_draw_opacity(anatomy, rng, contrast) for _ in range(count))


def _draw_opacity(anatomy: ChestAnatomy, rng: np.random.Generator, contrast: float) -> Opacity:
    focal = bool(rng.random() < 0.5)
    radius = rng.uniform(15, 20) if focal else rng.uniform(21, 27)
    lung, center = _place(anatomy, radius, rng)
    full = contrast * (MUSCLE - LUNG)  # no air left in the alveoli
    deep = np.array([1.0, 2.2, 1.0])  # along the bronchi, as segments are
    if focal:
        lobes = [(center, radius * rng.uniform(0.9, 1.1, 3) * deep, full * rng.uniform(0.85, 1.0))]
    else:
        weight = full * rng.uniform(0.36, 0.46)
        lobes = [
            (
                center + rng.normal(0, 0.32, 3) * radius,
                radius * rng.uniform(0.6, 0.85, 3) * deep,
                weight,
            )
            for _ in range(5)
        ]
    return Opacity(
        join([_soft(c, half, weight) for c, half, weight in lobes]),
        side="L" if lung else "R",
        kind="focal" if focal else "patchy",
    )


def _soft(center: Floats, half_axes: Floats, weight: float) -> Ellipsoids:
    """An ellipsoid that fades out: four, one inside the other."""
    return join(
        [ellipsoid(center, half_axes * size, weight=weight / 4) for size in (0.7, 0.85, 1.0, 1.15)]
    )


def _place(anatomy: ChestAnatomy, radius_mm: float, rng: np.random.Generator) -> tuple[int, Floats]:
    """A lung (0 right, 1 left) and a point: all around in lung, and hidden from no frontal ray."""
    corners = radius_mm * np.concatenate([np.eye(3), -np.eye(3)]) * [0.9, 1.6, 0.9]
    rays = np.linspace(-160, 160, 33)[:, None] * [0.0, 1.0, 0.0] + 0.7 * corners[:, None]
    while True:
        lung = int(rng.integers(2))
        around = anatomy.lungs[lung : lung + 1]
        offset = rng.uniform(-1, 1, 3)
        center = around.centers[0] + np.linalg.solve(around.shapes[0], offset)
        if not around.contain(center + corners).all():
            continue
        if not anatomy.displacing.contain(center + rays).any():
            return lung, center
