"""Intervals of the AUROC, each by its paper, and the bound that holds where the AUROC is 0 or 1.

All of them are elementwise in torch and read nothing back. Newcombe's method 5 is the default: it
keeps its level near 1 and with few positives, where DeLong's falls to .87 (docs/coverage.md).
DeLong's is what most papers print.
"""

from __future__ import annotations

from math import exp, log
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.estimate import LEVEL, Estimate, few_note
from medres.metrics.intervals import (
    BOOTSTRAP_NEEDS,
    BootstrapInterval,
    bootstrap_estimate,
    normal_quantile,
)

AurocMethod = Literal["Newcombe", "DeLong", "logit-DeLong"]

METHODS: tuple[AurocMethod, ...] = ("Newcombe", "DeLong", "logit-DeLong")

NEWCOMBE = "Newcombe's method 5"

NEEDS = 10
"""Positives, and negatives, from which Newcombe's interval was shown to cover 94 to 98 %."""

BISECTIONS = 52
"""Each halves the distance to the limit: to the last bit of a float64 just below 1."""


def hanley_mcneil_variance(area: Tensor, m: Tensor, n: Tensor) -> Tensor:
    """Variance of the AUROC from its value and the two sample sizes alone, as Newcombe uses it.

    Hanley and McNeil's exponential model with both m − 1 and n − 1 replaced by (m + n) / 2 − 1.

    Args:
        area: (...) in [0, 1].
        m: (...) positives.
        n: (...) negatives.

    References:
        Hanley & McNeil, Radiology 143 (1982) 29-36; Newcombe, Stat Med 25 (2006) 559-573.
    """
    half = (m + n) / 2 - 1
    spread = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + half * spread) / (m * n)


def newcombe_bounds(
    area: Tensor, m: Tensor, n: Tensor, level: float = LEVEL
) -> tuple[Tensor, Tensor]:
    """Limits θ with (area − θ)² = z² V(θ): the variance is taken at the limit, not at the estimate.

    Args:
        area: (...) float64 in [0, 1].
        m: (...) positives, ≥ 1.
        n: (...) negatives, ≥ 1.
        level: confidence level in (0, 1).

    Returns:
        low and high, (...) in [0, 1].

    References:
        Newcombe, Stat Med 25 (2006) 559-573, method 5.
    """
    z2 = normal_quantile(level) ** 2
    # The area itself satisfies the inequality, 0 and 1 never do: one root lies on each side.
    inside = torch.stack([area, area])
    outside = torch.stack([torch.zeros_like(area), torch.ones_like(area)])
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        held = (area - middle) ** 2 <= z2 * hanley_mcneil_variance(middle, m, n)
        inside, outside = torch.where(held, middle, inside), torch.where(held, outside, middle)
    low, high = inside.unbind(0)
    return low, high


def delong_bounds(area: Tensor, variance: Tensor, level: float = LEVEL) -> tuple[Tensor, Tensor]:
    """The area ± z √variance, clipped to [0, 1]; (...) each."""
    half = normal_quantile(level) * variance.sqrt()
    return (area - half).clamp(min=0), (area + half).clamp(max=1)


def logit_delong_bounds(
    area: Tensor, variance: Tensor, level: float = LEVEL
) -> tuple[Tensor, Tensor]:
    """DeLong's interval on the logit scale, by the delta method; never leaves (0, 1). (...) each.

    References:
        Pepe, The Statistical Evaluation of Medical Tests (2003), 5.2.
    """
    half = normal_quantile(level) * variance.sqrt() / (area * (1 - area))
    return torch.sigmoid(torch.logit(area) - half), torch.sigmoid(torch.logit(area) + half)


def pairs_bounds(area: Tensor, m: Tensor, n: Tensor, level: float = LEVEL) -> tuple[Tensor, Tensor]:
    """Limits of an AUROC of exactly 1, 0, or ½ with all scores tied: no variance to go by.

    min(m, n) pairs of a positive and a negative that share no patient are independent. All of them
    agreed, so that with confidence `level` the chance that a pair agrees is at least
    t = (1 − level)^(1 / min(m, n)), Clopper & Pearson's one-sided bound ("rule of three"). Hence
    AUROC ≥ t after 1, ≤ 1 − t after 0, and within [t / 2, 1 − t / 2] after all ties.

    References:
        Hanley & Lippman-Hand, JAMA 249 (1983) 1743-1745; Obuchowski & Lieber, Acad Radiol 9 (2002)
        526-530, on why an estimated ROC area of 1.0 needs a bound.
    """
    t = (1 - level) ** (1 / torch.minimum(m, n))
    low = torch.where(area == 0, 0.0, torch.where(area == 1, t, t / 2))
    high = torch.where(area == 1, 1.0, torch.where(area == 0, 1 - t, 1 - t / 2))
    return low, high


def auroc_bounds(
    area: Tensor,
    variance: Tensor,
    m: Tensor,
    n: Tensor,
    method: AurocMethod = "Newcombe",
    level: float = LEVEL,
) -> tuple[Tensor, Tensor]:
    """The interval by the chosen method; the bound of `pairs_bounds` where `needs_bound` says so.

    From one positive or one negative DeLong's variance does not exist: 0 and 1.

    Args:
        area: (...) float64 AUROC.
        variance: (...) DeLong's; Newcombe's method does not use it.
        m: (...) positives.
        n: (...) negatives.
        method: of the interval.
        level: confidence level in (0, 1).

    Returns:
        low and high, (...) in [0, 1]; NaN where the area is.

    Raises:
        MetricInputError: an unknown method, or a level outside (0, 1).
    """
    check_method(method)
    if method == "Newcombe":
        low, high = newcombe_bounds(area, m, n, level)
    else:
        bounds = delong_bounds if method == "DeLong" else logit_delong_bounds
        low, high = bounds(area, variance, level)
        single = (torch.minimum(m, n) < 2) & ~area.isnan()
        low, high = low.masked_fill(single, 0.0), high.masked_fill(single, 1.0)
    exact = needs_bound(area, variance, method)
    bound_low, bound_high = pairs_bounds(area, m, n, level)
    return torch.where(exact, bound_low, low), torch.where(exact, bound_high, high)


def check_method(method: str) -> None:
    """Raise for a method that this module does not know.

    Raises:
        MetricInputError: an unknown method.
    """
    if method not in METHODS:
        raise MetricInputError(
            f"AUROC interval {method!r} is unknown; choose one of {', '.join(METHODS)}, or "
            "'patient bootstrap'"
        )


def needs_bound(area: Tensor, variance: Tensor, method: AurocMethod) -> Tensor:
    """(...) bool: the area is 0 or 1; for DeLong's methods also where all scores are tied."""
    exact = (area == 0) | (area == 1)
    return exact if method == "Newcombe" else exact | (variance == 0)


def method_in_words(
    area: float, variance: float, m: int, n: int, method: AurocMethod, *, clustered: bool = False
) -> str:
    """For `Estimate.method`: what `auroc_bounds` gave.

    Args:
        area: the AUROC.
        variance: DeLong's.
        m: positives.
        n: negatives.
        method: that was asked for.
        clustered: the variance is Obuchowski's, m and n are patients.
    """
    if area in (0, 1):
        return f"one-sided Clopper-Pearson bound, {min(m, n)} disjoint pairs"
    if method == "Newcombe":
        return NEWCOMBE
    if variance == 0:
        return f"bound from all-tied scores, {min(m, n)} disjoint pairs"
    if min(m, n) == 1:
        return f"no interval: DeLong needs 2, 1 {'positive' if m == 1 else 'negative'}"
    return f"{method}, clustered (Obuchowski)" if clustered else method


def auroc_estimate(
    area: float,
    variance: float,
    m: int,
    n: int,
    level: float = LEVEL,
    method: AurocMethod = "Newcombe",
    *,
    clustered: bool = False,
) -> Estimate:
    """One AUROC with its interval.

    Args:
        area: the AUROC.
        variance: DeLong's; anything where a class has one row.
        m: positives.
        n: negatives.
        level: confidence level in (0, 1).
        method: of the interval.
        clustered: the variance is Obuchowski's, m and n are patients.
    """
    figures = torch.tensor([area, variance, float(m), float(n)], dtype=torch.float64)
    low, high = auroc_bounds(figures[0], figures[1], figures[2], figures[3], method, level)
    words = method_in_words(area, variance, m, n, method, clustered=clustered)
    return Estimate(area, float(low), float(high), level, words, few_note(m, n, NEEDS))


def pairs_bound(value: float, m: int, n: int, level: float = LEVEL) -> Estimate:
    """An AUROC of exactly 0 or 1 with its one-sided bound, as `pairs_bounds` explains it."""
    return auroc_estimate(value, 0.0, m, n, level)


def clustered_auroc_estimate(
    value: float, samples: Tensor, m: int, n: int, level: float = LEVEL
) -> Estimate:
    """The patient bootstrap's interval of an AUROC: its standard error, on the logit scale.

    Percentiles fall short near 1 (.91 at AUROC .95 with 50 positive patients of 500), where the
    AUROC's distribution is skewed; on the logit scale it is nearly normal. The quantile is
    Student's, with one degree of freedom less than the scarcer class has patients. At AUROC 0 and
    1, and where every resample agrees, the bound of `pairs_bounds` stands in.

    Args:
        value: AUROC over rows.
        samples: (resamples,) AUROCs of the patient bootstrap, NaN where one class only was drawn.
        m: patients with a positive row.
        n: patients with a negative row.
        level: confidence level in (0, 1).
    """
    if value in (0, 1):
        return pairs_bound(value, m, n, level)
    missing = samples.isnan().sum()
    spread = (samples - samples.nanmean()).square().nansum() / (len(samples) - missing - 1)
    error, left_out = torch.stack([spread.sqrt(), missing.to(spread)]).tolist()
    drawn = BootstrapInterval(None, None, len(samples), int(left_out))
    note = few_note(m, n, BOOTSTRAP_NEEDS)
    if len(samples) - left_out < 2:
        return bootstrap_estimate(value, drawn, level, note=note)
    if error == 0:
        return auroc_estimate(value, 0.0, m, n, level, "DeLong")
    half = student_quantile(level, max(min(m, n) - 1, 1)) * error / (value * (1 - value))
    low, high = (1 / (1 + exp(-(log(value / (1 - value)) + h))) for h in (-half, half))
    return Estimate(value, low, high, level, f"{drawn.method}, logit scale", note)


def student_quantile(level: float, freedom: int) -> float:
    """The t of a two-sided interval by its expansion around z, to 1 % from 9 degrees of freedom on.

    References:
        Abramowitz & Stegun, Handbook of Mathematical Functions (1964), 26.7.5.
    """
    z, v = normal_quantile(level), freedom
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + (z**3 + z) / (4 * v) + second / v**2
