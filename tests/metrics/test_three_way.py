from __future__ import annotations

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


def test_band_is_empty_where_one_threshold_has_both_rates():
    s = [k / 100 for k in range(100)]
    band = choose_band([0] * 50 + [1] * 50, s, sensitivity=0.9, specificity=0.9)
    assert band == Band(band.lower, band.lower)
    counts = three_way_counts([0] * 50 + [1] * 50, s, band.lower.value, band.upper.value)
    assert counts.undecided_positive == counts.undecided_negative == 0
    assert counts.counted_positive == Confusion(counts.tp, counts.fp, counts.tn, counts.fn)
    assert isinstance(band.lower, Threshold)


def test_upper_end_below_the_lower_is_refused():
    with pytest.raises(MetricInputError, match=r"a band from 0\.7 to 0\.3; give its lower end"):
        three_way_counts([0, 1], [0.1, 0.2], 0.7, 0.3)
