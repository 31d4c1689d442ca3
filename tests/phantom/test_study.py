from __future__ import annotations

import numpy as np
import pytest

from medres.phantom.study import SCANNERS, StudyPlan, plan_studies, render_study

PLANS = plan_studies(400)


def first(**wanted: object) -> StudyPlan:
    return next(p for p in PLANS if all(getattr(p, k) == v for k, v in wanted.items()))


def test_plan_of_more_patients_begins_with_that_of_fewer() -> None:
    assert PLANS[: len(plan_studies(40))] == plan_studies(40)


def test_plan_of_another_seed_is_another() -> None:
    assert plan_studies(40, seed=1) != plan_studies(40)


def test_scanner_says_nothing_about_the_finding() -> None:
    for scanner in "AB":
        plans = [plan for plan in PLANS if plan.scanner == scanner]
        assert len({plan.patient for plan in plans}) == 200
        assert len({plan.patient for plan in plans if plan.opacity}) == 100


def test_number_of_studies_says_nothing_about_the_patient() -> None:
    opaque: dict[int, list[bool]] = {}
    for plan in plan_studies(2000):
        opaque.setdefault(plan.patient, []).append(plan.opacity)
    single, several = (
        np.mean([any(shown) for shown in opaque.values() if (len(shown) > 1) is more])
        for more in (False, True)
    )
    assert single == pytest.approx(several, abs=0.06)
    assert any(any(shown) and not all(shown) for shown in opaque.values())


def test_patient_stays_with_one_scanner() -> None:
    scanners: dict[int, set[str]] = {}
    for plan in PLANS:
        scanners.setdefault(plan.patient, set()).add(plan.scanner)
    assert all(len(names) == 1 for names in scanners.values())


def test_set_has_every_kind_of_file() -> None:
    for scanner in SCANNERS.values():
        for voi, _ in scanner.vois:
            assert first(scanner=scanner.name, voi=voi)
        for encoding in ("explicit", "jpeg-ls", "jpeg-2000", "rle"):
            assert first(scanner=scanner.name, encoding=encoding)
    assert first(views=("PA", "LL"))
    assert first(study=1)


def test_views_files_and_days_say_nothing_about_the_finding() -> None:
    plans = plan_studies(2000)
    for feature in (
        lambda p: len(p.views) == 2,
        lambda p: p.voi == "window",
        lambda p: p.encoding == "rle",
        lambda p: p.days > 350,
    ):
        with_it, without = (
            np.mean([p.opacity for p in plans if feature(p) is flag]) for flag in (True, False)
        )
        assert with_it == pytest.approx(without, abs=0.07)


@pytest.mark.parametrize("scanner", ["A", "B"])
def test_render_is_deterministic_and_in_range(scanner: str) -> None:
    plan = first(scanner=scanner, views=("PA", "LL"))
    one, two = render_study(plan), render_study(plan)
    assert [picture.view for picture in one] == ["PA", "LL"]
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left.stored, right.stored)
        assert left.stored.dtype == np.uint16
        assert left.stored.max() < 2 ** SCANNERS[scanner].bits_stored
        assert 0 < left.window[0] < left.window[1] < 2 ** SCANNERS[scanner].bits_stored


def test_lungs_are_darker_than_the_heart_on_both_scanners() -> None:
    for scanner, sign in (("A", 1), ("B", -1)):
        picture = render_study(first(scanner=scanner))[0]
        stored = picture.stored.astype(float) * sign
        lungs = np.median(stored[picture.lung_mask & ~picture.heart_mask])
        heart = np.median(stored[picture.heart_mask & ~picture.lung_mask])
        assert heart - lungs > 0.1 * (picture.window[1] - picture.window[0])


def test_window_shows_lung_and_heart_without_clipping() -> None:
    for scanner in "AB":
        picture = render_study(first(scanner=scanner))[0]
        low, high = picture.window
        lungs = picture.stored[picture.lung_mask]
        assert np.mean((lungs > low) & (lungs < high)) > 0.98


def test_negative_study_is_the_same_with_and_without_contrast() -> None:
    plan = first(opacity=False, study=0)
    for one, two in zip(render_study(plan), render_study(plan, opacity_contrast=0), strict=True):
        np.testing.assert_array_equal(one.stored, two.stored)
        assert not one.opacity_mask.any()


def test_positive_study_without_contrast_differs_where_the_opacity_was() -> None:
    plan = first(opacity=True, scanner="A")
    shown, hidden = render_study(plan)[0], render_study(plan, opacity_contrast=0)[0]
    assert not hidden.opacity_mask.any()
    change = shown.stored.astype(float) - hidden.stored
    assert change[shown.opacity_mask].mean() > 40
    rows, columns = np.nonzero(shown.opacity_mask)
    far = np.ones_like(shown.opacity_mask)
    far[
        max(rows.min() - 25, 0) : rows.max() + 25, max(columns.min() - 25, 0) : columns.max() + 25
    ] = 0
    assert abs(change[far & shown.lung_mask].mean()) < 12


def test_masks_lie_in_the_picture() -> None:
    picture = render_study(first(opacity=True, study=0))[0]
    for mask in (picture.lung_mask, picture.heart_mask, picture.opacity_mask):
        assert mask.shape == picture.stored.shape
        assert mask.dtype == np.bool_
        assert mask.any()
