from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.operating_point import (
    Confusion,
    Threshold,
    choose_threshold,
    confusion,
    npv,
    ppv,
    sensitivity,
    specificity,
)

cases = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-1.0, 0.0, 0.2, 0.25, 0.5, 3.0])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def test_confusion_of_asah_equals_procs(test_data: Path):
    with (test_data / "golden" / "aSAH.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    poor = [row["outcome"] == "Poor" for row in rows]
    counts = confusion(poor, [float(row["s100b"]) for row in rows], 0.205)
    assert counts == Confusion(tp=26, fp=14, tn=58, fn=15)
    assert sensitivity(counts).value == 26 / 41
    assert specificity(counts).value == 58 / 72
    assert ppv(counts).value == 26 / 40
    assert npv(counts).value == 58 / 73


def test_confusion_calls_a_score_at_the_threshold_positive():
    assert confusion([0, 1, 1, 0], [0.5, 0.5, 0.4, 0.6], 0.5) == Confusion(1, 2, 0, 1)


def test_confusion_as_json_names_its_counts():
    assert Confusion(1, 2, 3, 4).as_json() == {"tp": 1, "fp": 2, "tn": 3, "fn": 4}
    assert Threshold(0.4, "by hand", 0).as_json() == {"value": 0.4, "rule": "by hand", "n": 0}


def test_proportions_take_wilson_unless_asked_otherwise():
    counts = Confusion(tp=81, fp=0, tn=20, fn=182)
    wilson, exact = sensitivity(counts), sensitivity(counts, method="Clopper-Pearson")
    assert (round(wilson.low, 4), round(wilson.high, 4)) == (0.2553, 0.3662)
    assert (round(exact.low, 4), round(exact.high, 4)) == (0.2527, 0.3676)
    assert (wilson.method, exact.method) == ("Wilson", "Clopper-Pearson")
    assert (specificity(counts).high, ppv(counts).high) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("metric", "counts", "message"),
    [
        (sensitivity, Confusion(0, 1, 1, 0), "sensitivity is undefined .*: no positive rows"),
        (specificity, Confusion(1, 0, 0, 1), "specificity is undefined .*: no negative rows"),
        (ppv, Confusion(0, 0, 1, 1), "ppv is undefined .*: no rows called positive"),
        (npv, Confusion(1, 1, 0, 0), "npv is undefined .*: no rows called negative"),
    ],
)
def test_a_proportion_without_denominator_is_undefined(metric, counts, message):
    with pytest.raises(UndefinedMetricError, match=message):
        metric(counts)


def test_youden_threshold_lies_half_way_between_the_neighbouring_scores():
    threshold = choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9])
    assert threshold == Threshold(pytest.approx(0.4), "Youden index on validation", 4)


def test_equally_good_thresholds_resolve_to_the_most_sensitive():
    # J = ½ after .9 (1 of 2, 0 of 2) and after .5 (2 of 2, 1 of 2)
    threshold = choose_threshold([1, 0, 1, 0], [0.9, 0.7, 0.5, 0.1])
    assert threshold.value == pytest.approx(0.3)


def test_a_threshold_that_calls_everything_is_the_lowest_score():
    assert choose_threshold([1, 1, 0, 0], [0.1, 0.2, 0.6, 0.9]).value == 0.1
    assert choose_threshold([1, 0], [0.3, 0.3]).value == 0.3


def test_threshold_between_neighbouring_floats_still_separates_them():
    low = 0.3
    high = float(np.nextafter(low, 1))
    counts = confusion([0, 1], [low, high], choose_threshold([0, 1], [low, high]).value)
    assert counts == Confusion(1, 0, 1, 0)


@given(cases)
def test_no_threshold_has_a_larger_youden_index(rows):
    y, s = zip(*rows, strict=True)
    counts = confusion(y, s, choose_threshold(y, s).value)
    fpr, tpr, _ = sklearn.metrics.roc_curve(y, s)
    index = sensitivity(counts).value + specificity(counts).value - 1
    assert index == pytest.approx(max(tpr - fpr), abs=1e-12)


@given(cases, st.floats(0.01, 1))
def test_sensitivity_at_least_is_reached_by_the_highest_threshold(rows, target: float):
    y, s = zip(*rows, strict=True)
    threshold = choose_threshold(y, s, rule="sensitivity_at_least", target_sensitivity=target)
    assert sensitivity(confusion(y, s, threshold.value)).value >= target - 1e-9
    for stricter in {value for value in s if value > threshold.value}:
        laxer = min(value for value in s if value >= threshold.value)
        if stricter > laxer:
            assert sensitivity(confusion(y, s, stricter)).value < target


def test_sensitivity_at_least_does_not_run_on_into_negatives_below():
    threshold = choose_threshold(
        [1, 1, 0, 0], [0.9, 0.8, 0.4, 0.2], rule="sensitivity_at_least", target_sensitivity=0.95
    )
    assert threshold.value == pytest.approx(0.6)
    assert threshold.rule == "sensitivity of at least 0.95 on validation"


def test_sensitivity_of_19_in_20_satisfies_95_percent():
    scores = [*range(20), 0]
    threshold = choose_threshold(
        [1] * 20 + [0], scores, rule="sensitivity_at_least", target_sensitivity=0.95
    )
    assert threshold.value == 0.5


def test_threshold_of_one_class_is_undefined():
    with pytest.raises(UndefinedMetricError, match="a threshold is undefined: none of the 2 rows"):
        choose_threshold([1, 1], [0.1, 0.2])


def test_unknown_rules_and_misplaced_targets_are_refused():
    with pytest.raises(MetricInputError, match="threshold rule 'best' is unknown"):
        choose_threshold([0, 1], [0.1, 0.2], rule="best")
    with pytest.raises(MetricInputError, match="target_sensitivity belongs to"):
        choose_threshold([0, 1], [0.1, 0.2], target_sensitivity=0.9)
    for target in (None, 0.0, 1.1):
        with pytest.raises(MetricInputError, match="give a share above 0 and up to 1"):
            choose_threshold(
                [0, 1], [0.1, 0.2], rule="sensitivity_at_least", target_sensitivity=target
            )
