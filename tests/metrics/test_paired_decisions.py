from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.intervals import wilson
from medres.metrics.paired_decisions import compare_decisions, mcnemar, paired_difference

counts = st.integers(0, 60)


def test_mcnemar_equals_the_published_table():
    # Agresti's [[794, 86], [150, 570]]
    found = mcnemar(86, 150, "corrected chi-squared")
    assert found.statistic == pytest.approx(16.8178, abs=5e-5)
    assert mcnemar(86, 150, "chi-squared").statistic == pytest.approx(64**2 / 236)


@given(counts, counts, counts, counts)
@settings(deadline=None)
def test_mcnemar_equals_statsmodels(a: int, b: int, c: int, d: int):
    table = [[a, b], [c, d]]
    exact = statsmodels_mcnemar(table, exact=True)
    assert mcnemar(b, c).p_value == pytest.approx(min(exact.pvalue, 1))
    if b + c:
        plain = statsmodels_mcnemar(table, exact=False, correction=False)
        found = mcnemar(b, c, "chi-squared")
        assert (found.statistic, found.p_value) == pytest.approx((plain.statistic, plain.pvalue))
    if b != c:
        corrected = statsmodels_mcnemar(table, exact=False, correction=True)
        assert mcnemar(b, c, "corrected chi-squared").p_value == pytest.approx(corrected.pvalue)


def test_models_that_never_differ_have_a_p_value_of_1():
    for method in ("exact", "chi-squared", "corrected chi-squared"):
        assert mcnemar(0, 0, method).p_value == 1


@given(counts, counts, counts, counts)
@settings(deadline=None)
def test_paired_difference_holds_the_value_and_turns_with_the_models(a, b, c, d):
    if a + b + c + d == 0:
        return
    found, shares = paired_difference(a, b, c, d)
    turned, _ = paired_difference(a, c, b, d)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low == pytest.approx(-turned.high, abs=1e-12)
    assert shares[0] - shares[1] == found.value


def test_paired_difference_without_agreement_beyond_chance_worked_by_hand():
    # ad - bc = 4 × 6 - 6 × 4 = 0, so φ = 0: shares 10/20 and 8/20
    found, _ = paired_difference(4, 6, 4, 6)
    one, two = wilson(10, 20), wilson(8, 20)
    reach = ((0.5 - one.low) ** 2 + (two.high - 0.4) ** 2) ** 0.5
    assert found.low == pytest.approx(0.1 - reach)


def test_agreement_beyond_chance_narrows_the_interval():
    agreeing, _ = paired_difference(40, 6, 4, 30)
    independent, _ = paired_difference(24, 22, 20, 14)
    assert agreeing.value == pytest.approx(independent.value)
    assert agreeing.high - agreeing.low < 0.6 * (independent.high - independent.low)


def test_compare_decisions_counts_right_decisions_of_each_class():
    y = np.array([1] * 6 + [0] * 4)
    first = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1])
    second = np.array([1, 1, 0, 0, 1, 0, 0, 1, 0, 0])
    sensitivity = compare_decisions(y, first, second, 0.5, 0.5)
    assert (sensitivity.first, sensitivity.second) == (4 / 6, 3 / 6)
    assert sensitivity.p_value == mcnemar(2, 1).p_value
    assert sensitivity.difference == paired_difference(2, 2, 1, 1)[0]
    specificity = compare_decisions(y, first, second, 0.5, 0.5, measure="specificity")
    assert (specificity.first, specificity.second) == (0.5, 0.75)
    accuracy = compare_decisions(y, first, second, 0.5, 0.5, measure="accuracy")
    assert (accuracy.first, accuracy.second) == (0.6, 0.6)
    assert accuracy.test == "McNemar, exact"


def test_what_mcnemar_cannot_take_is_refused():
    with pytest.raises(MetricInputError, match="counts -1 and 2; neither is negative"):
        mcnemar(-1, 2)
    with pytest.raises(MetricInputError, match="McNemar method 'mid' is unknown; choose 'exact'"):
        mcnemar(1, 2, "mid")
    with pytest.raises(MetricInputError, match="measure 'ppv' is unknown; choose 'sensitivity'"):
        compare_decisions([0, 1], [0, 1], [0, 1], 0.5, 0.5, measure="ppv")
    with pytest.raises(MetricInputError, match="McNemar's test takes one row a patient"):
        compare_decisions([0, 1], [0, 1], [0, 1], 0.5, 0.5, patient_ids=[1, 1])
    with pytest.raises(UndefinedMetricError, match="sensitivity is undefined: there is no row"):
        compare_decisions([0, 0], [0, 1], [0, 1], 0.5, 0.5)
