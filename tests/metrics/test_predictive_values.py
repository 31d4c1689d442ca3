from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError
from medres.metrics.operating_point import Confusion, ppv
from medres.metrics.predictive_values import predictive_values_at

ASAH = Confusion(tp=26, fp=14, tn=58, fn=15)
counts = st.builds(Confusion, *[st.integers(0, 30)] * 4)


@pytest.mark.parametrize(("prevalence", "expected"), [(0.05, 0.1465), (0.1, 0.2660)])
def test_ppv_at_a_prevalence_equals_the_golden_figures(prevalence: float, expected: float):
    figure = predictive_values_at(ASAH, prevalence)["ppv"]
    assert round(figure.value, 4) == expected
    assert figure.low < figure.value < figure.high
    assert figure.method == "logit"


@given(counts.filter(lambda c: min(c.tp, c.fp, c.tn, c.fn) > 0))
def test_predictive_values_at_the_rows_own_prevalence_are_theirs(c: Confusion):
    share = (c.tp + c.fn) / (c.tp + c.fp + c.tn + c.fn)
    values = predictive_values_at(c, share)
    assert values["ppv"].value == pytest.approx(ppv(c).value)
    assert values["npv"].value == pytest.approx(c.tn / (c.tn + c.fn))


def test_predictive_value_interval_is_mercaldos():
    # logit PPV ± z sqrt((1 − se) / (se m) + sp / ((1 − sp) n))
    se, sp, m, n = 26 / 41, 58 / 72, 41, 72
    value = math.log(0.1 * se / (0.9 * (1 - sp)))
    half = 1.959963984540054 * math.sqrt((1 - se) / (se * m) + sp / ((1 - sp) * n))
    figure = predictive_values_at(ASAH, 0.1)["ppv"]
    assert figure.high == pytest.approx(1 / (1 + math.exp(-value - half)))
    value = math.log(0.9 * sp / (0.1 * (1 - se)))
    half = 1.959963984540054 * math.sqrt(se / ((1 - se) * m) + (1 - sp) / (sp * n))
    figure = predictive_values_at(ASAH, 0.1)["npv"]
    assert figure.low == pytest.approx(1 / (1 + math.exp(-value + half)))


def test_predictive_values_without_false_calls_have_one_sided_bounds():
    values = predictive_values_at(Confusion(20, 0, 30, 0), 0.1)
    assert (values["ppv"].value, values["ppv"].high) == (1.0, 1.0)
    assert (values["npv"].value, values["npv"].high) == (1.0, 1.0)
    assert 0.2 < values["ppv"].low < 1
    assert values["ppv"].method == "logit, ½ added to each cell (a cell is 0)"
    none = predictive_values_at(Confusion(0, 0, 5, 5), 0.1, units="patients")
    assert none["ppv"].reason == "patients of one class only, or none called positive"


def test_impossible_prevalences_are_refused():
    for prevalence in (0, 1, -0.1):
        with pytest.raises(MetricInputError, match="strictly between 0 and 1"):
            predictive_values_at(ASAH, prevalence)
