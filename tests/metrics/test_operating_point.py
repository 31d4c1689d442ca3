from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.intervals import clopper_pearson
from medres.metrics.operating_point import (
    Confusion,
    Threshold,
    choose_threshold,
    confusion,
    decision_counts,
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


def test_counts_of_several_findings_leave_out_missing_labels():
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(80, 3, generator=generator) < 0.5).double()
    y[torch.rand(80, 3, generator=generator) < 0.2] = torch.nan
    s = torch.rand(80, 3, generator=generator, dtype=torch.float64)
    cuts = torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64)
    counts = decision_counts(y, s, cuts)
    for f in range(3):
        given = ~y[:, f].isnan()
        single = confusion(y[given, f], s[given, f], float(cuts[f]))
        assert Confusion(*(int(c) for c in counts[:, f])) == single
        assert decision_counts(y[:, f], s[:, f], cuts[f]).tolist() == counts[:, f].tolist()


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
    threshold = choose_threshold(
        y, s, rule="sensitivity_at_least", target=target, target_by="observed"
    )
    assert sensitivity(confusion(y, s, threshold.value)).value >= target - 1e-9
    for stricter in {value for value in s if value > threshold.value}:
        laxer = min(value for value in s if value >= threshold.value)
        if stricter > laxer:
            assert sensitivity(confusion(y, s, stricter)).value < target


@given(cases, st.floats(0.01, 1))
def test_specificity_at_least_is_reached_by_the_lowest_threshold(rows, target: float):
    y, s = zip(*rows, strict=True)
    threshold = choose_threshold(
        y, s, rule="specificity_at_least", target=target, target_by="observed"
    )
    assert specificity(confusion(y, s, threshold.value)).value >= target - 1e-9
    for laxer in {value for value in s if value < threshold.value}:
        assert specificity(confusion(y, s, laxer)).value < target


@given(cases, st.floats(0.05, 20), st.none() | st.floats(0.05, 0.95))
def test_no_threshold_costs_less(rows, miss_cost: float, prevalence: float | None):
    y, s = (np.array(column) for column in zip(*rows, strict=True))

    def cost(threshold: float) -> float:
        counts = confusion(y, s, threshold)
        share = y.mean() if prevalence is None else prevalence
        missed, alarms = 1 - sensitivity(counts).value, 1 - specificity(counts).value
        return miss_cost * share * missed + (1 - share) * alarms

    chosen = choose_threshold(y, s, rule="cost", miss_cost=miss_cost, prevalence=prevalence)
    least = min(cost(t) for t in [*s, np.inf])
    assert cost(chosen.value) == pytest.approx(least, abs=1e-9)


def test_lower_bound_reaches_the_target_with_the_fewest_calls():
    scores = [*range(100, 60, -1), *range(60)]
    threshold = choose_threshold(
        [1] * 40 + [0] * 60, scores, rule="sensitivity_at_least", target=0.85
    )
    # 38 of 40: one-sided lower 95 % bound .8517; 37 of 40: .8161 (binomial tables)
    assert threshold.value == 62.5
    assert threshold.rule == "sensitivity of at least 0.85 by its lower 95% bound on validation"
    mirrored = choose_threshold(
        [0] * 40 + [1] * 60, [-s for s in scores], rule="specificity_at_least", target=0.85
    )
    assert mirrored.value == -62.5
    assert mirrored.rule == "specificity of at least 0.85 by its lower 95% bound on validation"


@given(st.integers(1, 200), st.floats(0.05, 0.99), st.floats(0.6, 0.99))
def test_lower_bound_is_clopper_and_pearsons(total: int, target: float, level: float):
    def bound(k: int) -> float:
        return clopper_pearson(k, total, 2 * level - 1).low

    scores, y = [*range(total + 1)][::-1], [1] * total + [0]
    try:
        chosen = choose_threshold(
            y, scores, rule="sensitivity_at_least", target=target, level=level
        )
    except UndefinedMetricError:
        assert bound(total) < target + 1e-9
        return
    enough = confusion(y, scores, chosen.value).tp
    assert bound(enough) >= target - 1e-9
    assert bound(enough - 1) <= target + 1e-9


def test_too_few_rows_for_the_lower_bound_say_how_many_it_takes():
    with pytest.raises(
        UndefinedMetricError,
        match="28 positive rows cannot show that, it takes 29 positive rows at the least; lower",
    ):
        choose_threshold(
            [1] * 28 + [0], [*range(29)][::-1], rule="sensitivity_at_least", target=0.9
        )
    with pytest.raises(UndefinedMetricError, match="2 negative rows cannot show that, no number"):
        choose_threshold([1, 0, 0], [3, 2, 1], rule="specificity_at_least", target=1.0)


def test_specificity_may_ask_to_call_none():
    y, s = [0, 1, 0], [0.9, 0.5, 0.1]
    threshold = choose_threshold(
        y, s, rule="specificity_at_least", target=0.9, target_by="observed"
    )
    assert confusion(y, s, threshold.value) == Confusion(0, 0, 2, 1)
    costly = choose_threshold(y, s, rule="cost", miss_cost=0.5)
    assert confusion(y, s, costly.value) == Confusion(0, 0, 2, 1)
    assert costly.rule == "least cost, a miss counting as 0.5 false alarms, on validation"


def test_cost_shifts_with_prevalence():
    y, s = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    rare = choose_threshold(y, s, rule="cost", miss_cost=2, prevalence=0.1)
    frequent = choose_threshold(y, s, rule="cost", miss_cost=2, prevalence=0.9)
    assert (rare.value, frequent.value) == (pytest.approx(0.45), pytest.approx(0.25))
    assert rare.rule.endswith("a miss counting as 2 false alarms at prevalence 0.1, on validation")


def test_sensitivity_at_least_does_not_run_on_into_negatives_below():
    threshold = choose_threshold(
        [1, 1, 0, 0],
        [0.9, 0.8, 0.4, 0.2],
        rule="sensitivity_at_least",
        target=0.95,
        target_by="observed",
    )
    assert threshold.value == pytest.approx(0.6)
    assert threshold.rule == "sensitivity of at least 0.95 on validation"


def test_sensitivity_of_19_in_20_satisfies_95_percent():
    threshold = choose_threshold(
        [1] * 20 + [0],
        [*range(20), 0],
        rule="sensitivity_at_least",
        target=0.95,
        target_by="observed",
    )
    assert threshold.value == 0.5


def test_threshold_of_one_class_is_undefined():
    with pytest.raises(UndefinedMetricError, match="a threshold is undefined: none of the 2 rows"):
        choose_threshold([1, 1], [0.1, 0.2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rule": "best"},
            "threshold rule 'best' is unknown; choose one of youden, sens",
        ),
        ({"target": 0.9}, "a target belongs to the rules with a fixed rate; the rule 'y"),
        ({"rule": "sensitivity_at_least"}, "got target=None; give a share above 0 and up to 1"),
        ({"rule": "specificity_at_least", "target": 1.1}, "got target=1.1; give a share above 0"),
        ({"target_by": "hope"}, "target_by 'hope'; choose 'lower_bound' or 'observed'"),
        ({"rule": "cost"}, "rule 'cost' got miss_cost=None; give how many false alarms"),
        ({"rule": "cost", "miss_cost": 2, "prevalence": 1}, "prevalence 1; give a share between"),
        ({"miss_cost": 2}, "miss_cost and prevalence belong to rule 'cost', not to 'youden'"),
    ],
)
def test_unknown_rules_and_misplaced_targets_are_refused(options, message: str):
    with pytest.raises(MetricInputError, match=message):
        choose_threshold([0, 1], [0.1, 0.2], **options)
