"""Classes that exclude one another: macro and weighted one-vs-rest, Hand and Till, confusion.

Every figure has the patient bootstrap's interval, from one set of resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.agreement import agreement_weights, kappa_statistic
from medres.metrics.estimate import LEVEL, Figure, UndefinedEstimate
from medres.metrics.intervals import (
    PatientGroups,
    bootstrap_estimate,
    clustered_proportion,
    percentile_intervals,
    wilson,
)
from medres.metrics.sorted_scores import (
    RankedScores,
    area_under_roc,
    cumulative_counts,
    rank_scores,
)

SUMMARIES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "kappa",
    "quadratic_kappa",
    "macro_auroc",
    "weighted_auroc",
    "hand_till_auroc",
)
"""Columns of `MulticlassRows.statistics`."""


@dataclass(frozen=True)
class MulticlassEvaluation:
    """Decisions for the class with the highest score, and how the classes are ranked.

    Attributes:
        classes: names, in the order of the matrix.
        figures: accuracy (never quote it alone), balanced_accuracy (mean sensitivity), macro_f1,
            weighted_f1 (by the classes' rows), kappa, quadratic_kappa (only for ordered classes),
            macro_auroc and weighted_auroc (one against the rest), hand_till_auroc (one against one,
            independent of prevalence).
        confusion_matrix: counts; rows = true class, columns = named class.
        left_out: classes without a row or without another one, left out of the means.
    """

    classes: tuple[str, ...]
    figures: dict[str, Figure]
    confusion_matrix: tuple[tuple[int, ...], ...]
    left_out: tuple[str, ...]

    @property
    def accuracy(self) -> Figure:
        """Share of rows whose class was named."""
        return self.figures["accuracy"]

    def as_json(self) -> dict[str, object]:
        """The entry "multiclass" of `evaluation.json`."""
        return {
            "classes": list(self.classes),
            **{name: figure.as_json() for name, figure in self.figures.items()},
            "confusion_matrix": [list(row) for row in self.confusion_matrix],
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, eq=False)
class MulticlassRows:
    """Rows with a class, sorted once for each class, ready for any number of resamples.

    Attributes:
        true_class: (N,) int64.
        named_class: (N,) int64, the one with the highest score, the first of equals.
        n_classes: K.
        patients: the patient of each row.
        ranked: K, the rows sorted by the score of each class, that class against the rest.
        pairs: K (K − 1) row numbers of two classes, and those rows sorted by the first one's score.
    """

    true_class: Tensor
    named_class: Tensor
    n_classes: int
    patients: PatientGroups
    ranked: tuple[RankedScores, ...]
    pairs: tuple[tuple[Tensor, RankedScores], ...]

    def confusion(self, weights: Tensor) -> Tensor:
        """(B, K, K) float64 counts of patients with weights (B, P)."""
        k = self.n_classes
        cell = self.true_class * k + self.named_class
        table = torch.zeros((self.patients.n, k * k), dtype=torch.float64, device=cell.device)
        one = torch.ones_like(cell, dtype=torch.float64)
        table.index_put_((self.patients.index, cell), one, accumulate=True)
        return (weights.to(torch.float64) @ table).reshape(-1, k, k)

    def statistics(self, weights: Tensor) -> Tensor:
        """Recompute every figure on weighted patients.

        Args:
            weights: (B, P) how often each patient counts.

        Returns:
            (B, len(SUMMARIES)) float64; NaN where undefined.
        """
        matrix = self.confusion(weights)
        n = matrix.sum((1, 2))
        of_class, right = matrix.sum(2), matrix.diagonal(dim1=1, dim2=2)
        f1 = 2 * right / (of_class + matrix.sum(1))
        none, squares = (
            agreement_weights(self.n_classes, kind).to(matrix.device)
            for kind in ("none", "quadratic")
        )
        rows = weights.index_select(1, self.patients.index)
        areas = torch.stack([_area(r, rows) for r in self.ranked], dim=1)
        share = of_class.masked_fill(areas.isnan(), 0)
        one_to_one = torch.stack(
            [_area(r, rows.index_select(1, kept)) for kept, r in self.pairs], dim=1
        )
        return torch.stack(
            [
                right.sum(1) / n,
                (right / of_class).nanmean(1),
                f1.nanmean(1),
                (f1.nan_to_num() * of_class).sum(1) / n,
                kappa_statistic(matrix, none),
                kappa_statistic(matrix, squares),
                areas.nanmean(1),
                (areas.nan_to_num() * share).sum(1) / share.sum(1),
                one_to_one.nanmean(1),
            ],
            dim=1,
        )


def _area(ranked: RankedScores, rows: Tensor) -> Tensor:
    if not ranked.order.numel():
        return torch.full((len(rows),), torch.nan, dtype=torch.float64, device=rows.device)
    return area_under_roc(*cumulative_counts(ranked, rows.index_select(1, ranked.order)))


def prepare_multiclass(y_true: Tensor, y_score: Tensor, patients: PatientGroups) -> MulticlassRows:
    """Keep the rows with a class, and sort them.

    Args:
        y_true: (N, K) float64, one-hot or all NaN.
        y_score: (N, K) float64, finite where the class is known.
        patients: the patient of each row.
    """
    known = ~y_true[:, 0].isnan()
    true_class, score = y_true[known].argmax(1), y_score[known]
    n_classes = y_true.shape[1]
    ranked = [
        rank_scores((true_class == k).to(score.dtype), score[:, k]).drop_repeats()
        for k in range(n_classes)
    ]
    pairs = []
    for i in range(n_classes):
        for j in range(n_classes):
            if i != j:
                kept = torch.nonzero((true_class == i) | (true_class == j))[:, 0]
                label = (true_class[kept] == i).to(score.dtype)
                pairs.append((kept, rank_scores(label, score[kept, i]).drop_repeats()))
    return MulticlassRows(
        true_class,
        score.argmax(1),
        n_classes,
        PatientGroups(patients.index[known], patients.n),
        tuple(ranked),
        tuple(pairs),
    )


def evaluate_multiclass(
    rows: MulticlassRows, samples: Tensor, classes: Sequence[str], *, level: float = LEVEL
) -> MulticlassEvaluation:
    """Turn counts and resamples into figures.

    Args:
        rows: with a class.
        samples: (resamples, len(SUMMARIES)) of `MulticlassRows.statistics`.
        classes: K names.
        level: confidence level in (0, 1).

    References:
        Hand & Till, Machine Learning 45 (2001) 171-186.
    """
    whole = torch.ones((1, rows.patients.n), dtype=torch.float64, device=samples.device)
    matrix = rows.confusion(whole)[0]
    of_class = matrix.sum(1).tolist()
    total, right = int(sum(of_class)), int(matrix.diagonal().sum())
    figures: dict[str, Figure] = {}
    values = rows.statistics(whole)[0].tolist() if total else [float("nan")] * len(SUMMARIES)
    for name, value, interval in zip(
        SUMMARIES, values, percentile_intervals(samples, level), strict=True
    ):
        if math.isnan(value):
            reason = "no labelled rows" if not total else "rows of one class only"
            figures[name] = UndefinedEstimate(reason, level, "patient bootstrap")
        elif name == "accuracy":
            figures[name] = (
                clustered_proportion(value, interval, rows.patients.n, level)
                if rows.patients.repeated
                else wilson(right, total, level)
            )
        else:
            limits = (-1.0, 1.0) if "kappa" in name else (0.0, 1.0)
            figures[name] = bootstrap_estimate(value, interval, level, limits)
    absent = [name for name, n in zip(classes, of_class, strict=True) if n in (0, total)]
    counts = tuple(tuple(int(n) for n in row) for row in matrix.tolist())
    return MulticlassEvaluation(tuple(classes), figures, counts, tuple(absent))
