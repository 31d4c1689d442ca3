"""Bands of curves, against a slow textbook twin and an outside oracle."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from medres.metrics.curve_bands import GRID, bands_of, curve_ordinates
from medres.metrics.evaluation import evaluate
from medres.metrics.intervals import BootstrapInterval
from medres.metrics.sorted_scores import cumulative_counts, rank_scores


def ordinates(y, s):
    ranked = rank_scores(*(torch.tensor(a, dtype=torch.float64) for a in (y, s)))
    tp, fp = cumulative_counts(ranked)
    both = curve_ordinates(tp[None], fp[None])[0].numpy()
    return both[: len(GRID)], both[len(GRID) :]


def test_ordinates_of_four_rows_by_hand():
    # Descending: + − + −. ROC (0, ½), (½, ½), (½, 1), (1, 1); precision 1 up to recall ½, then ⅔.
    roc, precision = ordinates([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6])
    assert roc[:25] == pytest.approx(0.5)
    assert roc[25:] == pytest.approx(1.0)
    assert precision[:26] == pytest.approx(1.0)
    assert precision[26:] == pytest.approx(2 / 3)


def test_ordinates_with_ties_lie_on_the_straight_line():
    roc, precision = ordinates([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5])
    assert roc == pytest.approx(GRID)
    assert precision == pytest.approx(0.5)


@pytest.mark.parametrize("decimals", [1, 2, 6])
def test_ordinates_equal_scikit_learns_curve_interpolated(decimals):
    rng = np.random.default_rng(decimals)
    y = rng.integers(0, 2, 400)
    s = np.round(rng.random(400) + 0.3 * y, decimals)
    fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
    fp = np.round(fpr * (y == 0).sum())
    expected = []
    for rate in GRID:
        wanted = rate * (y == 0).sum()
        on = tpr[np.isclose(fp, wanted)]
        expected.append(on.max() if len(on) else np.interp(wanted, fp, tpr))
    roc, precision = ordinates(y, s)
    assert roc == pytest.approx(np.array(expected), abs=1e-12)
    m = y.sum()
    for recall, found in zip(GRID, precision, strict=True):
        called = next(
            s >= t
            for t in sorted(set(s), reverse=True)
            if y[s >= t].sum() >= max(recall * m, 1) - 1e-9
        )
        assert found == pytest.approx(y[called].mean())


def test_ordinates_are_undefined_without_a_class():
    roc, precision = ordinates([1, 1], [0.5, 0.6])
    assert np.isnan(roc).all()
    assert np.isnan(precision).all()


def test_bands_hold_the_curve_and_widen_for_fewer_rows():
    rng = np.random.default_rng(5)
    widths = []
    for n in (100, 1000):
        y = rng.integers(0, 2, n)
        s = rng.normal(size=n) + 1.2 * y
        roc, precision = evaluate(y, s, findings=["x"], resamples=300)["x"].bands
        value, of_precision = ordinates(y, s)
        assert (np.array(roc.low) <= value + 1e-9).all()
        assert (np.array(roc.high) >= value - 1e-9).all()
        middle = slice(10, 40)
        assert (np.array(precision.low) <= of_precision)[middle].all()
        widths.append(np.mean(np.subtract(roc.high, roc.low)[middle]))
        assert roc.method == "patient bootstrap, 300 resamples, pointwise"
    assert widths[0] > 2 * widths[1]


def test_bands_need_a_resample_that_defines_them():
    assert bands_of([BootstrapInterval(None, None, 10, 10)] * (2 * len(GRID))) is None
