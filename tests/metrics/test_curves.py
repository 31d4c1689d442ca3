from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.errors import UndefinedMetricError
from medres.metrics.curves import precision_recall_curve, roc_curve, score_histogram

cases = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.9])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def large():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 20_000)
    return y, y + 1.5 * generator.normal(size=20_000)


def test_roc_curve_of_a_table_with_ties_worked_by_hand():
    curve = roc_curve([1, 0, 1, 0, 0], [0.9, 0.8, 0.4, 0.4, 0.1], max_points=None)
    assert curve.threshold == (math.inf, 0.9, 0.8, 0.4, 0.1)
    assert curve.false_positive_rate == (0, 0, 1 / 3, 2 / 3, 1)
    assert curve.sensitivity == (0, 0.5, 0.5, 1, 1)


def test_precision_recall_curve_of_a_table_with_ties_worked_by_hand():
    curve = precision_recall_curve([1, 0, 1, 0, 0], [0.9, 0.8, 0.4, 0.4, 0.1], max_points=None)
    assert curve.recall == (0, 0.5, 0.5, 1, 1)
    assert curve.precision == (1, 1, 0.5, 0.5, 0.4)


@given(cases)
@settings(deadline=None)
def test_full_curves_equal_scikit_learn(rows):
    y, s = zip(*rows, strict=True)
    roc = roc_curve(y, s, max_points=None)
    x, tpr, threshold = sklearn.metrics.roc_curve(y, s, drop_intermediate=False)
    assert roc.false_positive_rate == pytest.approx(x)
    assert roc.sensitivity == pytest.approx(tpr)
    assert roc.threshold == pytest.approx(threshold)
    pr = precision_recall_curve(y, s, max_points=None)
    precision, recall, _ = sklearn.metrics.precision_recall_curve(y, s)
    assert pr.precision[::-1] == pytest.approx(precision)
    assert pr.recall[::-1] == pytest.approx(recall)


@given(cases)
@settings(deadline=None)
def test_dropping_straight_points_keeps_the_area_exactly(rows):
    y, s = zip(*rows, strict=True)
    thin = roc_curve(y, s)
    area = sklearn.metrics.auc(thin.false_positive_rate, thin.sensitivity)
    assert area == pytest.approx(sklearn.metrics.roc_auc_score(y, s), abs=1e-14)


@pytest.mark.parametrize("name", ["roc", "precision_recall"])
def test_thinned_curves_paint_the_same_columns_as_the_full_ones(name: str):
    y, s = large()
    build = {"roc": roc_curve, "precision_recall": precision_recall_curve}[name]
    full, thin = build(y, s, max_points=None), build(y, s, max_points=400)
    axes = {
        "roc": ("false_positive_rate", "sensitivity"),
        "precision_recall": ("recall", "precision"),
    }
    (x, v), (xt, vt) = ([getattr(c, axis) for axis in axes[name]] for c in (full, thin))
    assert len(xt) <= 400 < 5000 < len(x)
    points = set(zip(x, v, full.threshold, strict=True))
    assert set(zip(xt, vt, thin.threshold, strict=True)) <= points
    # The extremes of the points themselves are exactly those of the full curve in each column.
    for columns, pick in ((100, np.minimum), (100, np.maximum)):
        start = np.inf if pick is np.minimum else -np.inf
        found = []
        for a, b in ((x, v), (xt, vt)):
            column = np.minimum((np.array(a) * columns).astype(int), columns - 1)
            extreme = np.full(columns, start)
            pick.at(extreme, column, np.array(b))
            found.append(extreme)
        assert np.array_equal(*found)
    assert (xt[0], xt[-1], vt[-1]) == (x[0], x[-1], v[-1])


def test_curves_with_few_corners_keep_every_one():
    y, s = large()
    full = roc_curve(y[:800], s[:800], max_points=None)
    thin = roc_curve(y[:800], s[:800])
    assert len(thin.threshold) < len(full.threshold)
    area = sklearn.metrics.auc(thin.false_positive_rate, thin.sensitivity)
    assert area == pytest.approx(sklearn.metrics.roc_auc_score(y[:800], s[:800]), abs=1e-13)


def test_curves_as_json_hold_no_infinity():
    for curve in (roc_curve([0, 1], [0.1, 0.2]), precision_recall_curve([0, 1], [0.1, 0.2])):
        text = json.dumps(curve.as_json(), allow_nan=False)
        assert '"threshold": [null, 0.2, 0.1]' in text


def test_curves_of_one_class_are_undefined():
    with pytest.raises(UndefinedMetricError, match="the ROC curve is undefined: none of the 2"):
        roc_curve([1, 1], [0.1, 0.2])
    with pytest.raises(UndefinedMetricError, match="precision-recall curve is undefined: none of"):
        precision_recall_curve([0, 0], [0.1, 0.2])


def test_score_histogram_counts_each_class_with_the_top_score_in_the_last_bin():
    label = torch.tensor([0.0, 0, 1, 1]).double()
    score = torch.tensor([0.0, 0.05, 0.5, 1.0]).double()
    histogram = score_histogram(label, score, probabilities=True)
    assert (histogram.edges[0], histogram.edges[-1], len(histogram.edges)) == (0.0, 1.0, 21)
    assert histogram.negative == (1, 1) + (0,) * 18
    assert histogram.positive == (0,) * 10 + (1,) + (0,) * 8 + (1,)


def test_score_histogram_of_logits_spans_them_and_of_one_value_does_not_fail():
    label = torch.tensor([0.0, 1.0]).double()
    spread = score_histogram(label, torch.tensor([-4.0, 6.0]).double(), probabilities=False)
    assert (spread.edges[0], spread.edges[-1]) == (-4.0, 6.0)
    constant = score_histogram(label, torch.tensor([2.0, 2.0]).double(), probabilities=False)
    assert sum(constant.negative) == sum(constant.positive) == 1
