from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.calibration import (
    brier_score,
    calibration_error_estimate,
    expected_calibration_error,
    reliability_curve,
)
from medres.metrics.intervals import (
    BootstrapInterval,
    patient_bootstrap,
    patient_groups,
    wilson,
)

from . import slow_twins

Y = [0, 0, 1, 1, 1]
P = [0.25, 0.25, 0.55, 0.75, 0.75]

probabilities = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40
).map(lambda rows: tuple(zip(*rows, strict=True)))


@pytest.mark.parametrize(("norm", "error"), [("l1", 0.29), ("l2", 0.2918), ("max", 0.3167)])
def test_calibration_error_equals_the_golden_table(norm: str, error: float):
    estimate = expected_calibration_error(Y, P, bins=2, norm=norm, resamples=20)
    assert round(estimate.value, 4) == error


@given(probabilities, st.sampled_from([1, 2, 8, 16]))
def test_calibration_error_equals_the_slow_twin(rows, bins: int):
    y, p = rows
    estimate = expected_calibration_error(y, p, bins=bins, resamples=2)
    assert estimate.value == pytest.approx(slow_twins.calibration_error(y, p, bins), abs=1e-12)


@given(probabilities)
def test_brier_score_equals_scikit_learn_and_is_the_same_for_the_complement(rows):
    y, p = (np.array(column) for column in rows)
    estimate = brier_score(y, p, resamples=2)
    slow = sklearn.metrics.brier_score_loss(y, p, pos_label=1)
    assert estimate.value == pytest.approx(slow, abs=1e-12)
    complement = brier_score(1 - y, 1 - p, resamples=2)
    assert complement.value == pytest.approx(estimate.value, abs=1e-12)


def test_brier_interval_equals_scikit_learn_in_a_loop():
    generator = np.random.default_rng(2)
    p = generator.random(60)
    y = (generator.random(60) < p).astype(int)
    weights = patient_bootstrap(
        lambda w: w, patient_groups(None, 60, torch.device("cpu")), resamples=200
    ).numpy()
    slow = slow_twins.resampled(sklearn.metrics.brier_score_loss, y, p, weights)
    estimate = brier_score(y, p, resamples=200)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]))
    assert estimate.method == "patient bootstrap, 200 resamples"


def test_brier_interval_of_repeated_rows_does_not_shrink():
    generator = np.random.default_rng(3)
    p, y = generator.random(80), generator.integers(0, 2, 80)
    once = brier_score(y, p)
    again = brier_score(np.tile(y, 4), np.tile(p, 4), patient_ids=np.tile(np.arange(80), 4))
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_calibration_error_interval_contains_its_value_and_reaches_0_where_it_must():
    drawn = BootstrapInterval(0.06, 0.11, 2000, 0)
    estimate = calibration_error_estimate(0.05, drawn)
    assert (estimate.low, estimate.value, estimate.high) == (0.0, 0.05, 0.11)
    assert estimate.method == "patient bootstrap, 2000 resamples, lower limit reflected"
    assert calibration_error_estimate(0.3, BootstrapInterval(0.25, 0.35, 9, 0)).low == 0.25
    nothing = calibration_error_estimate(0.3, BootstrapInterval(None, None, 9, 9))
    assert nothing.method.startswith("no interval")


def test_calibration_error_interval_covers_the_truth_of_a_miscalibrated_model():
    # P(y = 1 | p) = p^2.5 with p uniform: the error in 10 bins is .2143
    covered = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        p = torch.rand(200, generator=generator).double()
        y = (torch.rand(200, generator=generator) < p**2.5).double()
        estimate = expected_calibration_error(y, p, resamples=300, seed=seed)
        covered += estimate.low <= 0.2143 <= estimate.high
    assert covered >= 52


def test_reliability_curve_holds_filled_bins_with_wilsons_limits():
    curve = reliability_curve(Y, P, bins=2)
    assert curve.mean_score == pytest.approx((0.25, 2.05 / 3))
    assert (curve.observed, curve.n) == ((0.0, 1.0), (2, 3))
    assert curve.low == pytest.approx((0.0, wilson(3, 3).low))
    assert curve.high == pytest.approx((wilson(0, 2).high, 1.0))
    assert len(reliability_curve(Y, P, bins=10).n) == 3
    assert reliability_curve(Y, P, bins=2).as_json()["n"] == [2, 3]


def test_scores_on_bin_edges_belong_to_the_bin_above_and_1_to_the_last():
    scores = [k / 10 for k in range(11)]
    assert reliability_curve([0] * 11, scores).n == (1,) * 9 + (2,)


def test_scores_outside_0_to_1_are_no_probabilities():
    for metric in (brier_score, expected_calibration_error, reliability_curve):
        with pytest.raises(UndefinedMetricError, match=r"1 scores outside \[0, 1\] are no prob"):
            metric([0, 1], [0.5, 1.5])


def test_impossible_bins_and_norms_are_refused():
    with pytest.raises(MetricInputError, match="0 bins; give at least 1, usually 10"):
        expected_calibration_error(Y, P, bins=0)
    with pytest.raises(MetricInputError, match="norm 'l3' is unknown; choose 'l1', 'l2' or 'max'"):
        expected_calibration_error(Y, P, norm="l3")
