"""Differences of figures from different patients."""

import math

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from medres.metrics.estimate import Estimate, UndefinedEstimate
from medres.metrics.independent_difference import independent_difference
from medres.metrics.intervals import wilson


@pytest.mark.parametrize(
    ("a", "b"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20))]
)
def test_difference_of_proportions_equals_newcombes(a, b):
    found = independent_difference(wilson(*a), wilson(*b), second_name="b")
    low, high = confint_proportions_2indep(*a, *b, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.value == a[0] / a[1] - b[0] / b[1]


def test_difference_without_bounds_may_leave_the_unit_range():
    first, second = Estimate(3.0, 2.0, 4.0), Estimate(0.5, 0.4, 0.6)
    found = independent_difference(first, second, second_name="b", limits=(-math.inf, math.inf))
    assert found.value == 2.5
    assert found.high == pytest.approx(2.5 + math.hypot(1, 0.1))
    assert independent_difference(first, second, second_name="b").high == 1.0


def test_difference_with_an_undefined_figure_says_whose():
    nothing, some = UndefinedEstimate("no positive patients"), Estimate(0.5, 0.4, 0.6)
    assert independent_difference(nothing, some, second_name="b").reason == "no positive patients"
    found = independent_difference(some, nothing, second_name="other groups")
    assert found.reason == "other groups: no positive patients"
