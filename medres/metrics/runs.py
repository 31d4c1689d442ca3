"""Resampled AUROCs at memory speed: rows between two changes of the label count together.

From the highest score down, the order inside a run of positives or of negatives does not change
the AUROC. So a resample needs one cumulative sum over its rows, read at the ends of the runs, and
the rest is arithmetic on runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from medres.metrics.intervals import PatientGroups
from medres.metrics.resampling import CELL_PATIENTS, Cells, draw_counts
from medres.metrics.sorted_scores import sort_descending


@dataclass(frozen=True, eq=False)
class ScoreRuns:
    """Rows by descending score as K pairs of a run of positives and a run of negatives.

    Each run is as long as it can be without holding two scores of which one is shared by both
    classes. The runs of such a shared score are a pair of their own.

    Attributes:
        rows: (N,) int64 row numbers by descending score, positives first where scores are tied.
        ends: (2 K + 1,) int64 rows before each run, and N; runs may be empty.
        half_tied: (K,) float64: 0.5 where both runs of the pair hold the same score, else 0; None
            if nowhere.
    """

    rows: Tensor
    ends: Tensor
    half_tied: Tensor | None

    def areas(self, weights: Tensor) -> Tensor:
        """AUROC of weighted rows.

        Args:
            weights: (B, N) uint8, how often each row counts, in the order of `rows`.

        Returns:
            (B,) float64; NaN where a class has no weight.
        """
        counts = pad(weights, (1, 0)).cumsum(1, dtype=torch.int32)
        runs = counts.gather(1, self.ends.expand(len(weights), -1)).diff(dim=1)
        positive, negative = runs[:, 0::2].to(torch.float64), runs[:, 1::2].to(torch.float64)
        outranking = positive.cumsum(1)
        total = outranking[:, -1] * negative.sum(1)
        if self.half_tied is not None:
            outranking -= self.half_tied * positive
        return (outranking * negative).sum(1) / total

    def in_cells(self) -> tuple[Cells, ScoreRuns]:
        """Rows of a run counted together, for rows that are a patient each.

        Returns:
            The cells of the rows in the order of `rows`, and the runs as if cells were rows. How
            many cells there are is read back.
        """
        length = self.ends.diff()
        parts = (length + CELL_PATIENTS - 1) // CELL_PATIENTS
        ends = pad(parts.cumsum(0), (1, 0))
        run = torch.repeat_interleave(torch.arange(len(length), device=length.device), length)
        place = torch.arange(len(run), device=run.device) - self.ends[run]
        cell = ends[run] + place // CELL_PATIENTS
        return Cells(cell, torch.bincount(cell)), replace(self, ends=ends)


def score_runs(y_true: Tensor, y_score: Tensor) -> ScoreRuns:
    """Find the runs. Their number is read back: this is the step before a bootstrap.

    Args:
        y_true: (N,) float64 in {0, 1}.
        y_score: (N,) float64, finite.
    """
    keys, order = sort_descending(y_score)
    if not order.numel():
        return ScoreRuns(order, order.new_zeros(3), None)
    tie = (keys[1:] != keys[:-1]).to(torch.int64).cumsum(0)
    tie = pad(tie, (1, 0))
    key, within = torch.sort(2 * tie + (1 - y_true[order]).to(torch.int64), stable=True)
    rows, tie, negative = order[within], key // 2, key % 2
    n_tied = torch.bincount(tie)
    n_negative = torch.bincount(tie, weights=negative)
    shared = ((n_negative > 0) & (n_negative < n_tied))[tie]
    apart = (tie[1:] != tie[:-1]) & (shared[1:] | shared[:-1])
    step = torch.where(negative[1:] != negative[:-1], 1, 2 * apart.to(torch.int64))
    run = torch.cat([negative[:1], step]).cumsum(0)
    pairs = int(run[-1]) // 2 + 1
    ends = torch.searchsorted(run, torch.arange(2 * pairs + 1, device=run.device))
    half_tied = torch.zeros(pairs, dtype=torch.float64, device=run.device)
    half_tied[run[shared] // 2] = 0.5
    return ScoreRuns(rows, ends, half_tied if bool(shared.any()) else None)


def resampled_areas(
    y_true: Tensor, y_score: Tensor, patients: PatientGroups, resamples: int, seed: int
) -> Tensor:
    """AUROC of each patient resample.

    Rows that are a patient each are drawn by cells that count together, in a fifth of the time.

    Args:
        y_true: (N,) float64 in {0, 1}.
        y_score: (N,) float64, finite.
        patients: the patient of each row.
        resamples: how many.
        seed: of the draws, as in `patient_bootstrap`.

    Returns:
        (resamples,) float64; NaN where a resample holds one class only.
    """
    runs, device = score_runs(y_true, y_score), y_true.device
    if not patients.repeated:
        cells, runs = runs.in_cells()
        draws = draw_counts(patients.n, resamples, seed, device, cells=cells)
        return torch.cat([runs.areas(counts) for counts in draws])
    drawn = patients.index[runs.rows]
    draws = draw_counts(patients.n, resamples, seed, device, len(drawn))
    return torch.cat(
        [runs.areas(counts.gather(1, drawn.expand(len(counts), -1))) for counts in draws]
    )
