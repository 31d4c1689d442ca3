"""Shares of rows whose patients may repeat: Wilson's interval, or the patient bootstrap's."""

from __future__ import annotations

import torch
from torch import Tensor

from medres.metrics.estimate import LEVEL, Figure, UndefinedEstimate
from medres.metrics.intervals import (
    RESAMPLES,
    PatientGroups,
    clustered_proportion,
    patient_bootstrap,
    percentile_intervals,
    wilson,
)


def patient_sums(columns: Tensor, patients: PatientGroups) -> Tensor:
    """(P, K) sums over each patient's rows of (N, K)."""
    start = columns.new_zeros((patients.n, columns.shape[1]))
    return start.index_add_(0, patients.index, columns)


def proportion_figures(
    right: Tensor,
    of: Tensor,
    patients: PatientGroups,
    reasons: list[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Figure]:
    """K shares at once.

    Args:
        right: (N, K) float64 in {0, 1}: rows in each numerator.
        of: (N, K) float64 in {0, 1}: rows in each denominator.
        patients: the patient of each row.
        reasons: K, why a share without denominator has none.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap, where patients repeat.
        seed: of the patient bootstrap.
    """
    k = right.shape[1]
    sums = patient_sums(torch.cat([right, of], dim=1), patients)
    totals = sums.sum(0).tolist()
    behind = (sums[:, k:] > 0).sum(0).tolist()
    intervals = None
    if patients.repeated:
        samples = patient_bootstrap(
            lambda weights: _shares(weights.to(sums.dtype) @ sums),
            patients,
            resamples=resamples,
            seed=seed,
        )
        intervals = percentile_intervals(samples, level)
    figures: list[Figure] = []
    for j in range(k):
        successes, total = int(totals[j]), int(totals[k + j])
        if not total:
            figures.append(UndefinedEstimate(reasons[j], level))
        elif intervals is None:
            figures.append(wilson(successes, total, level))
        else:
            share = successes / total
            figures.append(clustered_proportion(share, intervals[j], int(behind[j]), level))
    return figures


def _shares(sums: Tensor) -> Tensor:
    right, of = sums.chunk(2, dim=-1)
    return right / of
