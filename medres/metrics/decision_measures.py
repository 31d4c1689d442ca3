"""What the four counts at a threshold say: F1, MCC, likelihood ratios and the like.

Functions of tensors (`tp`, `fp`, `tn`, `fn`, any one shape) leave their figure on the device, NaN
where it is undefined; functions of a `Confusion` return an `Estimate` for independent rows.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from medres.errors import UndefinedMetricError
from medres.metrics.by_finding import each_count
from medres.metrics.estimate import LEVEL, Estimate, Figure, UndefinedEstimate
from medres.metrics.intervals import (
    RESAMPLES,
    PatientGroups,
    bootstrap_estimate,
    normal_quantile,
    patient_bootstrap,
    percentile_intervals,
    wilson_bounds,
)
from medres.metrics.operating_point import Confusion
from medres.metrics.proportions import patient_sums

MEASURES = (
    "accuracy",
    "balanced_accuracy",
    "youden_index",
    "f1_score",
    "matthews_correlation",
    "positive_likelihood_ratio",
    "negative_likelihood_ratio",
)
"""What `measures` returns, in order, beside the four proportions of `operating_point`."""

WHY_UNDEFINED = {
    "accuracy": "no labelled {unit}",
    "balanced_accuracy": "{unit} of one class only",
    "youden_index": "{unit} of one class only",
    "f1_score": "no positive {unit}, and none called positive",
    "matthews_correlation": "{unit} of one class only, or all called alike",
    "positive_likelihood_ratio": "{unit} of one class only, or none called positive",
    "negative_likelihood_ratio": "{unit} of one class only, or all called positive",
}
"""Why a measure has no value, for a report; `unit` is a plural such as "patients"."""

INFINITE = {
    "positive_likelihood_ratio": "infinite: no negative {unit} called positive",
    "negative_likelihood_ratio": "infinite: no negative {unit} called negative",
}
"""Why a likelihood ratio has no finite value."""


def measures(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
    """Every measure of `MEASURES` from counts.

    Args:
        tp: (...) float64 counts, as are the others.
        fp: likewise.
        tn: likewise.
        fn: likewise.

    Returns:
        (..., 7); NaN where undefined, infinite where a likelihood ratio is.

    References:
        Hand, Christen & Kirielle, Machine Learning 110 (2021) 451-456 (F1); Matthews, BBA 405
        (1975) 442-451; Simel, Samsa & Matchar, J Clin Epidemiol 44 (1991) 763-770 (ratios).
    """
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    # In two halves: a product of four counts of 10^6 leaves float64's integers.
    root = ((tp + fp) * (tp + fn)).sqrt() * ((tn + fp) * (tn + fn)).sqrt()
    return torch.stack(
        [
            (tp + tn) / (tp + fp + tn + fn),
            (sensitivity + specificity) / 2,
            sensitivity + specificity - 1,
            2 * tp / (2 * tp + fp + fn),
            (tp * tn - fp * fn) / root,
            sensitivity / (1 - specificity),
            (1 - sensitivity) / specificity,
        ],
        dim=-1,
    )


@each_count
def decision_figures(
    counts: Confusion, *, level: float = LEVEL, units: str = "rows"
) -> dict[str, Figure]:
    """Every measure of `MEASURES` with its interval, for independent rows.

    Accuracy: Wilson. Balanced accuracy and Youden's index: Newcombe's hybrid of the two Wilson
    intervals. F1: Wilson on tp / (tp + fp + fn), of which it is a monotone function. MCC: Fisher's
    z with the multinomial variance. Likelihood ratios: logarithmic. Where a cell that an interval
    divides by is 0, ½ is added to every cell, and `method` says so.

    Args:
        counts: at the threshold.
        level: confidence level in (0, 1).
        units: what a row is, in the plural, for reasons.

    References:
        Newcombe, Stat Med 17 (1998) 873-890, method 10; Itaya et al., Stat Med 44 (2025) e10303
        (MCC); Simel et al. (1991).
    """
    cells = torch.tensor([counts.tp, counts.fp, counts.tn, counts.fn], dtype=torch.float64)
    values = dict(zip(MEASURES, measures(*cells).tolist(), strict=True))
    figures: dict[str, Figure] = {}
    for name, value in values.items():
        if math.isnan(value):
            figures[name] = UndefinedEstimate(WHY_UNDEFINED[name].format(unit=units), level)
        elif math.isinf(value):
            figures[name] = infinite_ratio(name, counts, level, units)
        else:
            low, high, method = _limits(name, value, counts, level)
            figures[name] = Estimate(value, low, high, level, method)
    return figures


def clustered_decision_figures(
    counts: Confusion,
    indicators: Tensor,
    patients: PatientGroups,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    units: str = "rows",
) -> dict[str, Figure]:
    """Every measure of `MEASURES` with the patient bootstrap's interval.

    Likelihood ratios are resampled with ½ added to each cell, so that a resample without a false
    call has a finite one.

    Args:
        counts: at the threshold.
        indicators: (N, 4) of `decision_indicators`.
        patients: the patient of each row.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        units: what a row is, in the plural, for reasons.
    """
    sums = patient_sums(indicators, patients)

    def drawn(weights: Tensor) -> Tensor:
        cells = weights.to(sums.dtype) @ sums
        plain, added = measures(*cells.unbind(-1)), measures(*(cells + 0.5).unbind(-1))
        return torch.cat([plain[:, :5], added[:, 5:]], dim=1)

    samples = patient_bootstrap(drawn, patients, resamples=resamples, seed=seed)
    intervals = dict(zip(MEASURES, percentile_intervals(samples, level), strict=True))
    figures = decision_figures(counts, level=level, units=units)
    for name, figure in figures.items():
        if isinstance(figure, Estimate):
            signed = name in ("matthews_correlation", "youden_index")
            limits = (-1.0 if signed else 0.0, 1.0)
            estimate = bootstrap_estimate(figure.value, intervals[name], level, limits)
            low, high = min(estimate.low, figure.value), max(estimate.high, figure.value)
            note = ", ½ added to each cell" if name.endswith("ratio") else ""
            figures[name] = replace(estimate, low=low, high=high, method=estimate.method + note)
        elif figure.reason.startswith("infinite"):
            bound = intervals[name].low or 0.0
            reason = f"{INFINITE[name].format(unit=units)}; above {bound:.3g}"
            figures[name] = UndefinedEstimate(reason, level, intervals[name].method)
    return figures


def _limits(name: str, value: float, counts: Confusion, level: float) -> tuple[float, float, str]:
    tp, fp, tn, fn = counts.tp, counts.fp, counts.tn, counts.fn
    if name == "accuracy":
        return *_wilson(tp + tn, tp + fp + tn + fn, level), "Wilson"
    if name == "f1_score":
        low, high = (2 * share / (1 + share) for share in _wilson(tp, tp + fp + fn, level))
        return low, high, "Wilson on tp / (tp + fp + fn)"
    if name in ("balanced_accuracy", "youden_index"):
        low, high = _sum_of_rates(counts, level)
        if name == "balanced_accuracy":
            low, high = low / 2, high / 2
        else:
            low, high = low - 1, high - 1
        return low, high, "Newcombe, hybrid of two Wilson intervals"
    if name == "matthews_correlation":
        return _correlation_limits(value, counts, level)
    low, high, added = ratio_limits(name, counts, level)
    return min(low, value), max(high, value), added_text("logarithmic", added)


def _wilson(successes: int, total: int, level: float) -> tuple[float, float]:
    low, high = wilson_bounds(torch.tensor(successes), torch.tensor(total), level)
    return float(low), float(high)


def _sum_of_rates(counts: Confusion, level: float) -> tuple[float, float]:
    """Limits of sensitivity + specificity, by square-and-add."""
    m, n = counts.tp + counts.fn, counts.tn + counts.fp
    total = counts.tp / m + counts.tn / n
    (low_a, high_a), (low_b, high_b) = _wilson(counts.tp, m, level), _wilson(counts.tn, n, level)
    below = math.hypot(counts.tp / m - low_a, counts.tn / n - low_b)
    above = math.hypot(high_a - counts.tp / m, high_b - counts.tn / n)
    return max(total - below, 0.0), min(total + above, 2.0)


def _correlation_limits(value: float, counts: Confusion, level: float) -> tuple[float, float, str]:
    added = counts.fp == counts.fn == 0 or counts.tp == counts.tn == 0  # a value of ±1
    tp, fp, tn, fn = _halfadded_text(counts) if added else _cells(counts)
    p, n, a, b = tp + fn, tn + fp, tp + fp, tn + fn
    root = math.sqrt(p) * math.sqrt(n) * math.sqrt(a) * math.sqrt(b)
    centre = (tp * tn - fp * fn) / root
    gradient = (
        (tp, tn / root - centre / 2 * (1 / p + 1 / a)),
        (tn, tp / root - centre / 2 * (1 / n + 1 / b)),
        (fp, -fn / root - centre / 2 * (1 / n + 1 / a)),
        (fn, -fp / root - centre / 2 * (1 / p + 1 / b)),
    )
    variance = sum(count * slope**2 for count, slope in gradient)
    half = normal_quantile(level) * math.sqrt(variance) / (1 - centre**2)
    low, high = math.tanh(math.atanh(centre) - half), math.tanh(math.atanh(centre) + half)
    return min(low, value), max(high, value), added_text("Fisher's z", added)


def ratio_limits(name: str, counts: Confusion, level: float) -> tuple[float, float, bool]:
    """Logarithmic limits of a likelihood ratio, and whether ½ was added to each cell.

    Args:
        name: "positive_likelihood_ratio" or "negative_likelihood_ratio".
        counts: at the threshold, with rows of both classes.
        level: confidence level in (0, 1).
    """
    tp, fp, tn, fn = _cells(counts)
    above, below = (tp, fp) if name == "positive_likelihood_ratio" else (fn, tn)
    added = not (above and below)
    if added:
        above, below = above + 0.5, below + 0.5
    m, n = tp + fn + added, tn + fp + added
    centre = math.log(above / m) - math.log(below / n)
    half = normal_quantile(level) * math.sqrt(1 / above - 1 / m + 1 / below - 1 / n)
    return math.exp(centre - half), math.exp(centre + half), added


def infinite_ratio(name: str, counts: Confusion, level: float, units: str) -> UndefinedEstimate:
    """A likelihood ratio that is infinite on these rows, with the bound that they do give.

    Args:
        name: "positive_likelihood_ratio" or "negative_likelihood_ratio".
        counts: at the threshold.
        level: confidence level in (0, 1).
        units: what a row is, in the plural.
    """
    low, _, _ = ratio_limits(name, counts, level)
    reason = f"{INFINITE[name].format(unit=units)}; above {low:.3g}"
    return UndefinedEstimate(reason, level, added_text("logarithmic", added=True))


def _cells(counts: Confusion) -> tuple[float, float, float, float]:
    return float(counts.tp), float(counts.fp), float(counts.tn), float(counts.fn)


def _halfadded_text(counts: Confusion) -> tuple[float, float, float, float]:
    return counts.tp + 0.5, counts.fp + 0.5, counts.tn + 0.5, counts.fn + 0.5


def added_text(method: str, added: bool) -> str:
    """A method's name, saying so where ½ was added to each cell."""
    return f"{method}, ½ added to each cell (a cell is 0)" if added else method


@each_count
def f1_score(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """Harmonic mean of sensitivity and PPV, 2 tp / (2 tp + fp + fn); it depends on prevalence.

    Args:
        counts: at the threshold.
        level: confidence level in (0, 1).

    Raises:
        UndefinedMetricError: no row is positive, and none is called so.
    """
    return _measure("f1_score", counts, level)


@each_count
def matthews_correlation(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """Correlation of call and label, in [-1, 1]. Arguments as in `f1_score`.

    Raises:
        UndefinedMetricError: one class only, or all rows are called alike.
    """
    return _measure("matthews_correlation", counts, level)


@each_count
def accuracy(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """Share of right calls; never quote it alone, for it rewards calling what is frequent.

    Raises:
        UndefinedMetricError: there are no rows.
    """
    return _measure("accuracy", counts, level)


@each_count
def balanced_accuracy(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """Mean of sensitivity and specificity: ½ by chance. Arguments as in `f1_score`.

    Raises:
        UndefinedMetricError: one class only.
    """
    return _measure("balanced_accuracy", counts, level)


@each_count
def youden_index(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """Sensitivity + specificity − 1: 0 by chance. Arguments as in `f1_score`.

    Raises:
        UndefinedMetricError: one class only.
    """
    return _measure("youden_index", counts, level)


@each_count
def positive_likelihood_ratio(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """How a positive call multiplies the odds: sensitivity / (1 − specificity).

    Raises:
        UndefinedMetricError: one class only, none called positive, or no false positive: then the
            ratio is infinite, and the message gives the bound that the rows do support.
    """
    return _measure("positive_likelihood_ratio", counts, level)


@each_count
def negative_likelihood_ratio(counts: Confusion, *, level: float = LEVEL) -> Estimate:
    """How a negative call multiplies the odds: (1 − sensitivity) / specificity.

    Raises:
        UndefinedMetricError: one class only, or no true negative.
    """
    return _measure("negative_likelihood_ratio", counts, level)


def _measure(name: str, counts: Confusion, level: float) -> Estimate:
    figure = decision_figures(counts, level=level)[name]
    if isinstance(figure, UndefinedEstimate):
        raise UndefinedMetricError(
            f"{name.replace('_', ' ')} is undefined at this threshold: {figure.reason}"
        )
    return figure
