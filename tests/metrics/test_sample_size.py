from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.calibration_line import calibration_line
from medres.metrics.intervals import wilson
from medres.metrics.sample_size import (
    auroc_precision,
    n_for_auroc,
    n_for_calibration_slope,
    n_for_proportion,
    n_for_sensitivity,
    n_for_specificity,
    proportion_precision,
)


def test_precision_of_a_proportion_is_wilsons_interval():
    figure = proportion_precision(81 / 263, 263)
    assert (round(figure.low, 4), round(figure.high, 4)) == (0.2553, 0.3662)
    assert figure.low == pytest.approx(wilson(81, 263).low)
    assert figure.method == "Wilson, 263 cases"


@given(st.floats(0, 1), st.floats(0.02, 0.9))
def test_n_is_the_fewest_with_that_width(expected: float, width: float):
    n = n_for_proportion(expected, width)
    at, fewer = proportion_precision(expected, n), proportion_precision(expected, max(n - 1, 1))
    assert at.high - at.low <= width
    assert n == 1 or fewer.high - fewer.low > width


def test_buderers_cases_follow_from_prevalence():
    positives = n_for_proportion(0.9, 0.1)
    assert n_for_sensitivity(0.9, 0.1, 0.2) == 5 * positives
    assert n_for_specificity(0.9, 0.1, 0.8) == 5 * positives
    # Buderer 1996: sensitivity .90 ± .10 takes 35 positives by Wald's interval
    assert 35 <= n_for_proportion(0.9, 0.2) <= 38


@given(st.floats(0.51, 0.99), st.integers(5, 500), st.integers(5, 500))
def test_newcombes_limits_solve_his_equation(expected: float, m: int, n: int):
    figure = auroc_precision(expected, m, n)
    assert 0 < figure.low < expected < figure.high < 1
    for theta in (figure.low, figure.high):
        mean = (m + n) / 2 - 1
        variance = theta * (1 - theta) / (m * n)
        variance *= 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        assert (expected - theta) ** 2 == pytest.approx(3.841458820694124 * variance, rel=1e-6)


def test_auroc_n_is_the_fewest_with_that_width():
    n = n_for_auroc(0.85, 0.1, 0.2)
    figure = auroc_precision(0.85, round(n * 0.2), n - round(n * 0.2))
    assert figure.high - figure.low <= 0.1
    assert 200 < n < 600
    assert n_for_auroc(0.85, 0.05, 0.2) > 3.5 * n


def test_calibration_slope_gets_the_width_that_was_planned():
    generator = torch.Generator().manual_seed(0)
    pilot = 1.3 * torch.randn(4000, generator=generator, dtype=torch.float64) - 1
    n = n_for_calibration_slope(pilot, 0.4)
    widths = []
    for _ in range(40):
        z = 1.3 * torch.randn(n, generator=generator, dtype=torch.float64) - 1
        y = (torch.rand(n, generator=generator, dtype=torch.float64) < torch.sigmoid(z)).double()
        slope = calibration_line(y, torch.sigmoid(z)).slope
        widths.append(slope.high - slope.low)
    assert sum(widths) / 40 == pytest.approx(0.4, rel=0.05)


def test_impossible_plans_are_refused():
    with pytest.raises(MetricInputError, match=r"expected 1\.2; give a share from 0 to 1"):
        n_for_proportion(1.2, 0.1)
    with pytest.raises(MetricInputError, match="width 0; give a share strictly between 0 and 1"):
        n_for_proportion(0.5, 0)
    with pytest.raises(MetricInputError, match="prevalence 1; give a share"):
        n_for_sensitivity(0.5, 0.1, 1)
    with pytest.raises(MetricInputError, match="n_positive 0; give at least 1"):
        auroc_precision(0.9, 0, 5)
    with pytest.raises(UndefinedMetricError, match="more than 10,000,000 cases would be needed"):
        n_for_proportion(0.5, 1e-4)
    with pytest.raises(MetricInputError, match=r"width 0; give a number above 0, such as 0\.4"):
        n_for_calibration_slope([0.0, 1.0], 0)
    with pytest.raises(MetricInputError, match="logits are NaN or infinite"):
        n_for_calibration_slope([0.0, float("inf")], 0.4)
    with pytest.raises(UndefinedMetricError, match="all logits are equal"):
        n_for_calibration_slope([1.0, 1.0], 0.4)
