"""Sensitivity where the specificity is held at a value, and the reverse.

The threshold that holds the rate is estimated from the same rows, and its uncertainty is part of
the interval: a Wilson interval at that threshold would be too short.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.by_finding import each_finding
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import (
    RESAMPLES,
    normal_quantile,
    patient_bootstrap,
    patient_groups,
)
from medres.metrics.sorted_scores import check_both_classes, cumulative_counts, rank_scores

Rate = Literal["sensitivity", "specificity"]


def rate_at(wanted: Rate, tp: Tensor, fp: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """The most rows of one class that are right while the other class's rate reaches a target.

    Args:
        wanted: "sensitivity", at a specificity of at least `target`; or the reverse.
        tp: (..., N) cumulative true positives, from the highest score down.
        fp: (..., N) cumulative false positives.
        target: of the other rate, in (0, 1].

    Returns:
        Right rows of the wanted class and how many it has, (...) float64 each.
    """
    tp, fp = tp.to(torch.float64), fp.to(torch.float64)
    m, n = tp[..., -1], fp[..., -1]
    if wanted == "sensitivity":
        # 1e-9 of a row: 0.95 × 20 is 19, whatever its last bit. Calling none holds any specificity.
        held = n[..., None] - fp >= target * n[..., None] - 1e-9
        return (tp * held).amax(-1), m
    held = tp >= target * m[..., None] - 1e-9
    return n - torch.where(held, fp, n[..., None]).amin(-1), n


@each_finding()
def sensitivity_at_specificity(
    y_true: ArrayLike,
    y_score: ArrayLike,
    specificity: float,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The highest sensitivity of any threshold whose specificity reaches a value.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        specificity: in (0, 1].
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Returns:
        Estimate in [0, 1], with Zhou and Qin's second bootstrap interval (BTII): mean ± z standard
        deviations of the resampled proportion with z²/2 added to each of its counts.

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; a specificity
            outside (0, 1].

    References:
        Zhou & Qin, Stat Med 24 (2005) 465-477.
    """
    return _estimate(
        "sensitivity", y_true, y_score, specificity, level, patient_ids, resamples, seed
    )


@each_finding()
def specificity_at_sensitivity(
    y_true: ArrayLike,
    y_score: ArrayLike,
    sensitivity: float,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The highest specificity of any threshold whose sensitivity reaches a value.

    Arguments, result and errors as in `sensitivity_at_specificity`, the rates exchanged.
    """
    return _estimate(
        "specificity", y_true, y_score, sensitivity, level, patient_ids, resamples, seed
    )


def _estimate(
    wanted: Rate,
    y_true: ArrayLike,
    y_score: ArrayLike,
    target: float,
    level: float,
    patient_ids: ArrayLike | None,
    resamples: int,
    seed: int,
) -> Estimate:
    if not 0 < target <= 1:
        other = "specificity" if wanted == "sensitivity" else "sensitivity"
        raise MetricInputError(f"{other} {target}; give a share above 0 and up to 1, such as 0.9")
    label, score = as_tensors(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    ranked = rank_scores(label, score)
    tp, fp = cumulative_counts(ranked)
    right, total, m, n = read_back(label, score, *rate_at(wanted, tp, fp, target), tp[-1], fp[-1])
    check_both_classes(f"{wanted} at a fixed rate", int(m), int(n))
    ranked, drawn = ranked.drop_repeats(), patients.index[ranked.order]
    added = normal_quantile(level) ** 2 / 2

    def adjusted(weights: Tensor) -> Tensor:
        k, of = rate_at(wanted, *cumulative_counts(ranked, weights.index_select(1, drawn)), target)
        return ((k + added) / (of + 2 * added))[:, None]

    samples = patient_bootstrap(adjusted, patients, resamples=resamples, seed=seed)
    return rate_at_estimate(right / total, samples[:, 0], level)


def rate_at_estimate(value: float, adjusted: Tensor, level: float = LEVEL) -> Estimate:
    """Zhou and Qin's BTII interval from resamples of the adjusted proportion.

    Args:
        value: on the rows at hand.
        adjusted: (resamples,) proportions with z²/2 added to both counts.
        level: confidence level in (0, 1).
    """
    half = normal_quantile(level) * float(adjusted.std())
    centre = float(adjusted.mean())
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    method = f"patient bootstrap (BTII), {adjusted.numel()} resamples"
    return Estimate(value, min(low, value), max(high, value), level, method)
