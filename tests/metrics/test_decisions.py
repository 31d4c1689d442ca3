"""Decisions from rows: the figures of counts, and the patient bootstrap's intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError
from medres.metrics.decision_measures import MEASURES, decision_figures
from medres.metrics.decisions import RATES, decisions
from medres.metrics.estimate import Estimate, UndefinedEstimate
from medres.metrics.evaluation import evaluate
from medres.metrics.operating_point import Threshold, confusion, npv, ppv, sensitivity, specificity

rows = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


def drawn(seed: int = 0, n: int = 120) -> tuple[list[int], list[float], list[str]]:
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, n)
    s = 1 / (1 + np.exp(-(y + generator.normal(size=n))))
    return y.tolist(), s.tolist(), [f"P{k // 3}" for k in range(n)]


@given(rows, st.floats(0, 1))
def test_independent_rows_have_the_figures_of_their_counts(cases, threshold):
    y, s = zip(*cases, strict=True)
    found = decisions(y, s, threshold)
    assert list(found) == [*RATES, *MEASURES]
    counts = confusion(y, s, threshold)
    expected = decision_figures(counts)
    for name in MEASURES:
        assert found[name].as_json() == expected[name].as_json()
    for name, metric in zip(RATES, (sensitivity, specificity, ppv, npv), strict=True):
        if isinstance(found[name], Estimate):
            assert found[name] == metric(counts)
        else:
            with pytest.raises(Exception, match=found[name].reason):
                metric(counts)


def test_repeated_patients_have_the_intervals_of_the_whole_evaluation():
    y, s, patients = drawn()
    found = decisions(y, s, 0.55, patient_ids=patients, resamples=300, seed=4, units="images")
    threshold = {"f": Threshold(0.55, "by hand", 0)}
    entry = evaluate(
        y, s, findings=["f"], patient_ids=patients, thresholds=threshold, resamples=300, seed=4
    )["f"]
    for name in RATES:
        assert found[name].value == entry.figures[name].value
        assert found[name].low == pytest.approx(entry.figures[name].low, abs=1e-12)
        assert found[name].high == pytest.approx(entry.figures[name].high, abs=1e-12)
        assert found[name].method == entry.figures[name].method
    assert {name: found[name] for name in MEASURES} == entry.details.decisions
    alone = decisions(y, s, 0.55)
    assert alone["sensitivity"].method == "Wilson"
    assert found["sensitivity"].method == "patient bootstrap, 300 resamples"


def test_interval_of_repeated_patients_is_that_of_resampling_them_one_by_one():
    y, s, patients = drawn(seed=1, n=240)
    found = decisions(y, s, 0.6, patient_ids=patients, resamples=2000)
    label, called = np.array(y), np.array(s) >= 0.6
    names = np.array(patients)
    by = [np.flatnonzero(names == name) for name in dict.fromkeys(patients)]
    generator = np.random.default_rng(9)
    values = []
    for _ in range(2000):
        picked = np.concatenate([by[k] for k in generator.integers(0, len(by), len(by))])
        tp = (called & (label == 1))[picked].sum()
        fp = (called & (label == 0))[picked].sum()
        fn = (~called & (label == 1))[picked].sum()
        values.append((tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)))
    for name, column in zip(("sensitivity", "f1_score"), np.array(values).T, strict=True):
        low, high = np.quantile(column, (0.025, 0.975))
        assert found[name].low == pytest.approx(low, abs=0.015)
        assert found[name].high == pytest.approx(high, abs=0.015)


def test_what_rows_do_not_define_says_why():
    found = decisions([0, 0], [0.1, 0.2], 0.5, units="images")
    assert found["sensitivity"].reason == "no positive images"
    assert found["ppv"].reason == "no images called positive"
    assert isinstance(found["matthews_correlation"], UndefinedEstimate)
    with pytest.raises(MetricInputError, match="y_true"):
        decisions([0, 2], [0.1, 0.2], 0.5)


def test_each_finding_has_its_threshold():
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    s = torch.tensor([[0.4, 0.4], [0.2, 0.6], [0.1, 0.9]])
    first, second = decisions(y, s, [0.3, 0.7])
    assert (first["sensitivity"].value, second["sensitivity"].value) == (0.5, 0.5)
    assert second["specificity"].value == 1
