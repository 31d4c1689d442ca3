from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.partial_auroc import partial_auroc, partial_auroc_tensor
from medres.metrics.ranking import auroc

cases = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.9])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def value(y, s, **options) -> float:
    return float(partial_auroc_tensor(y, s, **options))


@given(cases, st.sampled_from([0.05, 0.1, 0.33, 0.8]))
@settings(deadline=None)
def test_standardised_area_from_0_equals_scikit_learns_mcclish(rows, high: float):
    y, s = zip(*rows, strict=True)
    oracle = sklearn.metrics.roc_auc_score(y, s, max_fpr=high)
    assert value(y, s, false_positive_rate=(0, high)) == pytest.approx(oracle, abs=1e-13)


@given(cases)
@settings(deadline=None)
def test_the_whole_range_is_the_auroc_whichever_axis(rows):
    y, s = zip(*rows, strict=True)
    area = auroc(y, s).value
    for axis in ("false_positive_rate", "sensitivity"):
        assert value(y, s, **{axis: (0, 1)}) == pytest.approx(area, abs=1e-13)


@given(cases, st.floats(0.05, 0.95))
@settings(deadline=None)
def test_plain_areas_of_two_ranges_add_up(rows, cut: float):
    y, s = zip(*rows, strict=True)
    for axis in ("false_positive_rate", "sensitivity"):
        parts = [value(y, s, standardised=False, **{axis: r}) for r in ((0, cut), (cut, 1))]
        assert sum(parts) == pytest.approx(auroc(y, s).value, abs=1e-12)


def test_partial_areas_worked_by_hand():
    # ROC (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1)
    y, s = [1, 0, 1, 0], [4, 3, 2, 1]
    assert value(y, s, false_positive_rate=(0.25, 1), standardised=False) == 0.25 * 0.5 + 0.5
    assert value(y, s, sensitivity=(0.75, 1), standardised=False) == 0.25 * 0.5
    # chance over (.25, 1): (1 - .0625) / 2; best .75
    chance = 0.46875
    expected = (1 + (0.625 - chance) / (0.75 - chance)) / 2
    assert value(y, s, false_positive_rate=(0.25, 1)) == pytest.approx(expected)


def test_several_findings_at_once_with_missing_labels_left_out():
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand((80, 3), generator=generator) < 0.4).double()
    score = (label + torch.randn((80, 3), generator=generator)).round(decimals=1)
    label[::5, 1], score[::5, 1], label[:, 2] = torch.nan, torch.nan, 0
    table = partial_auroc_tensor(label, score, sensitivity=(0.8, 1))
    given_rows = ~label[:, 1].isnan()
    alone = value(label[given_rows, 1], score[given_rows, 1], sensitivity=(0.8, 1))
    assert float(table[1]) == pytest.approx(alone, abs=1e-14)
    assert table[2].isnan()
    assert partial_auroc_tensor([0, 1, 3], [1, 2, 3], sensitivity=(0, 1)).isnan()


def test_the_interval_is_the_patient_bootstraps():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 200)
    s = y + generator.normal(size=200)
    estimate = partial_auroc(y, s, false_positive_rate=(0, 0.2), resamples=400)
    assert estimate.value == pytest.approx(sklearn.metrics.roc_auc_score(y, s, max_fpr=0.2))
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.method, estimate.note) == (
        "patient bootstrap, 400 resamples, logit scale",
        "",
    )
    twice = partial_auroc(
        np.tile(y, 2), np.tile(s, 2), false_positive_rate=(0, 0.2), patient_ids=[*range(200)] * 2,
        resamples=400,
    )  # fmt: skip
    assert (twice.low, twice.high) == pytest.approx((estimate.low, estimate.high))
    few = partial_auroc(y[:60], s[:60], sensitivity=(0.9, 1), resamples=50)
    assert few.note.endswith("shown to cover from 50")


def test_ranges_that_are_none_and_one_class_are_refused():
    for ranges in ({}, {"sensitivity": (0, 1), "false_positive_rate": (0, 1)}):
        with pytest.raises(MetricInputError, match=r"give one range, .* not both or none"):
            partial_auroc([0, 1], [0, 1], **ranges)
    with pytest.raises(MetricInputError, match=r"the range 0.5 to 0.5; give 0 ≤ from < to ≤ 1"):
        partial_auroc([0, 1], [0, 1], sensitivity=(0.5, 0.5))
    with pytest.raises(UndefinedMetricError, match="the partial AUROC is undefined: none of the 2"):
        partial_auroc([1, 1], [0, 1], sensitivity=(0.5, 1))


def test_a_perfect_partial_area_has_a_bound_and_no_certainty():
    y, s = [0] * 20 + [1] * 5, [*range(25)]
    estimate = partial_auroc(y, s, false_positive_rate=(0, 0.1), resamples=50)
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(0.05 ** (1 / 5))
    assert estimate.method == "one-sided Clopper-Pearson bound, 5 disjoint pairs"
    plain = partial_auroc(y, s, false_positive_rate=(0, 0.1), standardised=False, resamples=50)
    assert (plain.value, plain.low) == pytest.approx((0.1, 0.1 * 0.05 ** (1 / 5)))


def test_resamples_that_all_agree_pretend_no_certainty():
    y, s = [1] * 20 + [0] * 20, [*range(40)]  # every positive below every negative
    estimate = partial_auroc(y, s, false_positive_rate=(0, 0.5), resamples=50)
    assert (estimate.value, estimate.low) == pytest.approx((1 / 3, 0))
    assert estimate.high == pytest.approx(1 / 3 + 2 / 3 * (1 - 0.05 ** (1 / 20)))


def test_an_area_without_a_logit_has_percentiles_that_hold_it():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 100)
    s = generator.normal(size=100) - 2 * y
    estimate = partial_auroc(y, s, false_positive_rate=(0.5, 1), resamples=50)
    assert estimate.low <= estimate.value <= estimate.high < 0
    assert estimate.method == "patient bootstrap, 50 resamples"
