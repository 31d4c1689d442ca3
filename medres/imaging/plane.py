"""Where an image lies in the patient: from the index of a pixel to millimetres.

Coordinates are RAS+ (right to left, posterior to anterior, inferior to superior), as in NIfTI and
MONAI. DICOM counts to the left and to the posterior, so that two signs change.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from medres.imaging.dicom_header import Header, attempt

Affine: TypeAlias = tuple[tuple[float, ...], ...]
"""(4, 4): from (row, column, slice, 1) to RAS+ millimetres."""

PLANE_TAGS = ["ImageOrientationPatient", "ImagePositionPatient"]
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
# Direction cosines are written with few digits; what is further from a right angle is an error.
COSINE_TOLERANCE = 0.01


def dicom_affine(header: Header, spacing: tuple[float, float] | None) -> Affine | None:
    """Of a frame's plane (PS3.3 C.7.6.2.1.1), None where the file does not say where it lies.

    The third column is the normal, 1 mm long: a frame by itself has no next slice.

    Args:
        header: of the image, with its frame.
        spacing: between the centres of rows, then of columns, in mm.
    """
    orientation = _numbers(header, "ImageOrientationPatient", "PlaneOrientationSequence")
    position = _numbers(header, "ImagePositionPatient", "PlanePositionSequence")
    if spacing is None or len(orientation) != 6 or len(position) != 3:
        return None
    # The first three cosines say where a row runs to: in which direction columns are counted.
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    gram = [along_row @ along_row, along_column @ along_column, along_row @ along_column]
    if not np.allclose(gram, [1, 1, 0], rtol=0, atol=COSINE_TOLERANCE):
        return None
    affine = np.eye(4)
    affine[:3, 0] = along_column * spacing[0] * LPS_TO_RAS
    affine[:3, 1] = along_row * spacing[1] * LPS_TO_RAS
    affine[:3, 2] = np.cross(along_row, along_column) * LPS_TO_RAS
    affine[:3, 3] = np.array(position) * LPS_TO_RAS
    return as_tuples(affine)


def _numbers(header: Header, keyword: str, group: str) -> list[float]:
    """None of them where they are damaged: a picture may be scored without knowing where it lay."""
    return attempt(lambda: header.numbers(keyword, header.group(group)))[0] or []


def slice_affine(
    volume: NDArray[np.float64],
    sizes: tuple[int, int, int],
    axes: tuple[int, int, int],
    flipped: tuple[bool, bool, bool],
    index: int,
) -> Affine | None:
    """Of one slice of a volume, as it is shown; None where it overflows.

    Args:
        volume: (4, 4), from the stored index to RAS+ mm.
        sizes: of the stored axes.
        axes: stored axes that slices, rows and columns run along.
        flipped: which of the three are counted from the end.
        index: of the slice, as counted for the user.
    """
    shown = np.zeros((4, 4))
    shown[3, 3] = 1.0
    for column, (axis, backward) in enumerate(
        ((axes[1], flipped[1]), (axes[2], flipped[2]), (axes[0], flipped[0]))
    ):
        shown[axis, column] = -1.0 if backward else 1.0
        shown[axis, 3] = sizes[axis] - 1 if backward else 0.0
    shown[:, 3] += index * shown[:, 2]
    with np.errstate(all="ignore"):
        return as_tuples(volume @ shown)


def as_tuples(affine: NDArray[np.float64]) -> Affine | None:
    """For a frozen record, and for JSON; None where a number is not finite. -0.0 becomes 0.0."""
    if not np.isfinite(affine).all():
        return None
    return tuple(tuple(float(value) + 0.0 for value in row) for row in affine)
