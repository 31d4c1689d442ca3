"""Is it worth acting on the model? Net benefit, and the interventions that it avoids.

At a threshold probability t, acting takes a false alarm to cost t / (1 − t) of a found finding.
Net benefit counts both in found findings per row, against acting on nobody (0) and on everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.by_finding import each_finding
from medres.metrics.calibration import check_probabilities, count_outside
from medres.metrics.estimate import LEVEL
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import PatientGroups, normal_quantile, patient_groups
from medres.metrics.sorted_scores import check_both_classes

THRESHOLDS = tuple(k / 100 for k in range(1, 100))


@dataclass(frozen=True)
class NetBenefit:
    """One quantity over the thresholds.

    Attributes:
        value: at each threshold.
        low: lower confidence limits.
        high: upper confidence limits.
    """

    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def as_json(self) -> dict[str, object]:
        """Lists, as `evaluation.json` holds them."""
        return {"value": list(self.value), "low": list(self.low), "high": list(self.high)}


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit of acting on the model's calls, on everybody, and on nobody (always 0).

    Attributes:
        threshold: threshold probabilities, in (0, 1).
        prevalence: that the benefit is for.
        model: net benefit of calling rows with score ≥ threshold, per row.
        all: net benefit of calling every row.
        avoided: interventions avoided per row against calling every row, at no loss of findings on
            balance; below 0 where the model does harm.
        level: confidence level of the limits, which hold at each threshold, not for all at once.
        method: of the limits.
    """

    threshold: tuple[float, ...]
    prevalence: float
    model: NetBenefit
    all: NetBenefit
    avoided: NetBenefit
    level: float
    method: str

    @property
    def standardized(self) -> tuple[float, ...]:
        """Net benefit of the model as a share of the largest possible, the prevalence.

        References:
            Kerr et al., J Clin Oncol 34 (2016) 2534-2540.
        """
        return tuple(value / self.prevalence for value in self.model.value)

    def as_json(self) -> dict[str, object]:
        """Lists, as `evaluation.json` holds them."""
        return {
            "threshold": list(self.threshold),
            "prevalence": self.prevalence,
            "model": self.model.as_json(),
            "all": self.all.as_json(),
            "avoided": self.avoided.as_json(),
            "standardized": list(self.standardized),
            "level": self.level,
            "method": self.method,
        }


def counts_at(y_true: Tensor, y_score: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """True and false positives where score ≥ threshold, exact with ties.

    Args:
        y_true: (N,) float64 in {0, 1}.
        y_score: the same shape, float64.
        thresholds: (T,) float64.

    Returns:
        tp and fp, (T,) float64.
    """
    order = y_score.argsort()
    ascending, label = y_score[order], y_true[order]
    positives = torch.cat([label.new_zeros(1), label.cumsum(0)])  # among the lowest 0, 1, …, N
    below = torch.searchsorted(ascending, thresholds)
    tp = positives[-1] - positives[below]
    return tp, (label.numel() - below).to(tp.dtype) - tp


@each_finding(own=("prevalence",))
def decision_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    prevalence: float | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
) -> DecisionCurve:
    """Net benefit over threshold probabilities, with intervals by the delta method.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, calibrated probabilities; others make the curve meaningless.
        thresholds: probabilities in (0, 1).
        prevalence: of the target population, in (0, 1), for rows that were sampled by label; None:
            that of these rows.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient. Variances are of sums
            over patients.

    Raises:
        UndefinedMetricError: one class only, or scores outside [0, 1].
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; a threshold
            or the prevalence outside (0, 1).

    References:
        Vickers & Elkin, Med Decis Making 26 (2006) 565-574; intervals: Marsh, Janes & Pepe,
        Biometrics 76 (2020) 843-852; interventions avoided: Vickers et al., BMC Med Inform Decis
        Mak 8 (2008) 53.
    """
    for name, share in [("prevalence", prevalence), *(("threshold", t) for t in thresholds)]:
        if share is not None and not 0 < share < 1:
            raise MetricInputError(f"{name} {share}; give a share strictly between 0 and 1")
    label, score = as_tensors(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    outside = count_outside(score)
    n_outside, m = read_back(label, score, outside, label.sum())
    check_probabilities("the decision curve", n_outside)
    check_both_classes("the decision curve", int(m), label.numel() - int(m))
    at = torch.tensor(thresholds, dtype=score.dtype, device=score.device)
    model, everyone, avoided = curve_figures(label, score, patients, at, prevalence, level)
    method = "delta method" + (", clustered by patient" if patients.repeated else "")
    return DecisionCurve(
        tuple(float(t) for t in thresholds),
        m / label.numel() if prevalence is None else prevalence,
        model,
        everyone,
        avoided,
        level,
        f"{method}; pointwise",
    )


def curve_figures(
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    thresholds: Tensor,
    prevalence: float | None,
    level: float,
) -> tuple[NetBenefit, NetBenefit, NetBenefit]:
    """Net benefit of the model and of everybody, and interventions avoided."""
    odds = thresholds / (1 - thresholds)
    everybody = torch.full_like(thresholds, -torch.inf)
    return (
        _figure(y_true, y_score, patients, thresholds, odds, prevalence, level, called=True),
        _figure(y_true, y_score, patients, everybody, odds, prevalence, level, called=True),
        _figure(y_true, y_score, patients, thresholds, odds, prevalence, level, called=False),
    )


def _figure(
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    thresholds: Tensor,
    odds: Tensor,
    prevalence: float | None,
    level: float,
    *,
    called: bool,
) -> NetBenefit:
    """Benefit of the rows at or above the thresholds, false ones weighing −odds.

    Or, where not `called`, interventions avoided: the negatives among the other rows, less the
    positives that are missed for them.
    """
    tp, fp = counts_at(y_true, y_score, thresholds)
    m = y_true.sum()
    n = y_true.numel() - m
    counts = (tp, fp) if called else (m - tp, n - fp)
    up, down = _shares(*counts, m, n, prevalence)
    error = _error(y_true, y_score, patients, thresholds, counts, odds, prevalence, called=called)
    if called:
        return _limits(up - odds * down, error, odds, patients.n, level)
    return _limits(down - up / odds, error / odds, 1 / odds, patients.n, level)


def _shares(
    positives: Tensor, negatives: Tensor, m: Tensor, n: Tensor, prevalence: float | None
) -> tuple[Tensor, Tensor]:
    """Counts of each class as shares of the target population."""
    if prevalence is None:
        return positives / (m + n), negatives / (m + n)
    return positives / m * prevalence, negatives / n * (1 - prevalence)


def _error(
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    thresholds: Tensor,
    counts: tuple[Tensor, Tensor],
    odds: Tensor,
    prevalence: float | None,
    *,
    called: bool,
) -> Tensor:
    """(T,) standard error of share of positives − odds · share of negatives, among some rows."""
    (a, b), m = counts, y_true.sum()
    total = y_true.numel()
    n = total - m
    if not patients.repeated:
        if prevalence is None:
            mean = (a - odds * b) / total
            return ((a + odds**2 * b) / total - mean**2).clamp(min=0).div(total).sqrt()
        up, down = a / m, b / n
        of_up = prevalence**2 * up * (1 - up) / m
        return (of_up + (odds * (1 - prevalence)) ** 2 * down * (1 - down) / n).sqrt()
    # What each row moves the figure by, summed over the patient's rows: one threshold at a time,
    # so that memory stays that of the scores.
    errors = []
    for k in range(thresholds.numel()):
        inside = ((y_score >= thresholds[k]) == called).to(y_true.dtype)
        if prevalence is None:
            mean = (a[k] - odds[k] * b[k]) / total
            moved = (inside * (y_true - odds[k] * (1 - y_true)) - mean) / total
        else:
            up, down = a[k] / m, b[k] / n
            moved = prevalence * y_true * (inside - up) / m
            moved = moved - odds[k] * (1 - prevalence) * (1 - y_true) * (inside - down) / n
        sums = moved.new_zeros(patients.n).index_add_(0, patients.index, moved)
        errors.append((sums**2).sum().sqrt())
    return torch.stack(errors)


def _limits(
    value: Tensor,
    error: Tensor,
    down: Tensor,
    n_patients: int,
    level: float,
) -> NetBenefit:
    """Normal limits; where no patient stands behind the figure, the rule of three instead.

    Without a called row there is no variance, but elsewhere a share of up to 1 − (1 − level)^(1/n)
    of the patients may be called, and each moves the figure up by 1 or down by `down`.
    """
    z = normal_quantile(level)
    rare = 1 - (1 - level) ** (1 / n_patients)
    still = error <= 0
    low = torch.where(still, value - rare * down, value - z * error)
    high = torch.where(still, value + rare, value + z * error)
    table = torch.stack([value, low, high]).tolist()
    return NetBenefit(*(tuple(row) for row in table))
