"""Decisions at a threshold: who is called positive, how often that is right, and where to draw it.

A row is called positive where score ≥ threshold. A threshold is chosen on validation, locked into
the model, and never chosen again on the data that it is reported for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_columns, read_back
from medres.metrics.intervals import clopper_pearson, wilson
from medres.metrics.ranking import check_both_classes, cumulative_counts, rank_scores

ThresholdRule = Literal["youden", "sensitivity_at_least"]
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


def confusion(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> Confusion:
    """Count decisions at a threshold.

    Args:
        y_true: (N,) in {0, 1}; 1 = finding present.
        y_score: (N,) finite; called positive where score ≥ threshold.
        threshold: on the scale of the scores.

    Raises:
        MetricInputError: shapes differ, a label is not 0 or 1, a score is not finite.
    """
    label, score = as_columns(y_true, y_score)
    tp, fp, tn, fn = read_back(label, score, *decision_indicators(label, score, threshold).sum(0))
    return Confusion(int(tp), int(fp), int(tn), int(fn))


def decision_indicators(y_true: Tensor, y_score: Tensor, threshold: float) -> Tensor:
    """(N, 4) float64 in {0, 1}: whether each row is a tp, fp, tn, fn."""
    called = (y_score >= threshold).to(y_true.dtype)
    missed = 1 - called
    absent = 1 - y_true
    return torch.stack([called * y_true, called * absent, missed * absent, missed * y_true], dim=1)


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


def specificity(
    counts: Confusion, *, level: float = LEVEL, method: ProportionMethod = "Wilson"
) -> Estimate:
    """Share of negatives that are not called: tn / (tn + fp). Arguments as in `sensitivity`.

    Raises:
        UndefinedMetricError: no row is negative.
    """
    return _proportion("specificity", counts.tn, counts.tn + counts.fp, level, method)


def ppv(
    counts: Confusion, *, level: float = LEVEL, method: ProportionMethod = "Wilson"
) -> Estimate:
    """Positive predictive value tp / (tp + fp), at the prevalence of these rows.

    Arguments as in `sensitivity`.

    Raises:
        UndefinedMetricError: no row is called positive.
    """
    return _proportion("ppv", counts.tp, counts.tp + counts.fp, level, method)


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


def choose_threshold(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    rule: ThresholdRule = "youden",
    target_sensitivity: float | None = None,
    split: str = "validation",
) -> Threshold:
    """Choose a threshold from labelled scores: those of validation, never of the test set.

    A threshold decides between two neighbouring distinct scores and is put half-way between them,
    so that neither rounding nor a hair's difference on another machine flips a row; below the
    lowest score there is no neighbour, and the lowest score itself is taken. Where several are
    equally good, the lowest (most sensitive) is: a missed finding costs more than a false alarm.

    Args:
        y_true: (N,) in {0, 1}; 1 = finding present.
        y_score: (N,) finite; higher = more suspicious.
        rule: "youden": the largest sensitivity + specificity − 1. "sensitivity_at_least": the
            highest threshold at which the observed sensitivity reaches `target_sensitivity`.
        target_sensitivity: in (0, 1], for "sensitivity_at_least" only.
        split: where the scores come from, for `Threshold.rule`.

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label is not 0 or 1, a score is not finite; an unknown
            rule, or a target that is missing, superfluous or outside (0, 1].

    References:
        Youden, Cancer 3 (1950) 32-35.
    """
    _check_rule(rule, target_sensitivity)
    label, score = as_columns(y_true, y_score)
    ranked = rank_scores(label, score)
    tp, fp = cumulative_counts(ranked)
    m, n = tp[-1], fp[-1]
    position = torch.arange(tp.numel(), device=tp.device)
    if target_sensitivity is None:
        # J m n, in integers: as a difference of two rates, equal thresholds would differ by 1e-17.
        gain = tp * n - fp * m
        last_called = torch.where(gain == gain.max(), position, -1).max()
        text = f"Youden index on {split}"
    else:
        # 1e-9 of a row: 0.95 × 20 is 19, whatever its last bit.
        reached = tp >= target_sensitivity * m - 1e-9
        first = torch.where(reached, position, tp.numel() - 1).min()
        tie = (tp == tp[first]) & (fp == fp[first])
        last_called = torch.where(tie, position, -1).max()
        text = f"sensitivity of at least {target_sensitivity:g} on {split}"
    value, m_rows, n_rows = read_back(label, score, _below(ranked.y_score, last_called), m, n)
    check_both_classes("a threshold", int(m_rows), int(n_rows))
    return Threshold(value, text, label.numel())


def _below(descending: Tensor, last_called: Tensor) -> Tensor:
    """The value half-way between a score and the next lower one, safe against rounding."""
    score = descending[last_called]
    lower = descending[(last_called + 1).clamp(max=descending.numel() - 1)]
    middle = lower + (score - lower) / 2
    return torch.where(middle > lower, middle, score)


def _check_rule(rule: str, target_sensitivity: float | None) -> None:
    if rule not in ("youden", "sensitivity_at_least"):
        raise MetricInputError(
            f"threshold rule {rule!r} is unknown; choose 'youden' or 'sensitivity_at_least'"
        )
    if rule == "youden" and target_sensitivity is not None:
        raise MetricInputError(
            "target_sensitivity belongs to rule='sensitivity_at_least'; the Youden index has none"
        )
    if rule == "sensitivity_at_least" and not 0 < (target_sensitivity or 0.0) <= 1:
        raise MetricInputError(
            f"rule 'sensitivity_at_least' got target_sensitivity={target_sensitivity}; "
            "give a share above 0 and up to 1, such as 0.95"
        )
