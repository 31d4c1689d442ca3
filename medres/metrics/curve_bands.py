"""Bands around ROC and precision-recall curves: pointwise, from resampled patients.

At each of a grid of abscissae the ordinates of the resampled curves have percentile limits. The
band is pointwise: it holds the true ordinate at one abscissa with its level, not the whole curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.intervals import BootstrapInterval

GRID = tuple(k / 50 for k in range(51))
"""Abscissae of a band: 2 hundredths apart, finer than its edges are known."""


@dataclass(frozen=True)
class CurveBand:
    """Pointwise limits of a curve.

    Attributes:
        at: abscissae: false-positive rate, or recall.
        low: lower limits of sensitivity, or precision.
        high: upper limits.
        method: in words.
    """

    at: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    method: str

    def as_json(self) -> dict[str, object]:
        """Lists, as `evaluation.json` holds them."""
        return {
            "at": list(self.at),
            "low": list(self.low),
            "high": list(self.high),
            "method": self.method,
        }


def curve_ordinates(tp: Tensor, fp: Tensor) -> Tensor:
    """Sensitivity at each false-positive rate of GRID, then precision at each recall of it.

    Between its points the ROC curve is straight, and where it rises at one rate the upper end
    counts; precision is that of the first threshold that reaches the recall: both as drawn.

    Args:
        tp: (B, G) cumulative true positives, from the highest score down, once a tie.
        fp: (B, G) cumulative false positives.

    Returns:
        (B, 2 × len(GRID)) float64; NaN where a class has no weight.
    """
    grid = torch.tensor(GRID, dtype=torch.float64, device=tp.device)
    m, n = tp[:, -1:].to(torch.float64), fp[:, -1:].to(torch.float64)
    # 1e-9 of a row: 0.98 × 50 is 49, whatever its last bit.
    wanted = (grid * n + 1e-9).floor()
    before = torch.searchsorted(fp, wanted.to(fp.dtype), right=True) - 1
    after = (before + 1).clamp(max=tp.shape[1] - 1)
    (tp_before, fp_before), (tp_after, fp_after) = (_at(tp, fp, k) for k in (before, after))
    run = (fp_after - fp_before).clamp(min=1)
    part = ((grid * n - fp_before) / run).clamp(0, 1)
    sensitivity = (tp_before + part * (tp_after - tp_before)) / m
    reached = torch.searchsorted(tp, (grid * m - 1e-9).ceil().clamp(min=1).to(tp.dtype))
    right, wrong = _at(tp, fp, reached.clamp(max=tp.shape[1] - 1))
    ordinates = torch.cat([sensitivity, right / (right + wrong)], dim=1)
    return ordinates.masked_fill((m == 0) | (n == 0), torch.nan)


def _at(tp: Tensor, fp: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Both counts at points of the curve, float64; 0 before the first."""
    first, none = index.clamp(min=0), index < 0
    right, wrong = tp.gather(1, first), fp.gather(1, first)
    return (
        right.to(torch.float64).masked_fill(none, 0.0),
        wrong.to(torch.float64).masked_fill(none, 0.0),
    )


def bands_of(intervals: Sequence[BootstrapInterval]) -> tuple[CurveBand, CurveBand] | None:
    """The ROC band and the precision-recall band; None where no resample defines them.

    Args:
        intervals: of the columns of `curve_ordinates`.
    """
    halves = (intervals[: len(GRID)], intervals[len(GRID) :])
    roc, precision_recall = (_band(half) for half in halves)
    return (roc, precision_recall) if roc and precision_recall else None


def _band(intervals: Sequence[BootstrapInterval]) -> CurveBand | None:
    limits = [(i.low, i.high) for i in intervals if i.low is not None and i.high is not None]
    if len(limits) < len(GRID):
        return None
    low, high = zip(*limits, strict=True)
    return CurveBand(GRID, low, high, f"{intervals[0].method}, pointwise")
