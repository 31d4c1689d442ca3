"""Affines of two-dimensional images, worked by hand and through MONAI's own spatial transforms."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing

from medres.imaging.grayscale import ImageRecord
from medres.transforms.affine import image_affine

PLANES = {
    "axial": ([0, -0.5, 0], [-0.2, 0, 0]),
    "coronal": ([0, 0, -0.5], [-0.2, 0, 0]),
    "sagittal": ([0, 0, -0.5], [0, -0.2, 0]),
    "tilted": ([0, -0.5 * 0.8, -0.5 * 0.6], [-0.2, 0, 0]),
    "oblique": ([0, 0, -0.5], [-0.2 * 0.8, -0.2 * 0.6, 0]),
}


def record(affine: np.ndarray | None, spacing: tuple[float, float] | None = None) -> ImageRecord:
    return ImageRecord(
        format="dicom",
        rows=40,
        columns=100,
        intensity="display",
        voi="",
        pixel_spacing_mm=spacing,
        affine=None if affine is None else tuple(map(tuple, affine.tolist())),
    )


def patient_affine(plane: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = PLANES[plane]
    affine[:3, 2] = np.cross(*PLANES[plane]) / 0.1
    affine[:3, 3] = (-10, -20, 30)
    return affine


def test_without_orientation_rows_and_columns_are_the_axes() -> None:
    assert np.array_equal(image_affine(record(None, (0.5, 0.2))), np.diag([0.5, 0.2, 1, 1]))
    assert np.array_equal(image_affine(record(None)), np.eye(4))
    assert np.array_equal(image_affine(record(np.diag([0.0, 0.0, 1, 1]))), np.eye(4))


def test_axial_affine_is_the_patient_s() -> None:
    affine, patient = image_affine(record(patient_affine("axial"))), patient_affine("axial")
    assert np.allclose(affine[:3, [0, 1, 3]], patient[:3, [0, 1, 3]])


def test_sagittal_axes_are_anterior_and_superior() -> None:
    affine = image_affine(record(patient_affine("sagittal")))
    assert np.allclose(affine[:2, :2], [[0, -0.2], [-0.5, 0]])
    assert np.allclose(affine[:3, 3], [-20, 30, -10])


@pytest.mark.parametrize("plane", PLANES)
def test_spacing_gives_the_physical_size_and_inverts(plane: str) -> None:
    # 40 rows of 0.5 mm and 100 columns of 0.2 mm: 20 mm each.
    image = MetaTensor(
        torch.rand(1, 40, 100), affine=torch.from_numpy(image_affine(record(patient_affine(plane))))
    )
    resample = Spacing(pixdim=(0.5, 0.5))
    isotropic = resample(image)
    assert isotropic.shape == (1, 40, 41)  # 99 steps of 0.2 mm are 39.6 of 0.5
    assert np.allclose(isotropic.pixdim[:2], [0.5, 0.5])
    back = resample.inverse(isotropic)
    assert back.shape == (1, 40, 100)
    assert torch.allclose(back.affine, image.affine, atol=1e-6)
