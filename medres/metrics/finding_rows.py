"""The labelled rows of one finding, sorted once, and every statistic of any resample of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.calibration import BINS, bin_columns, calibration_error
from medres.metrics.curve_bands import GRID, curve_ordinates
from medres.metrics.intervals import PatientGroups
from medres.metrics.operating_point import Threshold, decision_indicators
from medres.metrics.sorted_scores import (
    RankedScores,
    area_under_roc,
    cumulative_counts,
    mean_precision,
    rank_scores,
)

PROPORTIONS = ("prevalence", "sensitivity", "specificity", "ppv", "npv")
STATISTICS = ("auroc", "average_precision", "brier_score", "expected_calibration_error")
COLUMNS = (*STATISTICS, *PROPORTIONS)
"""Columns of `FindingRows.statistics`, before one observed frequency for each calibration bin and
the ordinates of the curves."""
WIDTH = len(COLUMNS) + BINS + 2 * len(GRID)


@dataclass(frozen=True, eq=False)
class FindingRows:
    """The labelled rows of one finding, sorted once, ready for any number of resamples.

    Attributes:
        finding: its name.
        y_true: (N,) float64 in {0, 1}.
        y_score: (N,) float64.
        patients: the patient of each row, among all patients of the evaluation.
        threshold: locked, or None.
        n_missing: rows that were left out.
        ranked: the same rows sorted by score.
        columns: (N, 7 + 3 × BINS) what each row adds to sums: 1, label, squared error, tp, fp, tn,
            fn, and the calibration bins.
    """

    finding: str
    y_true: Tensor
    y_score: Tensor
    patients: PatientGroups
    threshold: Threshold | None
    n_missing: int
    ranked: RankedScores
    columns: Tensor

    def statistics(self, weights: Tensor) -> Tensor:
        """Recompute every figure on weighted patients.

        Args:
            weights: (B, P) how often each patient counts.

        Returns:
            (B, WIDTH) float64: the figures in order of COLUMNS, the observed frequency in each
            calibration bin, `curve_ordinates`; NaN where the weights do not define one.
        """
        if not self.y_true.numel():
            shape = (len(weights), WIDTH)
            return torch.full(shape, torch.nan, dtype=self.y_true.dtype, device=weights.device)
        rows = weights.index_select(1, self.patients.index)
        tp, fp = cumulative_counts(self.ranked, rows.index_select(1, self.ranked.order))
        sums = rows.to(self.columns.dtype) @ self.columns
        n, positive, error, *decisions = sums[:, :7].unbind(1)
        return torch.cat(
            [
                torch.stack(
                    [
                        area_under_roc(tp, fp),
                        mean_precision(tp, fp),
                        error / n,
                        calibration_error(sums[:, 7:]),
                        positive / n,
                        *_proportions(*decisions),
                    ],
                    dim=1,
                ),
                sums[:, 7 + 2 * BINS :] / sums[:, 7 : 7 + BINS],
                curve_ordinates(tp, fp),
            ],
            dim=1,
        )

    @property
    def is_patient_level(self) -> bool:
        """Whether no patient has two labelled rows, so that the closed intervals hold."""
        per_patient = torch.bincount(self.patients.index, minlength=self.patients.n)
        return int(per_patient.max()) <= 1


def _proportions(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> list[Tensor]:
    """Sensitivity, specificity, PPV, NPV; NaN where nothing is in the denominator."""
    return [tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)]


def prepare_finding(
    finding: str,
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    threshold: Threshold | None,
) -> FindingRows:
    """Leave out the rows without a label, and sort the others.

    Args:
        finding: its name.
        y_true: (N,) float64, 0, 1 or NaN = missing.
        y_score: (N,) float64, finite where the label is given.
        patients: the patient of each row.
        threshold: locked, or None.
    """
    given = ~y_true.isnan()
    label, score = y_true[given], y_score[given]
    cut = torch.inf if threshold is None else threshold.value
    one = torch.ones_like(label)
    columns = [
        torch.stack([one, label, (score - label) ** 2], dim=1),
        decision_indicators(label, score, cut),
        bin_columns(label, score),
    ]
    return FindingRows(
        finding=finding,
        y_true=label,
        y_score=score,
        patients=PatientGroups(patients.index[given], patients.n),
        threshold=threshold,
        n_missing=y_true.numel() - label.numel(),
        ranked=rank_scores(label, score).drop_repeats(),
        columns=torch.cat(columns, dim=1),
    )
