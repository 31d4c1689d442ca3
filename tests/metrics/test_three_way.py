from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError
from medres.metrics.intervals import wilson
from medres.metrics.operating_point import Confusion, Threshold, confusion
from medres.metrics.three_way import (
    Band,
    ThreeWayCounts,
    choose_band,
    evaluate_three_way,
    three_way_counts,
    three_way_figures,
)

rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1)


def test_six_counts_by_hand():
    y = [1, 1, 1, 0, 0, 0, 1, 0]
    s = [0.9, 0.5, 0.1, 0.9, 0.5, 0.1, 0.3, 0.7]
    counts = three_way_counts(y, s, 0.3, 0.7)
    assert counts == ThreeWayCounts(1, 2, 1, 1, undecided_positive=2, undecided_negative=1)
    assert counts.as_json()["undecided_positive"] == 2


@given(rows, st.floats(0, 1), st.floats(0, 1))
def test_counted_each_way_is_a_threshold_at_either_end(cases, a: float, b: float):
    y, s = zip(*cases, strict=True)
    lower, upper = sorted((a, b))
    counts = three_way_counts(y, s, lower, upper)
    assert counts.counted_positive == confusion(y, s, lower)
    assert counts.counted_negative == confusion(y, s, upper)
    assert sum(counts.as_json().values()) == len(y)


def test_rates_are_given_with_the_band_counted_each_way():
    y = [1] * 10 + [0] * 10
    s = [0.9] * 6 + [0.5] * 3 + [0.1] + [0.9] + [0.5] * 2 + [0.1] * 7
    figures = three_way_figures(y, s, 0.3, 0.7, units="patients")
    values = {name: figure.value for name, figure in figures.items()}
    assert values == {
        "undecided": 0.25,
        "undecided_of_positives": 0.3,
        "undecided_of_negatives": 0.2,
        "sensitivity_counted_positive": 0.9,
        "sensitivity_counted_negative": 0.6,
        "specificity_counted_positive": 0.7,
        "specificity_counted_negative": 0.9,
        "ppv": 6 / 7,
        "npv": 7 / 8,
    }
    assert figures["sensitivity_counted_positive"] == wilson(9, 10)
    none = three_way_figures([0, 0], [0.5, 0.5], 0.3, 0.7, units="patients")
    assert none["sensitivity_counted_positive"].reason == "no positive patients"
    assert none["ppv"].reason == "none called positive among the patients"


def test_repeated_patients_get_the_bootstrap():
    y, s = [1, 0, 1, 0] * 20, [0.9, 0.5, 0.4, 0.1] * 20
    figures = three_way_figures(y, s, 0.3, 0.7, patient_ids=[k // 2 for k in range(80)])
    assert figures["sensitivity_counted_negative"].method.startswith("patient bootstrap")


def test_band_lies_between_the_two_fixed_rates():
    s = [k / 100 for k in range(100)]
    y = [0] * 45 + [1, 0] * 5 + [1] * 45
    band = choose_band(y, s, sensitivity=0.95, specificity=0.95, target_by="observed")
    counts = three_way_counts(y, s, band.lower.value, band.upper.value)
    assert counts.counted_positive.fn <= 2
    assert counts.counted_negative.fp <= 2
    assert band.lower.value < band.upper.value
    assert band.as_json()["lower"]["rule"] == "sensitivity of at least 0.95 on validation"
    assert band.as_json()["targets"] == {"sensitivity": 0.95, "specificity": 0.95}


def test_band_is_empty_where_one_threshold_has_both_rates():
    s = [k / 100 for k in range(100)]
    band = choose_band([0] * 50 + [1] * 50, s, sensitivity=0.9, specificity=0.9)
    assert band == Band(band.lower, band.lower, (0.9, 0.9))
    counts = three_way_counts([0] * 50 + [1] * 50, s, band.lower.value, band.upper.value)
    assert counts.undecided_positive == counts.undecided_negative == 0
    assert counts.counted_positive == Confusion(counts.tp, counts.fp, counts.tn, counts.fn)
    assert isinstance(band.lower, Threshold)


def test_upper_end_below_the_lower_is_refused():
    with pytest.raises(MetricInputError, match=r"a band from 0\.7 to 0\.3; give its lower end"):
        three_way_counts([0, 1], [0.1, 0.2], 0.7, 0.3)


def test_a_score_is_called_by_the_ends_which_belong_to_what_is_above_them():
    band = Band(Threshold(0.3, "by hand", 0), Threshold(0.7, "by hand", 0))
    called = {s: band.decision(s) for s in (0.0, 0.299, 0.3, 0.5, 0.699, 0.7, 1.0)}
    assert called == {
        0.0: "negative",
        0.299: "negative",
        0.3: "indeterminate",
        0.5: "indeterminate",
        0.699: "indeterminate",
        0.7: "positive",
        1.0: "positive",
    }
    empty = Band(band.lower, band.lower)
    assert [empty.decision(s) for s in (0.29, 0.3)] == ["negative", "positive"]
    assert "targets" not in band.as_json()


@given(rows, st.floats(0, 1), st.floats(0, 1))
def test_decisions_one_by_one_are_those_that_are_counted(cases, a: float, b: float):
    lower, upper = (Threshold(value, "by hand", 0) for value in sorted((a, b)))
    band = Band(lower, upper)
    y, s = zip(*cases, strict=True)
    counts = three_way_counts(y, s, lower.value, upper.value)
    called = [(band.decision(score), label) for label, score in cases]
    assert called.count(("positive", 1)) == counts.tp
    assert called.count(("positive", 0)) == counts.fp
    assert called.count(("negative", 0)) == counts.tn
    assert called.count(("negative", 1)) == counts.fn
    assert called.count(("indeterminate", 1)) == counts.undecided_positive
    assert called.count(("indeterminate", 0)) == counts.undecided_negative


def test_the_whole_holds_counts_and_figures_of_the_parts():
    y = [1] * 10 + [0] * 10
    s = [0.9] * 6 + [0.5] * 3 + [0.1] + [0.9] + [0.5] * 2 + [0.1] * 7
    band = Band(Threshold(0.3, "by hand", 0), Threshold(0.7, "by hand", 0))
    found = evaluate_three_way(y, s, band, level=0.9, units="patients")
    assert found.counts == three_way_counts(y, s, 0.3, 0.7)
    assert found.figures == three_way_figures(y, s, 0.3, 0.7, level=0.9, units="patients")
    content = found.as_json()
    assert content["lower"] == {"value": 0.3, "rule": "by hand", "n": 0}
    assert content["counts"] == {
        "tp": 6, "fp": 1, "tn": 7, "fn": 1, "undecided_positive": 3, "undecided_negative": 2,
    }  # fmt: skip
    assert content["undecided"]["value"] == 0.25
    assert content["undecided"]["level"] == 0.9
    patients = [k // 2 for k in range(20)]
    drawn = evaluate_three_way(y, s, band, patient_ids=patients, resamples=50, seed=3)
    assert drawn.figures == three_way_figures(
        y, s, 0.3, 0.7, patient_ids=patients, resamples=50, seed=3
    )


def slow_band(
    y: list[int], s: list[float], sensitivity: float, specificity: float
) -> tuple[float, float]:
    """The ends by the textbook: all cuts half-way between neighbours, tried one after the other."""
    values = sorted(set(s))
    cuts = [values[0], *((a + b) / 2 for a, b in itertools.pairwise(values)), values[-1] + 1e-9]
    pairs = list(zip(y, s, strict=True))
    positives, negatives = y.count(1), y.count(0)

    def found(cut: float) -> float:
        return sum(label == 1 and score >= cut for label, score in pairs) / positives

    def cleared(cut: float) -> float:
        return sum(label == 0 and score < cut for label, score in pairs) / negatives

    lower = max(cut for cut in cuts if found(cut) >= sensitivity - 1e-12)
    same = [c for c in cuts if found(c) == found(lower) and cleared(c) == cleared(lower)]
    upper = min(cut for cut in cuts if cleared(cut) >= specificity - 1e-12)
    return min(same), max(min(same), upper)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2).filter(
        lambda cases: len({label for label, _ in cases}) == 2
    ),
    st.sampled_from([0.5, 0.8, 0.9, 1.0]),
    st.sampled_from([0.5, 0.8, 0.9, 1.0]),
)
def test_band_is_the_one_that_trying_every_cut_finds(cases, sensitivity, specificity):
    y = [label for label, _ in cases]
    s = [score / 16 for _, score in cases]
    band = choose_band(y, s, sensitivity=sensitivity, specificity=specificity, target_by="observed")
    lower, upper = slow_band(y, s, sensitivity, specificity)
    assert (band.lower.value, band.upper.value) == pytest.approx((lower, upper), abs=1e-8)
