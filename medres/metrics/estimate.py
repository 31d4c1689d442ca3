"""A figure and how sure we are of it: the record that metrics hand to reports."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

LEVEL = 0.95
"""Confidence level of every interval unless asked otherwise: what clinical journals print."""


@dataclass(frozen=True)
class Estimate:
    """A statistic with its confidence interval.

    Attributes:
        value: the statistic on the data at hand.
        low: lower confidence limit.
        high: upper confidence limit.
        level: confidence level in (0, 1), such as 0.95.
        method: how the interval was computed, in words a reviewer knows: "DeLong", "Wilson",
            "patient bootstrap, 2000 resamples".
        note: why the interval may cover less than its level, as `few_note` says it; mostly empty.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL
    method: str = ""
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """The figure as `evaluation.json` holds it; "note" only where there is one."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "method": self.method,
        } | ({"note": self.note} if self.note else {})

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True)
class UndefinedEstimate:
    """A statistic that the labels at hand do not define, with the reason; never a NaN, never 0.

    Attributes:
        reason: why, in words for a report: "no positive patients".
        level: confidence level that the interval would have had.
        method: how the interval would have been computed.
    """

    reason: str
    level: float = LEVEL
    method: str = ""

    def as_json(self) -> dict[str, object]:
        """The same keys as a defined figure, with nulls, and the reason under "undefined"."""
        return {
            "value": None,
            "low": None,
            "high": None,
            "level": self.level,
            "method": self.method,
            "undefined": self.reason,
        }

    def __str__(self) -> str:
        return f"undefined ({self.reason})"


@dataclass(frozen=True, eq=False)
class EstimateTensor:
    """Figures that stay on the device of the scores: nothing here was read by the host.

    Attributes:
        value: (F,) float64, or 0-dimensional for one finding; NaN where not `defined`.
        low: lower confidence limits, likewise.
        high: upper confidence limits, likewise.
        defined: bool of the same shape. False where the labels do not define the statistic, or a
            label is neither 0, 1 nor NaN, or the score of a labelled row is not finite.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    defined: Tensor


def few_note(positives: int, negatives: int, at_least: int) -> str:
    """What to say beside an interval that rests on too few of either class; empty where on enough.

    Args:
        positives: independent rows (patients) with the finding.
        negatives: those without.
        at_least: how many of each its coverage was shown for (docs/coverage.md).
    """
    fewer = min(positives, negatives)
    if fewer >= at_least:
        return ""
    name = "positives" if positives == fewer else "negatives"
    return f"too few {name} for this interval: {fewer}, shown to cover from {at_least}"


Figure = Estimate | UndefinedEstimate
"""What a report prints: a figure, or the reason why there is none."""
