"""What plots show: ROC and precision-recall curves, thinned, and the histogram of the scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.errors import UndefinedMetricError
from medres.metrics.by_finding import each_finding
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.sorted_scores import check_both_classes, cumulative_counts, rank_scores

MAX_POINTS = 1600
"""Points kept for plotting, at most: 4 in each of 400 columns, which is as wide as a plot is drawn.
Curves with fewer corners keep every one."""


SCORE_BINS = 20
"""Bars of the score histogram: fine enough to see two humps, coarse enough for 100 patients."""


@dataclass(frozen=True)
class RocCurve:
    """Operating points from the strictest to the laxest threshold.

    Attributes:
        false_positive_rate: 1 − specificity, from 0 to 1.
        sensitivity: from 0 to 1.
        threshold: a row is called positive where score ≥ threshold; the first is infinite (nothing
            is called).
    """

    false_positive_rate: tuple[float, ...]
    sensitivity: tuple[float, ...]
    threshold: tuple[float, ...]

    def as_json(self) -> dict[str, object]:
        """Lists; the infinite threshold, which JSON cannot hold, becomes null."""
        return {
            "false_positive_rate": list(self.false_positive_rate),
            "sensitivity": list(self.sensitivity),
            "threshold": [t if math.isfinite(t) else None for t in self.threshold],
        }


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision (PPV) against recall (sensitivity), from the strictest threshold on.

    Attributes:
        recall: from 0 to 1.
        precision: at that recall; 1 by convention where nothing is called. Drawn as steps, since
            precision is not linear between thresholds (Davis & Goadrich, ICML 2006).
        threshold: as in `RocCurve`.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    threshold: tuple[float, ...]

    def as_json(self) -> dict[str, object]:
        """Lists; the infinite threshold, which JSON cannot hold, becomes null."""
        return {
            "recall": list(self.recall),
            "precision": list(self.precision),
            "threshold": [t if math.isfinite(t) else None for t in self.threshold],
        }


@dataclass(frozen=True)
class ScoreHistogram:
    """How the scores of the two classes spread.

    Attributes:
        edges: bin edges, ascending, one more than bins.
        negative: rows without the finding in each bin.
        positive: rows with it.
    """

    edges: tuple[float, ...]
    negative: tuple[int, ...]
    positive: tuple[int, ...]

    def as_json(self) -> dict[str, object]:
        """Lists, as `evaluation.json` holds them."""
        return {
            "edges": list(self.edges),
            "negative": list(self.negative),
            "positive": list(self.positive),
        }


@each_finding()
def roc_curve(
    y_true: ArrayLike, y_score: ArrayLike, *, max_points: int | None = MAX_POINTS
) -> RocCurve:
    """Sensitivity against false-positive rate over all thresholds.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        max_points: points on a straight line are dropped, which changes nothing; if more corners
            than this are left, the curve keeps what a plot max_points / 4 pixels wide can show.
            None keeps every distinct threshold.

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.

    References:
        Fawcett, Pattern Recognition Letters 27 (2006) 861-874, algorithm 1.
    """
    label, score = as_tensors(y_true, y_score)
    tp, fp, threshold = _thresholds(label, score)
    m, n = read_back(label, score, tp[-1], fp[-1])
    check_both_classes("the ROC curve", int(m), int(n))
    keep = _kept_points(fp, tp, max_points, n, m)
    x, y, t = (fp[keep] / n).tolist(), (tp[keep] / m).tolist(), threshold[keep].tolist()
    return RocCurve(tuple(x), tuple(y), tuple(t))


@each_finding()
def precision_recall_curve(
    y_true: ArrayLike, y_score: ArrayLike, *, max_points: int | None = MAX_POINTS
) -> PrecisionRecallCurve:
    """Precision against recall over all thresholds.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        max_points: as in `roc_curve`.

    Raises:
        UndefinedMetricError: y_true holds no positives.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.
    """
    label, score = as_tensors(y_true, y_score)
    tp, fp, threshold = _thresholds(label, score)
    m, n = read_back(label, score, tp[-1], fp[-1])
    if not m:
        raise UndefinedMetricError(
            f"the precision-recall curve is undefined: none of the {int(n)} rows is positive"
        )
    called = tp + fp
    precision = torch.where(called > 0, tp / called.clamp(min=1), 1.0)
    recall = tp / m
    keep = _kept_points(recall, precision, max_points, 1.0, 1.0)
    x, y, t = recall[keep].tolist(), precision[keep].tolist(), threshold[keep].tolist()
    return PrecisionRecallCurve(tuple(x), tuple(y), tuple(t))


def score_histogram(y_true: Tensor, y_score: Tensor, *, probabilities: bool) -> ScoreHistogram:
    """Count the scores of each class in bins of equal width.

    Args:
        y_true: (N,) float64 in {0, 1}.
        y_score: the same shape, float64, finite.
        probabilities: bins over [0, 1] if so, else from the lowest to the highest score.
    """
    low, high = (0.0, 1.0) if probabilities else torch.stack(y_score.aminmax()).tolist()
    # Each end divided by itself: the difference of two large scores may overflow.
    width = high / SCORE_BINS - low / SCORE_BINS or 1.0
    number = (y_score / width - low / width).floor().clamp(0, SCORE_BINS - 1).long()
    positive = torch.bincount(number, weights=y_true, minlength=SCORE_BINS)
    negative = torch.bincount(number, weights=1 - y_true, minlength=SCORE_BINS)
    return ScoreHistogram(
        edges=tuple(low + width * k for k in range(SCORE_BINS + 1)),
        negative=tuple(int(count) for count in negative.tolist()),
        positive=tuple(int(count) for count in positive.tolist()),
    )


def _thresholds(y_true: Tensor, y_score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cumulative tp and fp at each distinct threshold, after a first point where nothing is called.

    Returns:
        tp, fp and threshold, each (G + 1,) for G distinct scores.
    """
    ranked = rank_scores(y_true, y_score).drop_repeats()
    tp, fp = cumulative_counts(ranked)
    score = ranked.y_score if ranked.last_of_tie is None else ranked.y_score[ranked.last_of_tie]
    zero = tp.new_zeros(1)
    infinite = torch.full_like(zero, math.inf)
    return torch.cat([zero, tp]), torch.cat([zero, fp]), torch.cat([infinite, score])


def _kept_points(
    x: Tensor, y: Tensor, max_points: int | None, width: float, height: float
) -> Tensor:
    """Indices of the points to plot: corners only, and of those what the columns of a plot show.

    In each column of pixels the first and the last point, the lowest and the highest: lines drawn
    through these four cover the same pixels as lines through all.

    Args:
        x: (G,) non-decreasing.
        y: (G,).
        max_points: how many to keep at most; None keeps all.
        width: full scale of x.
        height: full scale of y.

    References:
        Jugel, Jerzak, Hackenbroich & Markl, PVLDB 7 (2014) 797-808, M4.
    """
    points = torch.arange(x.numel(), device=x.device)
    if max_points is None or x.numel() <= 3:
        return points
    dx, dy = torch.diff(x), torch.diff(y)
    turns = dx[:-1] * dy[1:] != dx[1:] * dy[:-1]
    ends = turns.new_ones(1)
    corners = points[torch.cat([ends, turns, ends])]
    if corners.numel() <= max_points:
        return corners
    columns = max(1, max_points // 4)
    column = (x[corners] / width * columns).floor().clamp(max=columns - 1).long()
    level = y[corners] / height
    kept = [_extreme(column, key, columns, corners) for key in (corners, -corners, level, -level)]
    indices: Tensor = torch.unique_consecutive(torch.cat(kept).sort().values)
    return indices


def _extreme(column: Tensor, key: Tensor, columns: int, points: Tensor) -> Tensor:
    """Of each column that holds a point, the first point with the least key."""
    least = torch.full((columns,), torch.inf, dtype=torch.float64, device=key.device)
    key = key.to(torch.float64)
    least = least.scatter_reduce(0, column, key, "amin")
    candidate = torch.where(key == least[column], points, points[-1])
    first = points[-1].expand(columns).scatter_reduce(0, column, candidate, "amin")
    return first[torch.isfinite(least)]
