"""How far are probabilities from what happened? The Brier score and Murphy's parts of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.by_finding import each_finding
from medres.metrics.calibration import (
    BINS,
    Binning,
    bin_columns,
    bootstrapped,
    check_bins,
    check_probabilities,
    count_outside,
)
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import RESAMPLES


@dataclass(frozen=True)
class BrierParts:
    """Murphy's parts over bins: score = reliability − resolution + uncertainty + within_bin.

    Attributes:
        score: the Brier score.
        reliability: mean squared distance of mean score and observed frequency; 0 is best.
        resolution: mean squared distance of observed frequency and prevalence; larger is better.
        uncertainty: prevalence × (1 − prevalence), the score of whoever always says the prevalence.
        within_bin: variance of the scores inside bins, less twice their covariance with the labels:
            what binning hides. The three classic parts alone add up only where a bin has one score.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float

    def as_json(self) -> dict[str, object]:
        """The parts as `evaluation.json` holds them."""
        return {
            "reliability": self.reliability,
            "resolution": self.resolution,
            "uncertainty": self.uncertainty,
            "within_bin": self.within_bin,
        }


@each_finding()
def brier_score(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean squared difference of probability and outcome: 0 perfect, p (1 − p) for a constant.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, probabilities in [0, 1].
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Returns:
        Estimate with value, low and high in [0, 1], by patient bootstrap (percentile).

    Raises:
        UndefinedMetricError: a score lies outside [0, 1].
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.

    References:
        Brier, Monthly Weather Review 78 (1950) 1-3, in the form for one event.
    """
    label, score = as_tensors(y_true, y_score)
    error = ((score - label) ** 2)[:, None]
    return bootstrapped(
        "Brier score",
        label,
        score,
        lambda w: w @ error / w.sum(-1, keepdim=True),
        level=level,
        patient_ids=patient_ids,
        resamples=resamples,
        seed=seed,
    )


@each_finding()
def brier_parts(
    y_true: ArrayLike, y_score: ArrayLike, *, bins: int = BINS, binning: Binning = "width"
) -> BrierParts:
    """Split the Brier score into reliability, resolution, uncertainty and what bins hide.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, probabilities in [0, 1].
        bins: how many.
        binning: of equal width or equal mass.

    Raises:
        UndefinedMetricError: a score lies outside [0, 1].
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; bins below 1.

    References:
        Murphy, J Appl Meteorol 12 (1973) 595-600; the fourth part: Stephenson, Coelho & Jolliffe,
        Weather and Forecasting 23 (2008) 752-757.
    """
    label, score = as_tensors(y_true, y_score)
    check_bins(bins, binning)
    outside = count_outside(score)
    sums = bin_columns(label, score, bins, binning).sum(0)
    squared = ((score - label) ** 2).mean()
    *parts, n_outside = read_back(label, score, squared, *murphy_parts(sums, squared), outside)
    check_probabilities("the Brier score", n_outside)
    return BrierParts(*parts)


def murphy_parts(bin_sums: Tensor, brier: Tensor) -> Tensor:
    """Reliability, resolution, uncertainty and the within-bin part from the sums of `bin_columns`.

    Args:
        bin_sums: (..., 3 × bins) counts, sums of scores, sums of labels.
        brier: (...) the Brier score of the same rows.

    Returns:
        (4, ...).
    """
    count, score, label = bin_sums.chunk(3, dim=-1)
    total = count.sum(-1)
    prevalence = label.sum(-1) / total
    share, held = count / total[..., None], count.clamp(min=1)
    reliability = (share * ((score - label) / held) ** 2).sum(-1)
    resolution = (share * (label / held - prevalence[..., None]) ** 2).sum(-1)
    uncertainty = prevalence * (1 - prevalence)
    within = brier - reliability + resolution - uncertainty
    return torch.stack([reliability, resolution, uncertainty, within])
