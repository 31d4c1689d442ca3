"""Decisions at a threshold: who is called positive, how often that is right, and where to draw it.

A row is called positive where score ≥ threshold. A threshold is chosen on validation, locked into
the model, and never chosen again on the data that it is reported for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.by_finding import each_count, each_finding
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import clopper_pearson, wilson
from medres.metrics.sorted_scores import check_both_classes, cumulative_counts, rank_scores

ThresholdRule = Literal["youden", "sensitivity_at_least", "specificity_at_least", "cost"]
TargetBy = Literal["lower_bound", "observed"]
ProportionMethod = Literal["Wilson", "Clopper-Pearson"]


@dataclass(frozen=True)
class Threshold:
    """A decision threshold and where it comes from.

    Attributes:
        value: a row is called positive where score ≥ value.
        rule: how it was chosen, in words: "Youden index on validation".
        n: rows that it was chosen on; 0 for a threshold set by hand.
    """

    value: float
    rule: str
    n: int

    def as_json(self) -> dict[str, object]:
        """The threshold as `evaluation.json` holds it."""
        return {"value": self.value, "rule": self.rule, "n": self.n}


@dataclass(frozen=True)
class Confusion:
    """The four counts at a threshold.

    Attributes:
        tp: positives called positive.
        fp: negatives called positive.
        tn: negatives called negative.
        fn: positives called negative.
    """

    tp: int
    fp: int
    tn: int
    fn: int

    def as_json(self) -> dict[str, object]:
        """The counts as `evaluation.json` holds them."""
        return {"tp": self.tp, "fp": self.fp, "tn": self.tn, "fn": self.fn}


@each_finding(own=("threshold",))
def confusion(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> Confusion:
    """Count decisions at a threshold.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; called positive where score ≥ threshold.
        threshold: on the scale of the scores.

    Raises:
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.
    """
    label, score = as_tensors(y_true, y_score)
    tp, fp, tn, fn = read_back(label, score, *decision_indicators(label, score, threshold).sum(0))
    return Confusion(int(tp), int(fp), int(tn), int(fn))


def decision_indicators(y_true: Tensor, y_score: Tensor, threshold: float) -> Tensor:
    """(N, 4) float64 in {0, 1}: whether each row is a tp, fp, tn, fn."""
    called = (y_score >= threshold).to(y_true.dtype)
    missed = 1 - called
    absent = 1 - y_true
    return torch.stack([called * y_true, called * absent, missed * absent, missed * y_true], dim=1)


def decision_counts(y_true: Tensor, y_score: Tensor, thresholds: Tensor) -> Tensor:
    """The four counts of several findings at once, without a wait for the device.

    Args:
        y_true: (N,) or (N, F) labels: 0, 1, or NaN = missing, which is counted nowhere.
        y_score: the same shape; called positive where score ≥ threshold.
        thresholds: 0-dimensional or (F,).

    Returns:
        (4,) or (4, F) float64: tp, fp, tn, fn, as `decision_measures.measures` takes them.
    """
    called, present, absent = y_score >= thresholds, y_true == 1, y_true == 0
    cells = (called & present, called & absent, ~called & absent, ~called & present)
    return torch.stack([cell.sum(0) for cell in cells]).to(torch.float64)


@each_count
def sensitivity(
    counts: Confusion, *, level: float = LEVEL, method: ProportionMethod = "Wilson"
) -> Estimate:
    """Share of positives that are called: tp / (tp + fn).

    Args:
        counts: at the threshold.
        level: confidence level in (0, 1).
        method: of the interval. Wilson is closest to its level on average, Clopper-Pearson never
            covers less.

    Raises:
        UndefinedMetricError: no row is positive.
    """
    return _proportion("sensitivity", counts.tp, counts.tp + counts.fn, level, method)


@each_count
def specificity(
    counts: Confusion, *, level: float = LEVEL, method: ProportionMethod = "Wilson"
) -> Estimate:
    """Share of negatives that are not called: tn / (tn + fp). Arguments as in `sensitivity`.

    Raises:
        UndefinedMetricError: no row is negative.
    """
    return _proportion("specificity", counts.tn, counts.tn + counts.fp, level, method)


@each_count
def ppv(
    counts: Confusion, *, level: float = LEVEL, method: ProportionMethod = "Wilson"
) -> Estimate:
    """Positive predictive value tp / (tp + fp), at the prevalence of these rows.

    Arguments as in `sensitivity`.

    Raises:
        UndefinedMetricError: no row is called positive.
    """
    return _proportion("ppv", counts.tp, counts.tp + counts.fp, level, method)


@each_count
def npv(
    counts: Confusion, *, level: float = LEVEL, method: ProportionMethod = "Wilson"
) -> Estimate:
    """Negative predictive value tn / (tn + fn), at the prevalence of these rows.

    Arguments as in `sensitivity`.

    Raises:
        UndefinedMetricError: no row is called negative.
    """
    return _proportion("npv", counts.tn, counts.tn + counts.fn, level, method)


UNDEFINED_BECAUSE = {
    "prevalence": "no labelled {unit}",
    "sensitivity": "no positive {unit}",
    "specificity": "no negative {unit}",
    "ppv": "no {unit} called positive",
    "npv": "no {unit} called negative",
}
"""Why a proportion has no denominator, for a report; `unit` is a plural such as "patients"."""


def _proportion(
    name: str, successes: int, total: int, level: float, method: ProportionMethod
) -> Estimate:
    if total == 0:
        raise UndefinedMetricError(
            f"{name} is undefined at this threshold: {UNDEFINED_BECAUSE[name].format(unit='rows')}"
        )
    interval = wilson if method == "Wilson" else clopper_pearson
    return interval(successes, total, level)


@each_finding()
def choose_threshold(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    rule: ThresholdRule = "youden",
    target: float | None = None,
    target_by: TargetBy = "lower_bound",
    miss_cost: float | None = None,
    prevalence: float | None = None,
    level: float = LEVEL,
    split: str = "validation",
) -> Threshold:
    """Choose a threshold from labelled scores: those of validation, never of the test set.

    A threshold decides between two neighbouring distinct scores and is put half-way between them,
    so that neither rounding nor a hair's difference on another machine flips a row; below the
    lowest score there is no neighbour, and the lowest score itself is taken. Where several are
    equally good, the lowest (most sensitive) is: a missed finding costs more than a false alarm.

    By its lower bound, a rate reaches the target with confidence `level`: Clopper & Pearson's
    one-sided limit does. Rates are monotone in the threshold, so that this holds for the threshold
    that is picked too, although it was picked from the same rows: to overshoot, it must lie beyond
    the true one, where the bound would have to exceed the target as well.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        rule: "youden": the largest sensitivity + specificity − 1. "sensitivity_at_least": the
            highest threshold at which the sensitivity reaches `target`. "specificity_at_least": the
            lowest at which the specificity does. "cost": the least expected cost.
        target: in (0, 1], for the two fixed rates only.
        target_by: whether the target is to be reached by the rate's lower confidence bound or
            (hardly more than an even chance of holding elsewhere) by the observed rate.
        miss_cost: of a missed finding, in false alarms, above 0; for "cost" only.
        prevalence: at which costs arise, in (0, 1); None: that of these rows. For "cost" only.
        level: confidence of the lower bound, one-sided, in (0, 1).
        split: where the scores come from, for `Threshold.rule`.

    Raises:
        UndefinedMetricError: y_true holds one class only, or too few rows for the lower bound of
            any threshold to reach the target; the message says how many it takes.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; an unknown
            rule; a target, cost or prevalence that is missing, superfluous or out of range.

    References:
        Youden, Cancer 3 (1950) 32-35; cost: Metz, Semin Nucl Med 8 (1978) 283-298.
    """
    _check_rule(rule, target, target_by, miss_cost, prevalence)
    label, score = as_tensors(y_true, y_score)
    ranked = rank_scores(label, score)
    tp, fp = cumulative_counts(ranked)
    m, n = read_back(label, score, tp[-1], fp[-1])
    check_both_classes("a threshold", int(m), int(n))
    last_called = _last_called(
        tp, fp, m, n, rule=rule, target=target or 1, target_by=target_by, level=level,
        cost=miss_cost or 1, prevalence=prevalence,
    )  # fmt: skip
    text = {
        "youden": "Youden index",
        "sensitivity_at_least": _target_text("sensitivity", target, target_by, level),
        "specificity_at_least": _target_text("specificity", target, target_by, level),
        "cost": _cost_text(miss_cost, prevalence),
    }[rule]
    value = _below(ranked.y_score, last_called)
    return Threshold(float(value), f"{text} on {split}", label.numel())


def _last_called(
    tp: Tensor,
    fp: Tensor,
    m: float,
    n: float,
    *,
    rule: ThresholdRule,
    target: float,
    target_by: TargetBy,
    level: float,
    cost: float,
    prevalence: float | None,
) -> Tensor:
    """Position of the last row, by descending score, that the rule calls; −1 for none."""
    if rule == "youden":
        # J m n, in integers: as a difference of two rates, equal thresholds would differ by 1e-17.
        gain = tp * n - fp * m
        return _last(gain == gain.max())
    if rule == "sensitivity_at_least":
        needed = _needed("sensitivity", target, int(m), target_by, level)
        first = torch.where(tp >= needed, _positions(tp), tp.numel() - 1).min()
        return _last((tp == tp[first]) & (fp == fp[first]))
    if rule == "specificity_at_least":
        return _last(n - fp >= _needed("specificity", target, int(n), target_by, level))
    odds = m / n if prevalence is None else prevalence / (1 - prevalence)
    gain = cost * odds * n / m * tp - fp  # against calling none, in false alarms
    best = gain.max().clamp(min=0) - 1e-9  # of a false alarm: odds are no exact numbers
    return _last(gain >= best)


def _positions(like: Tensor) -> Tensor:
    return torch.arange(like.numel(), device=like.device)


def _last(where: Tensor) -> Tensor:
    """The last position where a condition holds, −1 if none."""
    return torch.where(where, _positions(where), -1).max()


def _needed(rate: str, target: float, total: int, target_by: TargetBy, level: float) -> float:
    """How many of `total` rows must be right for the rate to reach its target."""
    if target_by == "observed":
        return target * total - 1e-9  # of a row: 0.95 × 20 is 19, whatever its last bit
    from scipy.stats import binom  # late: half a second

    # Clopper & Pearson's lower limit reaches the target where P(X ≥ k | target) ≤ 1 − level.
    needed = int(binom.isf(1 - level, total, target)) + 1
    if needed > total:
        enough = math.ceil(math.log(1 - level) / math.log(target)) if target < 1 else None
        rows = "positive" if rate == "sensitivity" else "negative"
        remedy = (
            f"it takes {enough} {rows} rows at the least" if enough else "no number of rows can"
        )
        raise UndefinedMetricError(
            f"a threshold with a {rate} of at least {target:g} by its lower bound is undefined: "
            f"{total} {rows} rows cannot show that, {remedy}; lower the target, or choose by the "
            "observed rate"
        )
    return float(needed)


def _target_text(rate: str, target: float | None, target_by: TargetBy, level: float) -> str:
    by = f" by its lower {level:.0%} bound" if target_by == "lower_bound" else ""
    return f"{rate} of at least {target or 1:g}{by}"


def _cost_text(miss_cost: float | None, prevalence: float | None) -> str:
    where = "" if prevalence is None else f" at prevalence {prevalence:g}"
    return f"least cost, a miss counting as {miss_cost or 1:g} false alarms{where},"


def _below(descending: Tensor, last_called: Tensor) -> Tensor:
    """The value half-way between a score and the next lower one, safe against rounding.

    Where none is called (−1), the next number above the highest score.
    """
    above = torch.nextafter(descending[:1], torch.full_like(descending[:1], torch.inf))
    padded = torch.cat([above, descending])
    score = padded[last_called + 1]
    lower = padded[(last_called + 2).clamp(max=descending.numel())]
    middle = lower + (score - lower) / 2
    middle = torch.where(middle > lower, middle, score)
    return torch.where(last_called < 0, score, middle)


def _check_rule(
    rule: str,
    target: float | None,
    target_by: str,
    miss_cost: float | None,
    prevalence: float | None,
) -> None:
    if rule not in get_args(ThresholdRule):
        rules = ", ".join(get_args(ThresholdRule))
        raise MetricInputError(f"threshold rule {rule!r} is unknown; choose one of {rules}")
    if target_by not in get_args(TargetBy):
        raise MetricInputError(f"target_by {target_by!r}; choose 'lower_bound' or 'observed'")
    if rule.endswith("at_least"):
        if not 0 < (target or 0.0) <= 1:
            raise MetricInputError(
                f"rule {rule!r} got target={target}; give a share above 0 and up to 1, such as 0.95"
            )
    elif target is not None:
        raise MetricInputError(
            f"a target belongs to the rules with a fixed rate; the rule {rule!r} has none"
        )
    if rule == "cost":
        if not 0 < (miss_cost or 0.0) < math.inf:
            raise MetricInputError(
                f"rule 'cost' got miss_cost={miss_cost}; give how many false alarms a missed "
                "finding is worth, above 0, such as 10"
            )
        if prevalence is not None and not 0 < prevalence < 1:
            raise MetricInputError(f"prevalence {prevalence}; give a share between 0 and 1")
    elif miss_cost is not None or prevalence is not None:
        raise MetricInputError(f"miss_cost and prevalence belong to rule 'cost', not to {rule!r}")
