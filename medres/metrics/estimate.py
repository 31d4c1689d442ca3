"""A figure and how sure we are of it: the record that metrics hand to reports."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    value: float
    low: float
    high: float
    level: float = LEVEL
    method: str = ""

    def as_json(self) -> dict[str, object]:
        """The figure as `evaluation.json` holds it."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "method": self.method,
        }

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


Figure = Estimate | UndefinedEstimate
"""What a report prints: a figure, or the reason why there is none."""
