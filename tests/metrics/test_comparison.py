from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.comparison import (
    bootstrap_difference,
    compare_aurocs,
    compare_aurocs_unpaired,
    holm,
    non_inferiority,
)
from medres.metrics.paired_decisions import compare_decisions
from medres.metrics.ranking import auroc, average_precision
from medres.metrics.weighted import at_threshold, weighted_brier_score

from . import slow_twins


@pytest.fixture(scope="module")
def asah(test_data: Path) -> dict[str, list[float]]:
    with (test_data / "golden" / "aSAH.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = {name: [float(row[name]) for row in rows] for name in ("wfns", "s100b", "ndka")}
    return table | {"poor": [float(row["outcome"] == "Poor") for row in rows]}


def two_models(n: int = 150, seed: int = 0):
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < 0.4).astype(float)
    shared = generator.normal(size=n)
    first = np.round(1.5 * y + shared + 0.5 * generator.normal(size=n), 1)
    second = np.round(y + shared + 0.5 * generator.normal(size=n), 1)
    return y, first, second


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        ("wfns", "s100b", 0.0271757822291882),
        ("wfns", "ndka", 0.00514557970690998),
        ("ndka", "s100b", 0.164295175223054),
    ],
)
def test_paired_delong_equals_procs(asah, first: str, second: str, p_value: float):
    found = compare_aurocs(asah["poor"], asah[first], asah[second])
    assert found.p_value == pytest.approx(p_value, rel=1e-12)
    assert found.test == "DeLong, paired"
    if (first, second) == ("wfns", "s100b"):
        assert found.statistic == pytest.approx(2.20898359144091, rel=1e-13)


def test_paired_delong_equals_the_slow_twin_and_turns_with_the_models():
    y, first, second = two_models()
    found, turned = compare_aurocs(y, first, second), compare_aurocs(y, second, first)
    variance = slow_twins.delong_difference_variance(y, first, second)
    assert found.standard_error == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert (found.first, found.second) == (auroc(y, first).value, auroc(y, second).value)
    assert found.difference.value == -turned.difference.value
    assert found.difference.low == pytest.approx(-turned.difference.high, abs=1e-14)
    assert found.p_value == pytest.approx(turned.p_value)
    assert found.as_json()["p_value"] == found.p_value


def test_rows_repeated_within_patients_add_nothing():
    y, first, second = two_models()
    once = compare_aurocs(y, first, second)
    ids = np.tile(np.arange(150), 3)
    thrice = compare_aurocs(*(np.tile(a, 3) for a in (y, first, second)), patient_ids=ids)
    assert thrice.test == "DeLong, paired, clustered (Obuchowski)"
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=0.02)
    naive = compare_aurocs(*(np.tile(a, 3) for a in (y, first, second)))
    assert naive.standard_error < 0.6 * once.standard_error


def test_the_same_ranking_differs_by_nothing():
    y, first, _ = two_models()
    found = compare_aurocs(y, first, np.exp(first))
    assert (found.difference.value, found.p_value, found.standard_error) == (0, 1, 0)
    margin = non_inferiority(found, 0.05)
    assert (margin.p_value, margin.holds) == (0, True)


def test_two_perfect_models_cannot_be_compared_by_delong():
    with pytest.raises(UndefinedMetricError, match="DeLong's test is undefined: the AUROCs have"):
        compare_aurocs([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 5, 9])
    with pytest.raises(UndefinedMetricError, match="fewer than two patients of a class"):
        compare_aurocs([0, 0, 0, 1], [1, 2, 3, 2], [1, 2, 5, 9])
    with pytest.raises(UndefinedMetricError, match="comparison of AUROCs is undefined: none"):
        compare_aurocs([1, 1], [1, 2], [1, 2])


def test_unpaired_delong_is_welchs_t_of_the_two_variances():
    y, first, _ = two_models()
    z, third, _ = two_models(90, seed=1)
    found = compare_aurocs_unpaired(y, first, z, third)
    v = [slow_twins.delong_variance(y, first), slow_twins.delong_variance(z, third)]
    assert found.standard_error == pytest.approx(math.sqrt(sum(v)), rel=1e-12)
    difference = auroc(y, first).value - auroc(z, third).value
    assert found.statistic == pytest.approx(difference / math.sqrt(sum(v)), rel=1e-12)
    normal = 2 * (1 - 0.5 * (1 + math.erf(abs(found.statistic) / math.sqrt(2))))
    assert normal < found.p_value == pytest.approx(normal, rel=0.1)
    assert found.difference.low < difference < found.difference.high


def test_unpaired_delong_without_a_variance_is_undefined():
    perfect = [0, 0, 1, 1], [1, 2, 3, 4]
    with pytest.raises(UndefinedMetricError, match="neither AUROC has a variance"):
        compare_aurocs_unpaired(*perfect, *perfect)
    with pytest.raises(UndefinedMetricError, match="for 1 positive and 2 negative rows; it needs"):
        compare_aurocs_unpaired([0, 0, 1], [1, 2, 3], *perfect)


def test_bootstrap_of_the_auroc_agrees_with_delong():
    y, first, second = two_models(400)
    drawn = bootstrap_difference(y, first, second)
    closed = compare_aurocs(y, first, second)
    assert drawn.difference.value == pytest.approx(closed.difference.value)
    assert drawn.standard_error == pytest.approx(closed.standard_error, rel=0.1)
    assert drawn.difference.low == pytest.approx(closed.difference.low, abs=0.01)
    assert drawn.samples.shape == (2000,)
    assert drawn.test == "patient bootstrap, 2000 resamples"


def test_bootstrap_takes_any_metric_and_is_paired_by_patient():
    y, first, second = two_models()
    p, q = (1 / (1 + np.exp(-s)) for s in (first, second))
    found = bootstrap_difference(y, p, q, "average_precision", resamples=200)
    assert found.first == pytest.approx(average_precision(y, p, resamples=5).value)
    same = bootstrap_difference(y, p, p, weighted_brier_score, resamples=50)
    assert (same.difference.low, same.difference.high, same.p_value) == (0, 0, 1)
    by_name = bootstrap_difference(y, p, q, "brier_score", resamples=50)
    assert by_name.first == pytest.approx(np.mean((p - y) ** 2))
    ids = np.arange(150) // 2
    decided = bootstrap_difference(
        y,
        p,
        q,
        at_threshold("sensitivity", 0.5),
        second_metric=at_threshold("sensitivity", 0.6),
        patient_ids=ids,
        resamples=300,
    )
    assert decided.first == pytest.approx(np.mean(p[y == 1] >= 0.5))
    assert decided.second == pytest.approx(np.mean(q[y == 1] >= 0.6))


@pytest.mark.parametrize("measure", ["sensitivity", "specificity", "ppv", "npv", "accuracy"])
def test_measures_at_a_threshold_of_repeated_rows_equal_counting(measure: str):
    y, first, _ = two_models(40)
    weights = np.random.default_rng(0).integers(0, 4, (6, 40))
    statistic = at_threshold(measure, 0.5)(torch.from_numpy(y), torch.from_numpy(first))
    for share, row in zip(statistic(torch.from_numpy(weights)).tolist(), weights, strict=True):
        yy, called = np.repeat(y, row) == 1, np.repeat(first, row) >= 0.5
        counted = {
            "sensitivity": yy, "specificity": ~yy, "ppv": called, "npv": ~called,
            "accuracy": np.ones_like(yy),
        }[measure]  # fmt: skip
        assert share == pytest.approx(np.mean((yy == called)[counted]), abs=1e-7)


def test_unknown_metrics_measures_and_undefined_metrics_are_refused():
    y, first, second = two_models()
    with pytest.raises(MetricInputError, match="metric 'f1' is unknown; choose one of auroc, aver"):
        bootstrap_difference(y, first, second, "f1")
    with pytest.raises(MetricInputError, match="measure 'youden' is unknown; choose sensitivity"):
        at_threshold("youden", 0.5)
    with pytest.raises(UndefinedMetricError, match="the metric is undefined on these rows"):
        bootstrap_difference(np.ones(9), np.arange(9), np.arange(9))


def test_non_inferiority_asks_whether_the_interval_lies_above_minus_the_margin():
    y, first, second = two_models(400)
    worse = compare_aurocs(y, second, first)
    for margin, holds in (
        (-worse.difference.low + 0.001, True),
        (-worse.difference.low - 0.001, False),
    ):
        found = non_inferiority(worse, margin)
        assert (found.holds, found.p_value < 0.025) == (holds, holds)
        assert found.bound == pytest.approx(worse.difference.low)
    drawn = non_inferiority(bootstrap_difference(y, second, first), 0.5)
    assert drawn.bound == pytest.approx(worse.difference.low, abs=0.01)
    assert (drawn.holds, drawn.p_value) == (True, 1 / 2001)


def test_a_margin_must_be_positive_and_a_standard_error_known():
    y, first, second = two_models()
    with pytest.raises(MetricInputError, match=r"margin 0 and alpha 0.025; the margin is positive"):
        non_inferiority(compare_aurocs(y, first, second), 0)
    decided = compare_decisions(y, first, second, 0.5, 0.5)
    with pytest.raises(MetricInputError, match="'McNemar, exact' gives no standard error"):
        non_inferiority(decided, 0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
@settings(deadline=None, max_examples=30)
def test_holm_equals_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_worked_by_hand_and_refuses_what_is_no_p_value():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx((0.06, 0.03, 0.06))
    assert holm([]) == ()
    with pytest.raises(MetricInputError, match=r"p-values \[1.5\]; each lies in \[0, 1\]"):
        holm([0.1, 1.5])
