"""AUROC over the part of the curve that is used: few false alarms, or high sensitivity."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from medres.errors import MetricInputError
from medres.metrics.auroc_intervals import pairs_bound
from medres.metrics.by_finding import each_finding
from medres.metrics.estimate import LEVEL, Estimate, few_note
from medres.metrics.inputs import ArrayLike, as_rows, as_tensors, count_strange, read_back
from medres.metrics.intervals import (
    BOOTSTRAP_NEEDS,
    RESAMPLES,
    bootstrap_estimate,
    normal_quantile,
    patient_bootstrap,
    patient_groups,
    percentile_intervals,
)
from medres.metrics.ranking import patients_by_class
from medres.metrics.sorted_scores import (
    check_both_classes,
    cumulative_counts,
    rank_scores,
)

Range = tuple[float, float]

NEAREST = 1e-4
"""Resampled areas of 0 and of the largest have no finite logit; they are taken this far inside."""


def partial_area(tp: Tensor, fp: Tensor, low: float, high: float, *, standardised: bool) -> Tensor:
    """Area under the ROC curve, drawn as straight lines, between two false-positive rates.

    Args:
        tp: (..., N) cumulative true positives; N ≥ 1.
        fp: (..., N) cumulative false positives.
        low: lower false-positive rate.
        high: upper false-positive rate.
        standardised: scale to ½ for chance and 1 for the best (McClish); else the plain area.

    Returns:
        (...) float64; NaN where a class is absent.
    """
    y, x = (
        pad(counts.to(torch.float64), (1, 0)) / counts[..., -1:].to(torch.float64)
        for counts in (tp, fp)
    )
    x0, x1, y0, y1 = x[..., :-1], x[..., 1:], y[..., :-1], y[..., 1:]
    width = x1 - x0
    slope = torch.where(width > 0, (y1 - y0) / width, 0.0)
    left, right = x0.clamp(low, high), x1.clamp(low, high)
    middle = y0 + slope * ((left + right) / 2 - x0)
    area = ((right - left) * middle).sum(-1)
    if not standardised:
        return area
    chance, best = (high**2 - low**2) / 2, high - low
    return (1 + (area - chance) / (best - chance)) / 2


def partial_auroc_tensor(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    false_positive_rate: Range | None = None,
    sensitivity: Range | None = None,
    standardised: bool = True,
) -> Tensor:
    """Partial AUROC of one or several findings, without a wait for the device.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing and left out of its finding.
        y_score: the same shape, finite where the label is given.
        false_positive_rate: as in `partial_auroc`.
        sensitivity: as in `partial_auroc`.
        standardised: as in `partial_auroc`.

    Returns:
        0-dimensional or (F,) float64; NaN where a class is absent, a label is neither 0, 1 nor NaN,
        or a score is not finite.
    """
    low, high, mirrored = _range(false_positive_rate, sensitivity)
    label, score = as_rows(y_true, y_score)
    rows = (1 - label, -score) if mirrored else (label, score)
    tp, fp = cumulative_counts(rank_scores(*rows))
    area = partial_area(tp, fp, low, high, standardised=standardised)
    return area.masked_fill(count_strange(label, score).sum(-1) > 0, torch.nan)


@each_finding()
def partial_auroc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    false_positive_rate: Range | None = None,
    sensitivity: Range | None = None,
    standardised: bool = True,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """AUROC over a range of false-positive rates, or of sensitivities, by patient bootstrap.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious. Any monotone scale.
        false_positive_rate: from and to, such as (0, 0.1): sensitivity averaged over it.
        sensitivity: from and to, such as (0.9, 1): specificity averaged over it. Give one of both.
        standardised: scale to ½ for chance and 1 for the best, as the AUROC is; else the plain
            area, at most the width of the range.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Returns:
        Estimate; a standardised value can fall below 0 for a curve far below the diagonal.

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: no range or both, a range outside 0 ≤ from < to ≤ 1; shapes differ, a
            label not 0, 1 or NaN, a score not finite.

    References:
        McClish, Med Decis Making 9 (1989) 190-195, equation 4; over sensitivities: Jiang, Metz &
        Nishikawa, Radiology 201 (1996) 745-750.
    """
    low, high, mirrored = _range(false_positive_rate, sensitivity)
    label, score = as_tensors(y_true, y_score)
    # Specificity over sensitivity is the ROC curve of the absence of the finding.
    ranked = rank_scores(*((1 - label, -score) if mirrored else (label, score)))
    tp, fp = cumulative_counts(ranked)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    by_class = patients_by_class(label, patients.index, patients.n)
    whole = partial_area(tp, fp, low, high, standardised=standardised)
    figures = read_back(label, score, whole, label.sum(), (1 - label).sum(), *by_class)
    value, m, n, m_patients, n_patients = figures
    check_both_classes("the partial AUROC", int(m), int(n))
    ranked, drawn = ranked.drop_repeats(), patients.index[ranked.order]

    def statistic(weights: Tensor) -> Tensor:
        counts = cumulative_counts(ranked, weights.index_select(1, drawn))
        return partial_area(*counts, low, high, standardised=standardised)[:, None]

    samples = patient_bootstrap(statistic, patients, resamples=resamples, seed=seed)[:, 0]
    most = 1.0 if standardised else high - low
    return partial_auroc_estimate(value, samples, most, int(m_patients), int(n_patients), level)


def partial_auroc_estimate(
    value: float, samples: Tensor, most: float, m: int, n: int, level: float = LEVEL
) -> Estimate:
    """The patient bootstrap's interval of a partial area: its deviation on the logit scale.

    Few rows lie in the range, the area is skewed for it, and percentiles fall short: .90 with 50
    patients of each class and false-positive rates up to .1, where this covers .94
    (docs/coverage.md). Where all resamples agree, as at the largest area, a bound from disjoint
    pairs stands in, as for an AUROC of 1 or 0; an area below 0, which has no logit, has
    percentiles.

    Args:
        value: on the rows at hand.
        samples: (resamples,) areas of the patient bootstrap, NaN where one class only was drawn.
        most: the largest area: 1 if standardised, else the width of the range.
        m: patients with a positive row.
        n: patients with a negative row.
        level: confidence level in (0, 1).
    """
    note = few_note(m, n, BOOTSTRAP_NEEDS)
    (drawn,) = percentile_intervals(samples[:, None], level)
    if drawn.low is not None and drawn.high is not None and drawn.high - drawn.low < 1e-9:
        best = value >= most - 1e-9
        bound = pairs_bound(float(best), m, n, level)
        low = bound.low * most if best else min(value, 0.0)
        high = value if best else value + (most - value) * bound.high
        return replace(bound, value=value, low=low, high=high, note=note)
    if drawn.low is None or not 0 < value < most:
        estimate = bootstrap_estimate(value, drawn, level, (0.0, most), note)
        return replace(estimate, low=min(estimate.low, value), high=max(estimate.high, value))
    logits = torch.logit((samples / most).clamp(NEAREST, 1 - NEAREST))
    half = normal_quantile(level) * float(logits[~logits.isnan()].std(correction=0))
    centre = math.log(value / (most - value))
    low, high = (most / (1 + math.exp(-(centre + h))) for h in (-half, half))
    return Estimate(value, low, high, level, f"{drawn.method}, logit scale", note)


def _range(
    false_positive_rate: Range | None, sensitivity: Range | None
) -> tuple[float, float, bool]:
    """The range as false-positive rates, and whether they are those of the mirrored problem."""
    chosen = false_positive_rate or sensitivity
    if chosen is None or (false_positive_rate and sensitivity):
        raise MetricInputError(
            "give one range, false_positive_rate=(0, 0.1) or sensitivity=(0.9, 1), not both or none"
        )
    low, high = chosen
    if not 0 <= low < high <= 1:
        raise MetricInputError(f"the range {low} to {high}; give 0 ≤ from < to ≤ 1")
    return (1 - high, 1 - low, True) if sensitivity else (low, high, False)
