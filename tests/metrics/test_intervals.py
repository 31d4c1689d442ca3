from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.intervals import (
    BootstrapInterval,
    bootstrap_estimate,
    clopper_pearson,
    normal_quantile,
    patient_bootstrap,
    patient_groups,
    percentile_intervals,
    wilson,
    wilson_bounds,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_newcombes_published_limits(k: int, n: int, low: float, high: float):
    estimate = wilson(k, n)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)
    assert estimate.value == k / n
    assert estimate.method == "Wilson"


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(81, 263, 0.2527, 0.3676), (0, 20, 0.0, 0.1684)]
)
def test_clopper_pearson_equals_published_limits(k: int, n: int, low: float, high: float):
    estimate = clopper_pearson(k, n)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)
    assert estimate.method == "Clopper-Pearson"


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_proportion_intervals_end_exactly_at_0_and_1(interval):
    for n in (1, 7, 263, 10**6):
        assert interval(0, n).low == 0.0
        assert interval(n, n).high == 1.0


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_proportion_intervals_contain_the_value_and_mirror_their_complement(case):
    k, n = case
    for interval in (wilson, clopper_pearson):
        one, other = interval(k, n), interval(n - k, n)
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert one.low == pytest.approx(1 - other.high, abs=1e-12)


def test_clopper_pearson_covers_at_least_its_level_at_a_small_proportion():
    n, p = 50, 0.02
    covered = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k)
        for k in range(n + 1)
        if clopper_pearson(k, n).low <= p <= clopper_pearson(k, n).high
    )
    assert round(covered, 3) == 0.982


def test_wilson_bounds_of_no_rows_are_nan_beside_defined_ones():
    low, high = wilson_bounds(torch.tensor([0, 0, 2]), torch.tensor([0, 3, 2]))
    assert low.isnan().tolist() == high.isnan().tolist() == [True, False, False]
    assert high[2] == 1


def test_proportion_of_no_rows_is_undefined():
    with pytest.raises(UndefinedMetricError, match="a proportion of 0 rows is undefined"):
        wilson(0, 0)


def test_impossible_proportion_is_refused():
    with pytest.raises(MetricInputError, match="5 successes of 4; give 0 ≤ successes ≤ total"):
        clopper_pearson(5, 4)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_impossible_level_is_refused(level: float):
    with pytest.raises(MetricInputError, match=r"lies strictly between 0 and 1, such as 0\.95"):
        wilson(1, 2, level)


def test_normal_quantile_is_the_textbooks():
    assert normal_quantile(0.95) == pytest.approx(1.959963984540054, abs=1e-15)


def test_patient_groups_number_patients_whatever_their_ids_are():
    for ids in (["b", "a", "b"], np.array([7, 3, 7]), torch.tensor([7, 3, 7])):
        groups = patient_groups(ids, 3, CPU)
        assert groups.index.tolist() == [1, 0, 1]
        assert (groups.n, groups.repeated) == (2, True)


def test_patient_groups_without_ids_take_each_row_as_a_patient():
    groups = patient_groups(None, 3, CPU)
    assert groups.index.tolist() == [0, 1, 2]
    assert not groups.repeated


def test_another_number_of_patient_ids_than_rows_is_refused():
    with pytest.raises(MetricInputError, match=r"patient_ids has shape \(2,\).* each of 3 rows"):
        patient_groups(["a", "b"], 3, CPU)


def test_empty_patient_ids_do_not_become_one_patient():
    with pytest.raises(MetricInputError, match="2 of 3 patient_ids are empty"):
        patient_groups(["", "a", ""], 3, CPU)


def test_bootstrap_draws_as_many_patients_as_there_are_each_time():
    groups = patient_groups(["a", "a", "b", "c"], 4, CPU)
    drawn = patient_bootstrap(lambda w: w, groups, resamples=500)
    assert drawn.shape == (500, 3)
    assert (drawn.sum(1) == 3).all()
    assert drawn.mean(0).tolist() == pytest.approx([1, 1, 1], abs=0.12)


def test_bootstrap_is_the_same_for_a_seed_and_another_for_another():
    groups = patient_groups(None, 20, CPU)
    draws = [patient_bootstrap(lambda w: w, groups, resamples=9, seed=s) for s in (1, 1, 2)]
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])


def test_bootstrap_of_a_mean_has_the_standard_error_of_the_mean():
    values = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    groups = patient_groups(None, 400, CPU)
    means = patient_bootstrap(
        lambda w: (w.double() @ values)[:, None] / 400, groups, resamples=4000
    )
    assert float(means.std()) == pytest.approx(float(values.std()) / 20, rel=0.04)


def test_no_resamples_are_refused():
    with pytest.raises(MetricInputError, match="resamples is 0; give at least 1, usually 2000"):
        patient_bootstrap(lambda w: w, patient_groups(None, 2, CPU), resamples=0)


def test_percentile_intervals_equal_numpys_and_count_what_they_leave_out():
    samples = torch.randn((300, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    samples[:4, 1] = math.nan
    first, second = percentile_intervals(samples, 0.9)
    assert [first.low, first.high] == pytest.approx(np.quantile(samples[:, 0], [0.05, 0.95]))
    assert [second.low, second.high] == pytest.approx(np.quantile(samples[4:, 1], [0.05, 0.95]))
    assert first.method == "patient bootstrap, 300 resamples"
    assert second.method == "patient bootstrap, 300 resamples (4 left out: undefined)"


def test_a_statistic_that_no_resample_defines_gets_no_interval_and_says_so():
    (interval,) = percentile_intervals(torch.full((5, 1), math.nan, dtype=torch.float64))
    assert interval == BootstrapInterval(None, None, 5, 5)
    estimate = bootstrap_estimate(0.5, interval)
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert estimate.method == (
        "no interval: patient bootstrap, 5 resamples (5 left out: undefined)"
    )
