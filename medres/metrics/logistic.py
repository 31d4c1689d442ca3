"""Logistic curves through labels: the fits behind recalibration and the calibration slope.

Every function works on columns at once, with a weight of 0 for rows that do not count, runs a
fixed number of steps, and leaves its figures on the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

BISECTIONS = 64
"""Halvings of an interval of at most e^±40: its end is the float64 nearest to the root."""

NEWTON_STEPS = 32
"""Newton's method needs 5 to 8 from the null model; the rest is for step halving on hard data."""


def find_root(increasing: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """The zero of an increasing function between two ends, for each column.

    Args:
        increasing: (F) to (F), elementwise non-decreasing.
        low: (F), where it is ≤ 0.
        high: (F), where it is ≥ 0.
    """
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = increasing(middle) < 0
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def fit_intercept(target: Tensor, logit: Tensor, weight: Tensor) -> Tensor:
    """The a of σ(a + logit) whose mean equals that of the targets: maximum likelihood.

    Args:
        target: (N, F) in [0, 1].
        logit: (N, F) finite.
        weight: (N, F) ≥ 0; 0 leaves a row out.

    Returns:
        (F,); NaN where the weighted targets are all 0 or all 1, so that no finite a fits.
    """
    total, positive = weight.sum(0), (weight * target).sum(0)
    centre = torch.logit(positive / total)
    counts = weight > 0
    a = find_root(
        lambda a: (weight * (torch.sigmoid(a + logit) - target)).sum(0),
        centre - logit.masked_fill(~counts, -torch.inf).amax(0),
        centre - logit.masked_fill(~counts, torch.inf).amin(0),
    )
    return a.masked_fill(~centre.isfinite(), torch.nan)


def fit_line(target: Tensor, logit: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Intercept and slope of σ(a + b · logit) by maximum likelihood.

    Newton's method on standardised logits from the null model, each step halved until the
    likelihood grows.

    Args:
        target: (N, F) in [0, 1].
        logit: (N, F) finite.
        weight: (N, F) ≥ 0; 0 leaves a row out.

    Returns:
        a and b, (F,). Meaningless where `separated` holds or the logits are all equal: check first.
    """
    total = weight.sum(0)
    centre = (weight * logit).sum(0) / total
    scale = ((weight * (logit - centre) ** 2).sum(0) / total).sqrt()
    z = (logit - centre) / scale
    mean = (weight * target).sum(0) / total
    a, b, step = torch.logit(mean), torch.zeros_like(mean), torch.ones_like(mean)
    for _ in range(NEWTON_STEPS):
        move_a, move_b = _newton_move(a, b, target, z, weight)
        next_a, next_b = a + step * move_a, b + step * move_b
        # Near the end losses differ by rounding alone, and Newton's step is the better judge.
        limit = _loss(a, b, target, z, weight) * (1 + 1e-12)
        better = _loss(next_a, next_b, target, z, weight) <= limit
        a, b = torch.where(better, next_a, a), torch.where(better, next_b, b)
        step = torch.where(better, (2 * step).clamp(max=1), step / 2)
    slope = b / scale
    return a - slope * centre, slope


def _loss(a: Tensor, b: Tensor, target: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    line = a + b * z
    return (weight * (softplus(line) - target * line)).sum(0)


def _newton_move(
    a: Tensor, b: Tensor, target: Tensor, z: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    p = torch.sigmoid(a + b * z)
    residual, curvature = weight * (p - target), weight * p * (1 - p)
    g0, g1 = residual.sum(0), (residual * z).sum(0)
    h00, h01, h11 = curvature.sum(0), (curvature * z).sum(0), (curvature * z * z).sum(0)
    determinant = h00 * h11 - h01 * h01
    return (h01 * g1 - h11 * g0) / determinant, (h01 * g0 - h00 * g1) / determinant


def separated(target: Tensor, logit: Tensor, weight: Tensor) -> Tensor:
    """Whether a cut parts the classes, or no logits differ: then no finite line fits best.

    Args:
        target: (N, F) in {0, 1}.
        logit: (N, F).
        weight: (N, F).

    Returns:
        (F,) bool; True too where a class is absent.

    References:
        Albert & Anderson, Biometrika 71 (1984) 1-10.
    """
    positive, negative = (weight > 0) & (target == 1), (weight > 0) & (target == 0)

    def ends(rows: Tensor) -> tuple[Tensor, Tensor]:
        low = logit.masked_fill(~rows, torch.inf).amin(0)
        return low, logit.masked_fill(~rows, -torch.inf).amax(0)

    (low_positive, high_positive), (low_negative, high_negative) = ends(positive), ends(negative)
    return (low_positive >= high_negative) | (low_negative >= high_positive)
