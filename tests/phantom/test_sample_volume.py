from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from medres.phantom.sample_volume import (
    VOLUME_SHAPE,
    VOLUME_SPACING_MM,
    render_volume,
    write_volume,
)


def test_volume_is_in_hounsfield_units() -> None:
    hounsfield, _, _ = render_volume(0)
    assert hounsfield.shape == VOLUME_SHAPE
    assert hounsfield[0, 0].mean() < -950  # air
    middle = hounsfield[:, :, 12]
    assert np.mean((middle > -820) & (middle < -650)) > 0.08  # lung
    assert np.mean((middle > 0) & (middle < 120)) > 0.06  # flesh
    assert hounsfield.max() > 400  # bone


def test_volume_labels_name_the_slices_with_opacity() -> None:
    shown, labels, _ = render_volume(1)
    hidden, same, _ = render_volume(1, opacity_contrast=0.0)
    np.testing.assert_array_equal(labels, same)
    assert 0 < labels.sum() < 20
    change = np.abs(shown.astype(float) - hidden).reshape(-1, VOLUME_SHAPE[2]).max(axis=0)
    assert (change[labels == 1] > 100).all()


def test_volumes_hold_patients_with_and_without_opacities() -> None:
    assert [bool(render_volume(patient)[1].any()) for patient in range(4)] == [True] * 3 + [False]


def test_volume_is_deterministic() -> None:
    np.testing.assert_array_equal(render_volume(2)[0], render_volume(2)[0])
    assert not np.array_equal(render_volume(2)[0], render_volume(2, seed=1)[0])


def test_written_volume_knows_its_orientation_and_spacing(tmp_path: Path) -> None:
    hounsfield, _, affine = render_volume(0)
    write_volume(tmp_path / "v.nii.gz", hounsfield, affine)
    image = nibabel.load(tmp_path / "v.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    np.testing.assert_allclose(image.header.get_zooms(), VOLUME_SPACING_MM)
    np.testing.assert_array_equal(np.asarray(image.dataobj), hounsfield)


def test_heart_lies_left_and_in_front_of_the_spine() -> None:
    hounsfield, _, affine = render_volume(3)
    low = hounsfield[:, :, 7].astype(float)
    lung = (low > -850) & (low < -600)
    # RAS+: the patient's left has negative x; the heart leaves less lung there.
    x = affine[0, 0] * np.arange(VOLUME_SHAPE[0]) + affine[0, 3]
    assert lung[x < 0].sum() < lung[x > 0].sum()
    spine = np.argwhere(low > 300).mean(axis=0)
    assert affine[1, 1] * spine[1] + affine[1, 3] < 0
