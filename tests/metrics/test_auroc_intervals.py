from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.errors import MetricInputError
from medres.metrics.auroc_intervals import (
    auroc_estimate,
    clustered_auroc_estimate,
    hanley_mcneil_variance,
    logit_delong_bounds,
    newcombe_bounds,
    student_quantile,
)

counts = st.integers(1, 3000)


def tensors(*figures: float):
    return [torch.tensor(float(x), dtype=torch.float64) for x in figures]


@given(st.floats(0.001, 0.999), counts, counts)
@settings(deadline=None)
def test_newcombes_limits_solve_his_equation(area: float, m: int, n: int):
    area, m, n = tensors(area, m, n)
    z = 1.959963984540054
    for limit in newcombe_bounds(area, m, n):
        half = (m + n) / 2 - 1
        spread = (1 - limit) / (2 - limit) + limit / (1 + limit)
        variance = limit * (1 - limit) * (1 + half * spread) / (m * n)
        assert float((area - limit).abs()) == pytest.approx(float(z * variance.sqrt()), abs=1e-9)
    low, high = newcombe_bounds(area, m, n)
    assert 0 < low < area < high < 1


def test_newcombes_interval_mirrors_and_narrows_with_more_rows():
    one, other = (newcombe_bounds(*tensors(a, 30, 70)) for a in (0.8, 0.2))
    assert float(one[0]) == pytest.approx(1 - float(other[1]), abs=1e-12)
    wide = newcombe_bounds(*tensors(0.8, 10, 20))
    assert wide[0] < one[0] < one[1] < wide[1]


def test_hanley_and_mcneils_variance_worked_by_hand():
    # area .8, m 10, n 20: half 14; .2/1.2 + .8/1.8 = .6111; .16 (1 + 14 × .6111) / 200
    assert float(hanley_mcneil_variance(*tensors(0.8, 10, 20))) == pytest.approx(
        0.00764444, abs=1e-8
    )


def test_logit_delong_never_leaves_0_to_1_and_is_delongs_in_the_middle():
    low, high = logit_delong_bounds(*tensors(0.97, 0.002))
    assert 0.5 < low < 0.97 < high < 1
    error = 1.959963984540054 * math.sqrt(0.002) / (0.97 * 0.03)
    assert float(torch.logit(high) - torch.logit(low)) == pytest.approx(2 * error)


def test_estimates_from_few_rows_say_so():
    assert auroc_estimate(0.8, 0.01, 9, 40).note == (
        "too few positives for this interval: 9, shown to cover from 10"
    )
    assert auroc_estimate(0.8, 0.01, 40, 9).note.startswith(
        "too few negatives for this interval: 9"
    )
    assert auroc_estimate(0.8, 0.01, 10, 10).note == ""
    assert "note" not in auroc_estimate(0.8, 0.01, 10, 10).as_json()
    assert "too few" in auroc_estimate(0.8, 0.01, 9, 10).as_json()["note"]


def test_the_bootstraps_interval_is_its_standard_error_on_the_logit_scale():
    samples = torch.tensor([0.8, 0.9, 0.85, math.nan, 0.83], dtype=torch.float64)
    found = clustered_auroc_estimate(0.86, samples, 60, 80)
    error = float(samples[~samples.isnan()].std()) / (0.86 * 0.14)
    half = math.log(found.high / (1 - found.high)) - math.log(0.86 / 0.14)
    assert half == pytest.approx(scipy.stats.t.ppf(0.975, 59) * error, rel=1e-4)
    assert found.method == "patient bootstrap, 5 resamples (1 left out: undefined), logit scale"
    assert found.note == ""
    assert clustered_auroc_estimate(0.86, samples, 49, 80).note.startswith("too few positives")


def test_a_bootstrap_that_says_nothing_does_not_pretend_certainty():
    nothing = clustered_auroc_estimate(0.8, torch.full((4,), math.nan).double(), 2, 2)
    assert (nothing.low, nothing.high) == (0, 1)
    assert nothing.method == "no interval: patient bootstrap, 4 resamples (4 left out: undefined)"
    tied = clustered_auroc_estimate(0.5, torch.full((4,), 0.5).double(), 10, 10)
    assert tied.method == "bound from all-tied scores, 10 disjoint pairs"
    assert clustered_auroc_estimate(1.0, torch.ones(4).double(), 10, 10).high == 1


@pytest.mark.parametrize("freedom", [9, 49, 1000])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_students_quantile_is_scipys_to_one_percent(level: float, freedom: int):
    exact = scipy.stats.t.ppf((1 + level) / 2, freedom)
    assert student_quantile(level, freedom) == pytest.approx(exact, rel=0.01)


def test_a_level_outside_0_to_1_is_refused():
    with pytest.raises(MetricInputError, match="confidence level 1; it lies strictly between"):
        auroc_estimate(0.8, 0.01, 20, 20, level=1)
