"""Decisions with an indeterminate band: positive, negative, or left to a person.

Indeterminate rows are counted, and rates are given with them counted each way; a rate over the
decided rows alone would improve with every hard case that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from medres.errors import MetricInputError
from medres.metrics.by_finding import each_finding
from medres.metrics.estimate import LEVEL, Figure
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import RESAMPLES, patient_groups
from medres.metrics.operating_point import (
    Confusion,
    TargetBy,
    Threshold,
    ThresholdRule,
    choose_threshold,
)
from medres.metrics.proportions import proportion_figures

Decision = Literal["negative", "indeterminate", "positive"]
DECISIONS: tuple[Decision, ...] = ("negative", "indeterminate", "positive")


@dataclass(frozen=True)
class Band:
    """Scores that are left undecided: lower ≤ score < upper.

    Attributes:
        lower: below it a row is called negative.
        upper: from it on a row is called positive.
        targets: sensitivity and specificity that it was chosen for; None for one set by hand.
    """

    lower: Threshold
    upper: Threshold
    targets: tuple[float, float] | None = None

    def decision(self, score: float) -> Decision:
        """What a score is called."""
        if score >= self.upper.value:
            return "positive"
        return "indeterminate" if score >= self.lower.value else "negative"

    def as_json(self) -> dict[str, object]:
        """The band as `evaluation.json` and a model's record hold it."""
        ends: dict[str, object] = {"lower": self.lower.as_json(), "upper": self.upper.as_json()}
        if self.targets is None:
            return ends
        return {**ends, "targets": dict(zip(TARGETS, self.targets, strict=True))}


TARGETS = ("sensitivity", "specificity")
"""Rates that a band is chosen for, in the order of `Band.targets`."""


@dataclass(frozen=True)
class ThreeWayCounts:
    """Six counts with a band.

    Attributes:
        tp: positives called positive.
        fp: negatives called positive.
        tn: negatives called negative.
        fn: positives called negative.
        undecided_positive: positives in the band.
        undecided_negative: negatives in the band.
    """

    tp: int
    fp: int
    tn: int
    fn: int
    undecided_positive: int
    undecided_negative: int

    @property
    def counted_positive(self) -> Confusion:
        """The four counts with the band called positive: a person will look at it."""
        return Confusion(
            self.tp + self.undecided_positive, self.fp + self.undecided_negative, self.tn, self.fn
        )

    @property
    def counted_negative(self) -> Confusion:
        """The four counts with the band called negative: nobody looks at it."""
        return Confusion(
            self.tp, self.fp, self.tn + self.undecided_negative, self.fn + self.undecided_positive
        )

    def as_json(self) -> dict[str, object]:
        """The counts as `evaluation.json` holds them."""
        return {
            "tp": self.tp,
            "fp": self.fp,
            "tn": self.tn,
            "fn": self.fn,
            "undecided_positive": self.undecided_positive,
            "undecided_negative": self.undecided_negative,
        }


@each_finding(own=("lower", "upper"))
def three_way_counts(
    y_true: ArrayLike, y_score: ArrayLike, lower: float, upper: float
) -> ThreeWayCounts:
    """Count decisions with a band.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        lower: on the scale of the scores.
        upper: likewise, not below `lower`.

    Raises:
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; upper below
            lower.
    """
    check_band(lower, upper)
    label, score = as_tensors(y_true, y_score)
    positive, negative = label, 1 - label
    above, below = (score >= upper).to(label.dtype), (score < lower).to(label.dtype)
    between = 1 - above - below
    calls = (
        above * positive,
        above * negative,
        below * negative,
        below * positive,
        between * positive,
        between * negative,
    )
    counts = read_back(label, score, *(call.sum() for call in calls))
    return ThreeWayCounts(*(int(count) for count in counts))


def check_band(lower: float, upper: float) -> None:
    """Raise unless lower ≤ upper.

    Raises:
        MetricInputError: upper below lower, or either is NaN.
    """
    if not lower <= upper:
        raise MetricInputError(
            f"a band from {lower} to {upper}; give its lower end first, then the upper"
        )


@each_finding(own=("lower", "upper"))
def three_way_figures(
    y_true: ArrayLike,
    y_score: ArrayLike,
    lower: float,
    upper: float,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    units: str = "rows",
) -> dict[str, Figure]:
    """Share of undecided rows, and every rate with them counted each way.

    Wilson's intervals, or the patient bootstrap's where patients repeat.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        lower: on the scale of the scores.
        upper: likewise, not below `lower`.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        units: what a row is, in the plural, for reasons.

    Returns:
        undecided, and the share of positives and of negatives that are; sensitivity and
        specificity with the band called positive and called negative (the smaller of each is its
        worst case); ppv and npv of the rows that are decided, which the band does not touch.

    Raises:
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; upper below
            lower.
    """
    check_band(lower, upper)
    positive, score = as_tensors(y_true, y_score)
    read_back(positive, score)
    negative, one = 1 - positive, torch.ones_like(positive)
    above, below = (score >= upper).to(one.dtype), (score < lower).to(one.dtype)
    between = 1 - above - below
    shares = {
        "undecided": (between, one, "no labelled"),
        "undecided_of_positives": (between * positive, positive, "no positive"),
        "undecided_of_negatives": (between * negative, negative, "no negative"),
        "sensitivity_counted_positive": ((1 - below) * positive, positive, "no positive"),
        "sensitivity_counted_negative": (above * positive, positive, "no positive"),
        "specificity_counted_positive": (below * negative, negative, "no negative"),
        "specificity_counted_negative": ((1 - above) * negative, negative, "no negative"),
        "ppv": (above * positive, above, "none called positive among the"),
        "npv": (below * negative, below, "none called negative among the"),
    }
    right, of, reasons = zip(*shares.values(), strict=True)
    figures = proportion_figures(
        torch.stack(right, dim=1),
        torch.stack(of, dim=1),
        patient_groups(patient_ids, one.numel(), one.device),
        [f"{reason} {units}" for reason in reasons],
        level=level,
        resamples=resamples,
        seed=seed,
    )
    return dict(zip(shares, figures, strict=True))


@dataclass(frozen=True)
class ThreeWay:
    """Decisions of one finding with a band.

    Attributes:
        band: scores that are left undecided.
        counts: with it.
        figures: of `three_way_figures`, with the band counted each way.
    """

    band: Band
    counts: ThreeWayCounts
    figures: Mapping[str, Figure]

    def as_json(self) -> dict[str, object]:
        """The section `three_way` of a finding in `evaluation.json`."""
        return {
            **self.band.as_json(),
            "counts": self.counts.as_json(),
            **{name: figure.as_json() for name, figure in self.figures.items()},
        }


@each_finding(own=("band",))
def evaluate_three_way(
    y_true: ArrayLike,
    y_score: ArrayLike,
    band: Band,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    units: str = "rows",
) -> ThreeWay:
    """Counts and figures of one finding with a band.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        band: scores that are left undecided.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        units: what a row is, in the plural, for reasons.

    Raises:
        MetricInputError: as in `three_way_figures`.
    """
    ends = band.lower.value, band.upper.value
    return ThreeWay(
        band,
        three_way_counts(y_true, y_score, *ends),
        three_way_figures(
            y_true,
            y_score,
            *ends,
            level=level,
            patient_ids=patient_ids,
            resamples=resamples,
            seed=seed,
            units=units,
        ),
    )


@each_finding()
def choose_band(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    sensitivity: float,
    specificity: float,
    target_by: TargetBy = "lower_bound",
    level: float = LEVEL,
    split: str = "validation",
) -> Band:
    """The narrowest band below which few positives fall and above which few negatives do.

    Its lower end is the highest threshold with at least `sensitivity`, its upper end the lowest
    with at least `specificity`; where one threshold has both, the band is empty and the lower end,
    the more sensitive, is its place.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious.
        sensitivity: of "not called negative", in (0, 1].
        specificity: of "not called positive", in (0, 1].
        target_by: as in `choose_threshold`.
        level: confidence of the lower bounds, in (0, 1).
        split: where the scores come from, for the record.

    Raises:
        UndefinedMetricError: one class only, or too few rows for a lower bound.
        MetricInputError: as in `choose_threshold`.
    """
    fixed: tuple[tuple[ThresholdRule, float], ...] = (
        ("sensitivity_at_least", sensitivity),
        ("specificity_at_least", specificity),
    )
    lower, upper = (
        choose_threshold(
            y_true, y_score, rule=rule, target=target, target_by=target_by, level=level, split=split
        )
        for rule, target in fixed
    )
    upper = upper if upper.value >= lower.value else lower
    return Band(lower, upper, (sensitivity, specificity))
