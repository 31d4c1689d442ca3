from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.calibration import (
    bin_columns,
    calibration_error,
    calibration_error_estimate,
    chance_error,
    expected_calibration_error,
    reliability_curve,
)
from medres.metrics.intervals import (
    BootstrapInterval,
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


@given(probabilities, st.sampled_from([1, 2, 5]))
def test_bins_of_equal_mass_are_as_full_as_ties_allow(rows, bins: int):
    y, p = (np.array(column) for column in rows)
    curve = reliability_curve(y, p, bins=bins, binning="mass")
    assert sum(curve.n) == len(y)
    largest_tie = max(np.unique(p, return_counts=True)[1])
    assert max(curve.n) <= len(y) / bins + 1 + largest_tie
    order = np.random.default_rng(0).permutation(len(y))
    again = reliability_curve(y[order], p[order], bins=bins, binning="mass")
    assert (again.n, again.observed) == (curve.n, pytest.approx(curve.observed))


def test_equal_mass_of_distinct_scores_is_even():
    p = np.linspace(0.01, 0.2, 100) ** 2
    curve = reliability_curve([0, 1] * 50, p, binning="mass")
    assert curve.n == (10,) * 10
    assert len(reliability_curve([0, 1] * 50, p).n) == 1


def test_calibration_error_interval_contains_its_value_and_reaches_0_where_it_must():
    drawn = BootstrapInterval(0.06, 0.11, 2000, 0)
    estimate = calibration_error_estimate(0.05, drawn, 0.04)
    assert (estimate.low, estimate.value, estimate.high) == (0.0, 0.05, 0.11)
    assert estimate.method.startswith("patient bootstrap, 2000 resamples, lower limit reflected")
    clear = BootstrapInterval(0.25, 0.35, 9, 0)
    assert calibration_error_estimate(0.3, clear, 0.29).low == pytest.approx(0.25)
    assert calibration_error_estimate(0.3, clear, 0.30).low == 0.0
    nothing = calibration_error_estimate(0.3, BootstrapInterval(None, None, 9, 9), 0.1)
    assert nothing.method.startswith("no interval")


def test_chance_error_is_the_quantile_of_drawn_labels():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(300, generator=generator, dtype=torch.float64)
    columns = bin_columns(p, p)
    drawn = []
    for _ in range(2000):
        y = (torch.rand(300, generator=generator) < p).double()
        drawn.append(float(calibration_error(bin_columns(y, p).sum(0))))
    patients = patient_groups(None, 300, p.device)
    fast = float(chance_error(torch.zeros_like(p), p, columns, patients))
    assert fast == pytest.approx(np.quantile(drawn, 0.975), rel=0.05)


@pytest.mark.parametrize(
    ("truth", "repeats", "least"),
    [("calibrated", 1, 0.93), ("calibrated", 4, 0.9), ("off", 1, 0.87)],
)
def test_calibration_error_interval_covers_the_truth(truth: str, repeats: int, least: float):
    # calibrated: error 0. Off: P(y = 1 | p) = p^2.5 with p uniform: the error in 10 bins is .2143
    power, error = (1.0, 0.0) if truth == "calibrated" else (2.5, 0.2143)
    covered = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        p = torch.rand(200, generator=generator).double()
        y = (torch.rand(200, generator=generator) < p**power).double()
        estimate = expected_calibration_error(
            y.repeat(repeats),
            p.repeat(repeats),
            patient_ids=np.tile(np.arange(200), repeats),
            resamples=300,
            seed=seed,
        )
        covered += estimate.low <= error <= estimate.high
    assert covered / 60 >= least


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
    for metric in (expected_calibration_error, reliability_curve):
        with pytest.raises(UndefinedMetricError, match=r"1 scores outside \[0, 1\] are no prob"):
            metric([0, 1], [0.5, 1.5])


def test_impossible_bins_and_norms_are_refused():
    with pytest.raises(MetricInputError, match="0 bins; give at least 1, usually 10"):
        expected_calibration_error(Y, P, bins=0)
    with pytest.raises(MetricInputError, match="norm 'l3' is unknown; choose 'l1', 'l2' or 'max'"):
        expected_calibration_error(Y, P, norm="l3")
    with pytest.raises(MetricInputError, match="binning 'area' is unknown; choose 'width' or 'mas"):
        reliability_curve(Y, P, binning="area")


@pytest.mark.parametrize("score", [float("inf"), float("nan")])
def test_a_score_that_is_not_finite_is_refused_before_the_chance_error(score: float):
    with pytest.raises(MetricInputError, match="1 of 4 scores in y_score are NaN or infinite"):
        expected_calibration_error([0, 1, 0, 1], [score, 0.1, 0.2, 0.3], patient_ids=[1, 1, 2, 2])
