"""Small CT-like volumes of the same synthetic chests, with a label for every slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medres.phantom.anatomy import ChestAnatomy, build_anatomy
from medres.phantom.detector import gaussian_blur
from medres.phantom.ellipsoids import Bools, Floats, join, weigh_grid
from medres.phantom.habitus import FAT, LUNG, MUSCLE, WATER
from medres.phantom.projection import draw_opacities

VOLUME_SHAPE = (64, 64, 24)  # columns to the left, rows to the front, slices to the head
VOLUME_SPACING_MM = (6.0, 5.0, 10.0)
_BOTTOM_MM = -125.0
_LEAST_VOXELS = 4
"""Voxels of opacity from which on a slice counts as showing it."""


def render_volume(
    patient: int, *, seed: int = 0, opacity_contrast: float = 1.0
) -> tuple[NDArray[np.int16], NDArray[np.int64], Floats]:
    """A CT-like volume of one synthetic chest.

    Args:
        patient: number of the patient, from 0; not the same people as the radiographs'.
        seed: of the set.
        opacity_contrast: multiplies the opacities' attenuation; 0 leaves them out, labels stay.

    Returns:
        (X, Y, Z) Hounsfield units, axes to the patient's left, front and head; (Z,) labels, 1
        where a slice shows an opacity; the (4, 4) affine of NIfTI's RAS+ millimetres.
    """
    anatomy = build_anatomy(patient, seed=seed + 1)
    rng = np.random.default_rng([seed, patient, 0xC7])
    # Three patients in four have opacities, so that every split holds both kinds of slice.
    opacities = draw_opacities(anatomy, rng) if patient % 4 < 3 else ()
    grid = _grid()
    lung, attenuation = _tissues(anatomy, grid)
    lesion = np.zeros(VOLUME_SHAPE, dtype=np.bool_)
    for opacity in opacities:
        extra = weigh_grid(opacity.ellipsoids, *grid) * lung
        attenuation += opacity_contrast * extra
        lesion |= extra > 0
    labels = (lesion.sum(axis=(0, 1)) >= _LEAST_VOXELS).astype(np.int64)
    hounsfield = 1000.0 * (attenuation / WATER - 1.0)
    for z in range(VOLUME_SHAPE[2]):
        hounsfield[:, :, z] = gaussian_blur(hounsfield[:, :, z], 0.5)
    hounsfield += rng.normal(0.0, 22.0, VOLUME_SHAPE)
    return np.rint(hounsfield).clip(-1024, 3071).astype(np.int16), labels, _affine()


def _grid() -> tuple[Floats, Floats, Floats]:
    """Voxel centres along x (left), y (back, so falling) and z (head), mm."""
    X, Y, Z = (np.arange(n, dtype=np.float64) for n in VOLUME_SHAPE)
    dx, dy, dz = VOLUME_SPACING_MM
    return (X - X[-1] / 2) * dx, (Y[-1] / 2 - Y) * dy, _BOTTOM_MM + Z * dz


def _affine() -> Floats:
    """Voxel to RAS+ mm; the first axis runs to the left, so its step is negative."""
    affine = np.diag([-VOLUME_SPACING_MM[0], *VOLUME_SPACING_MM[1:], 1.0])
    affine[0, 3] = VOLUME_SPACING_MM[0] * (VOLUME_SHAPE[0] - 1) / 2
    affine[1, 3] = -VOLUME_SPACING_MM[1] * (VOLUME_SHAPE[1] - 1) / 2
    affine[2, 3] = _BOTTOM_MM
    return affine


def _tissues(anatomy: ChestAnatomy, grid: tuple[Floats, Floats, Floats]) -> tuple[Bools, Floats]:
    """Which voxels are lung, and the attenuation of each without opacities."""
    skin, muscle, lung, other = (
        weigh_grid(part, *grid) > 0
        for part in (anatomy.trunk.skin, anatomy.trunk.muscle, anatomy.lungs, anatomy.displacing)
    )
    lung &= ~other
    attenuation = np.where(muscle, MUSCLE, np.where(skin, FAT, 0.0))
    attenuation += weigh_grid(join([anatomy.bones, anatomy.airways]), *grid) * skin
    attenuation = np.where(lung, LUNG, np.maximum(attenuation, 0.0))
    attenuation += weigh_grid(anatomy.vessels, *grid) * lung
    return lung, np.minimum(attenuation, 2.2 * MUSCLE)


def write_volume(path: Path, hounsfield: NDArray[np.int16], affine: Floats) -> None:
    """Write a volume as compressed NIfTI-1 in scanner coordinates, in mm."""
    import nibabel

    nifti: Any = nibabel  # its annotations are incomplete
    image = nifti.Nifti1Image(hounsfield, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    nifti.save(image, path)
