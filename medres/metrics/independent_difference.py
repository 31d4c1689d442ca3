"""The difference of two figures that come from different patients."""

from __future__ import annotations

import math

from medres.metrics.estimate import Estimate, Figure, UndefinedEstimate

METHOD = "Newcombe, square-and-add of both intervals"


def independent_difference(
    first: Figure, second: Figure, *, second_name: str, limits: tuple[float, float] = (-1.0, 1.0)
) -> Figure:
    """First − second, with the interval that both intervals give together.

    Args:
        first: a figure.
        second: the same figure, of other patients.
        second_name: whose figure that is, for the reason where it has none.
        limits: of the difference; infinite for figures without bounds.

    References:
        Newcombe, Stat Med 17 (1998) 873-890, method 10; for other figures Zou & Donner, Stat Med 27
        (2008) 1693-1702.
    """
    if isinstance(first, UndefinedEstimate):
        return UndefinedEstimate(first.reason, first.level)
    if isinstance(second, UndefinedEstimate):
        return UndefinedEstimate(f"{second_name}: {second.reason}", first.level)
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    low, high = max(value - below, limits[0]), min(value + above, limits[1])
    return Estimate(value, low, high, first.level, METHOD)
