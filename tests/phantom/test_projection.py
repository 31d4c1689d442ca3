from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medres.phantom.anatomy import build_anatomy
from medres.phantom.habitus import LUNG, MUSCLE
from medres.phantom.projection import (
    Detector,
    Pose,
    Projection,
    View,
    aim_beam,
    bounding_box,
    draw_opacities,
    project_chest,
)

DETECTOR = Detector(rows=112, columns=112, spacing_mm=3.6)


def project(patient: int, view: View = "PA", contrast: float | None = None) -> Projection:
    anatomy = build_anatomy(patient)
    drawn = draw_opacities(anatomy, np.random.default_rng(patient), contrast=contrast or 0.0)
    beam = aim_beam(view, DETECTOR, Pose())
    return project_chest(anatomy, view, beam, () if contrast is None else drawn)


def test_anatomy_is_the_same_at_every_call() -> None:
    one, two = build_anatomy(7, seed=3), build_anatomy(7, seed=3)
    for name in ("lungs", "heart", "bones", "vessels"):
        np.testing.assert_array_equal(getattr(one, name).shapes, getattr(two, name).shapes)


@pytest.mark.parametrize(("patient", "seed"), [(8, 3), (7, 4)])
def test_anatomy_is_another_for_another_patient_or_seed(patient: int, seed: int) -> None:
    one, two = build_anatomy(7, seed=3), build_anatomy(patient, seed=seed)
    assert not np.allclose(one.lungs.centers, two.lungs.centers)


def test_anatomy_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        build_anatomy(0).patient = 1  # type: ignore[misc]


def test_every_patient_has_twelve_pairs_of_ribs_worth_of_bone() -> None:
    counts = {len(build_anatomy(patient).bones) for patient in range(5)}
    assert len(counts) == 1
    assert counts.pop() > 1000


def test_attenuation_is_that_of_a_chest() -> None:
    for patient in range(4):
        truth = project(patient)
        lungs = np.median(truth.attenuation[truth.lung_mask])
        heart = np.median(truth.attenuation[truth.heart_mask])
        assert truth.attenuation.min() >= 0
        assert 1.2 < lungs < 3.6 < heart < 7.0
        assert heart - lungs > 0.8


def test_air_beside_the_patient_attenuates_nothing() -> None:
    assert project(0).attenuation[0, 0] == 0.0


def test_heart_lies_to_the_right_of_the_picture_in_a_frontal_view() -> None:
    for patient in range(6):
        _, columns = np.nonzero(project(patient).heart_mask)
        assert columns.mean() > (DETECTOR.columns - 1) / 2 + 2


def test_heart_lies_in_front_in_a_lateral_view() -> None:
    for patient in range(4):
        truth = project(patient, "LL")
        assert np.nonzero(truth.heart_mask)[1].mean() < np.nonzero(truth.lung_mask)[1].mean() - 3


def test_heart_is_as_wide_as_hearts_are() -> None:
    ratios = []
    for patient in range(24):
        truth = project(patient)
        _, left, _, right = bounding_box(truth.heart_mask)
        _, outer_left, _, outer_right = bounding_box(truth.lung_mask)
        ratios.append((right - left) / (outer_right - outer_left))
    assert min(ratios) > 0.33
    assert max(ratios) < 0.68
    assert np.std(ratios) > 0.02


def test_lung_mask_is_two_fields_with_the_mediastinum_between() -> None:
    truth = project(1)
    middle = truth.lung_mask[40]
    turns = np.flatnonzero(np.diff(middle.astype(int)))
    assert len(turns) == 4


def test_opacity_adds_its_own_attenuation_and_nothing_else() -> None:
    with_it, without = project(5, contrast=1.0), project(5)
    added = with_it.attenuation - without.attenuation
    assert added.min() >= 0
    assert 0.25 < added.max() < 2.0
    assert (added[with_it.opacity_mask] > 0.05).all()
    np.testing.assert_array_equal(with_it.lung_mask, without.lung_mask)


def test_opacity_without_contrast_is_not_there() -> None:
    truth = project(5, contrast=0.0)
    np.testing.assert_array_equal(truth.attenuation, project(5).attenuation)
    assert not truth.opacity_mask.any()
    assert truth.opacity_boxes == ()


def test_opacity_is_seen_in_the_lung_of_its_side() -> None:
    for patient in range(30):
        anatomy = build_anatomy(patient)
        opacities = draw_opacities(anatomy, np.random.default_rng(patient))
        beam = aim_beam("PA", DETECTOR, Pose())
        for opacity in opacities:
            truth = project_chest(anatomy, "PA", beam, (opacity,))
            row, column, end_row, end_column = truth.opacity_boxes[0]
            assert ((column + end_column) / 2 > DETECTOR.columns / 2) == (opacity.side == "L")
            assert truth.lung_mask[truth.opacity_mask].mean() > 0.9
            assert 5 < end_row - row < 30


def test_opacity_is_no_denser_than_flesh() -> None:
    for patient in range(20):
        for opacity in draw_opacities(build_anatomy(patient), np.random.default_rng(patient)):
            if opacity.kind == "focal":
                assert opacity.ellipsoids.weights.sum() <= MUSCLE - LUNG + 1e-12


def test_boxes_hold_the_mask() -> None:
    truth = project(3, contrast=1.0)
    inside = np.zeros_like(truth.opacity_mask)
    for row, column, end_row, end_column in truth.opacity_boxes:
        inside[row:end_row, column:end_column] = True
    assert (inside >= truth.opacity_mask).all()


def test_bounding_box_ends_are_exclusive() -> None:
    mask = np.zeros((6, 9), dtype=np.bool_)
    mask[2:4, 5:8] = True
    assert bounding_box(mask) == (2, 5, 4, 8)


def test_pose_moves_the_patient_right_and_down() -> None:
    anatomy = build_anatomy(2)
    still, moved = (
        project_chest(anatomy, "PA", aim_beam("PA", DETECTOR, pose)).heart_mask
        for pose in (Pose(), Pose(shift_mm=(18.0, 36.0)))
    )
    (rows, columns), (new_rows, new_columns) = np.nonzero(still), np.nonzero(moved)
    assert new_columns.mean() - columns.mean() == pytest.approx(18 / 3.6, abs=0.7)
    assert new_rows.mean() - rows.mean() == pytest.approx(36 / 3.6, abs=1.2)
