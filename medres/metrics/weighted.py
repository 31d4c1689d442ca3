"""Metrics of weighted rows, prepared once for any number of resamples.

A weighted metric takes the labels and scores, sorts or sums what it needs once, and returns a
function from row weights (B, N), how often each row counts, to (B,) values, NaN where the weights
do not define one. `medres.metrics.comparison.bootstrap_difference` takes any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.runs import score_runs
from medres.metrics.sorted_scores import cumulative_counts, mean_precision, rank_scores

Statistic = Callable[[Tensor], Tensor]
WeightedMetric = Callable[[Tensor, Tensor], Statistic]


def weighted_auroc(y_true: Tensor, y_score: Tensor) -> Statistic:
    """AUROC.

    Args:
        y_true: (N,) float64 in {0, 1}.
        y_score: (N,) float64, finite.
    """
    runs = score_runs(y_true, y_score)
    return lambda weights: runs.areas(
        weights.to(torch.uint8).gather(1, runs.rows.expand(len(weights), -1))
    )


def weighted_average_precision(y_true: Tensor, y_score: Tensor) -> Statistic:
    """Average precision; arguments as in `weighted_auroc`."""
    ranked = rank_scores(y_true, y_score).drop_repeats()
    return lambda weights: mean_precision(
        *cumulative_counts(ranked, weights.index_select(1, ranked.order))
    )


def weighted_brier_score(y_true: Tensor, y_score: Tensor) -> Statistic:
    """Brier score; arguments as in `weighted_auroc`, scores in [0, 1]."""
    error = (y_score - y_true) ** 2
    return lambda weights: weights.to(error.dtype) @ error / weights.sum(1)


def at_threshold(
    measure: Literal["sensitivity", "specificity", "ppv", "npv", "accuracy"], threshold: float
) -> WeightedMetric:
    """A proportion of decisions, positive where score ≥ threshold.

    Raises:
        MetricInputError: an unknown measure.
    """
    if measure not in ("sensitivity", "specificity", "ppv", "npv", "accuracy"):
        raise MetricInputError(
            f"measure {measure!r} is unknown; choose sensitivity, specificity, ppv, npv or accuracy"
        )

    def prepare(y_true: Tensor, y_score: Tensor) -> Statistic:
        present, called = y_true == 1, y_score >= threshold
        counted = {
            "sensitivity": present,
            "specificity": ~present,
            "ppv": called,
            "npv": ~called,
            "accuracy": torch.ones_like(called),
        }[measure]
        pair = torch.stack([counted & (present == called), counted], dim=1).to(torch.float32)

        def share(weights: Tensor) -> Tensor:
            right, total = (weights.to(torch.float32) @ pair).to(torch.float64).unbind(1)
            return right / total

        return share

    return prepare


WEIGHTED: dict[str, WeightedMetric] = {
    "auroc": weighted_auroc,
    "average_precision": weighted_average_precision,
    "brier_score": weighted_brier_score,
}
"""Metrics by the name that reports use."""
