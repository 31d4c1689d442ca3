"""Does the model overstate or understate risk? Calibration slope, intercept, and in the large.

The labels are regressed on the logits of the scores. Slope 1 and intercept 0: probabilities are
right on average at every height. Slope below 1: too extreme (overfitted). In the large: whether
the mean is right, whatever the slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medres.errors import UndefinedMetricError
from medres.metrics.by_finding import each_finding
from medres.metrics.calibration import check_probabilities, count_outside
from medres.metrics.estimate import LEVEL, Estimate, Figure, UndefinedEstimate
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import PatientGroups, normal_quantile, patient_groups
from medres.metrics.logistic import fit_intercept, fit_line, separated

NEAREST = 2.0**-24
"""Scores of 0 and 1 have no finite logit; they are taken this far inside, float32's own distance
from 1, so that a score that merely rounded to 1 keeps its weight."""

NAMES = ("calibration_slope", "calibration_intercept", "calibration_in_the_large")


@dataclass(frozen=True)
class CalibrationLine:
    """Logistic recalibration of the scores.

    Attributes:
        slope: of the labels' log-odds on the scores' logits; 1 is ideal, below 1 too extreme.
        intercept: of the same line; 0 is ideal.
        in_the_large: the intercept where the slope is held at 1; below 0: risk is overstated.
    """

    slope: Estimate
    intercept: Estimate
    in_the_large: Estimate


def logits_of(y_score: Tensor) -> Tensor:
    """(...) finite logits of probabilities, those of 0 and 1 taken `NEAREST` inside."""
    return torch.logit(y_score.to(torch.float64).clamp(NEAREST, 1 - NEAREST))


def line_coefficients(y_true: Tensor, logit: Tensor, patients: PatientGroups) -> Tensor:
    """Slope, intercept and in-the-large intercept, each with its standard error.

    Standard errors are the inverse information's where each row is a patient, else the sandwich
    over patients, whose rows are not independent (Liang & Zeger, Biometrika 73 (1986) 13-22).

    Args:
        y_true: (N,) float64 in {0, 1}.
        logit: (N,) float64.
        patients: the patient of each row.

    Returns:
        (7,) slope, intercept, in the large, their standard errors in that order, and 1 where no
        finite line fits (the classes are parted by a cut, or absent).
    """
    column, z, weight = y_true[:, None], logit[:, None], torch.ones_like(y_true)[:, None]
    intercept, slope = fit_line(column, z, weight)
    large = fit_intercept(column, z, weight)
    line_error = _standard_errors(y_true, intercept + slope * logit, logit, patients)
    large_error = _standard_errors(y_true, large + logit, None, patients)
    unfit = separated(column, z, weight).to(torch.float64)
    return torch.cat([slope, intercept, large, line_error.flip(0), large_error, unfit])


def _standard_errors(
    y_true: Tensor, line: Tensor, logit: Tensor | None, patients: PatientGroups
) -> Tensor:
    """(K,) of the intercept and, with logits, the slope."""
    p = torch.sigmoid(line)
    one = torch.ones_like(p)
    design = torch.stack([one] if logit is None else [one, logit], dim=1)
    information = design.T @ (design * (p * (1 - p))[:, None])
    # Pseudo-inverse: parted classes are to end in a flag, not in an exception.
    inverse: Tensor = torch.linalg.pinv(information, hermitian=True)
    if not patients.repeated:
        return inverse.diagonal().clamp(min=0).sqrt()
    scores = design * (p - y_true)[:, None]
    by_patient = scores.new_zeros((patients.n, design.shape[1])).index_add_(
        0, patients.index, scores
    )
    meat = by_patient.T @ by_patient * (patients.n / max(patients.n - 1, 1))
    sandwich: Tensor = inverse @ meat @ inverse
    return sandwich.diagonal().clamp(min=0).sqrt()


@each_finding()
def calibration_line(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
) -> CalibrationLine:
    """Calibration slope, intercept and calibration in the large, with Wald's intervals.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, probabilities in [0, 1]; 0 and 1 are taken 2^-24 inside.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient. Where patients repeat,
            standard errors are clustered by patient.

    Raises:
        UndefinedMetricError: one class only, scores that part the classes (ever steeper lines fit
            better) or are all equal, or scores outside [0, 1].
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.

    References:
        Cox, Biometrika 45 (1958) 562-565; Van Calster et al., J Clin Epidemiol 74 (2016) 167-176.
    """
    label, score = as_tensors(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    outside = count_outside(score)
    figures = read_back(
        label, score, outside, *line_coefficients(label, logits_of(score), patients)
    )
    check_probabilities("the calibration line", figures[0])
    slope, intercept, large = line_figures(figures[1:], patients, level)
    if (
        isinstance(slope, UndefinedEstimate)
        or isinstance(intercept, UndefinedEstimate)
        or isinstance(large, UndefinedEstimate)
    ):
        reason = next(f.reason for f in (large, slope) if isinstance(f, UndefinedEstimate))
        raise UndefinedMetricError(f"the calibration line is undefined: {reason}")
    return CalibrationLine(slope, intercept, large)


def line_figures(
    coefficients: list[float],
    patients: PatientGroups,
    level: float = LEVEL,
    units: str = "rows",
) -> tuple[Figure, Figure, Figure]:
    """Slope, intercept and in the large as figures, from `line_coefficients` read back.

    Args:
        coefficients: (7,) numbers.
        patients: the patient of each row.
        level: confidence level in (0, 1).
        units: what a row is, in the plural, for reasons.
    """
    method = "Wald, clustered by patient" if patients.repeated else "Wald"
    z = normal_quantile(level)

    def figure(k: int) -> Estimate:
        value, half = coefficients[k], z * coefficients[3 + k]
        return Estimate(value, value - half, value + half, level, method)

    large: Figure = (
        UndefinedEstimate(f"{units} of one class only", level, method)
        if coefficients[2] != coefficients[2]
        else figure(2)
    )
    if coefficients[6]:
        reason = f"scores that part the classes or are all equal, or {units} of one class only"
        nothing = UndefinedEstimate(reason, level, method)
        return nothing, nothing, large
    return figure(0), figure(1), large
