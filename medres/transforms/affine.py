"""The affine that MONAI's transforms of two-dimensional images need.

For an image (1, H, W), MONAI takes the first two rows and columns of an affine as a whole: the
steps of rows and columns in a plane with two axes. Of a sagittal slice's patient coordinates, that
part is singular, and of an oblique one too short: `Spacing` then fails, or gives a wrong size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medres.imaging.grayscale import ImageRecord


def image_affine(record: ImageRecord) -> NDArray[np.float64]:
    """(4, 4), from (row, column, 0, 1) to mm, with the pixels' true spacing in its first two axes.

    Those are the two patient axes that the image lies along: right and anterior for an axial
    image, right and superior for a coronal one, anterior and superior for a sagittal one. An
    oblique image is turned into their plane. For an axial image this is the patient's RAS+ affine
    itself. Where a record does not say how the image lies, rows and columns are the axes; where
    it has no pixel spacing either, a pixel is 1 mm.

    Args:
        record: of the image.
    """
    if record.affine is None:
        row_mm, column_mm = record.pixel_spacing_mm or (1.0, 1.0)
        return np.diag([row_mm, column_mm, 1.0, 1.0])
    patient = np.array(record.affine)
    spacing = np.linalg.norm(patient[:3, :2], axis=0)
    if not spacing.all():
        return np.diag([1.0, 1.0, 1.0, 1.0])
    normal = np.cross(patient[:3, 0], patient[:3, 1])
    across = int(np.argmax(np.abs(normal)))
    along = [axis for axis in range(3) if axis != across]
    affine = np.eye(4)
    affine[:2, :2] = _nearest_rotation(patient[along, :2] / spacing) * spacing
    affine[:3, 3] = patient[[*along, across], 3]
    return affine


def resize_affine(shape: tuple[int, ...], resized: tuple[int, ...]) -> NDArray[np.float64]:
    """(4, 4): from a pixel's index in a resized image (h, w) to its index in the image (H, W)."""
    affine = np.eye(4)
    for axis, (old, new) in enumerate(zip(shape, resized, strict=True)):
        scale = old / new
        affine[axis, axis], affine[axis, 3] = scale, 0.5 * scale - 0.5
    return affine


def _nearest_rotation(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthogonal (2, 2) matrix nearest to two directions (polar decomposition)."""
    left, _, right = np.linalg.svd(directions)
    rotation: NDArray[np.float64] = left @ right
    return rotation
