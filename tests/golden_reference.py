"""Grayscale by the standard's own steps, one stored value at a time.

Written from PS3.3 C.7.5.1.1.2 (padding), C.11.1 (modality), C.11.2 (VOI) and C.11.6 (presentation)
in plain Python: it shares no code with medres, and takes no short cut.

A modality is None, ("rescale", slope, intercept) or ("lut", first, entries, bits); a VOI is None,
("LINEAR" | "LINEAR_EXACT" | "SIGMOID", center, width) or ("lut", first, entries, bits).
"""

from __future__ import annotations

import math
from typing import Any

Modality = tuple[Any, ...] | None
Voi = tuple[Any, ...] | None


def stored_limits(bits: int, signed: bool) -> tuple[int, int]:
    """What so many bits can hold."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def by_the_standard(
    value: int,
    limits: tuple[int, int],
    modality: Modality,
    voi: Voi,
    *,
    inverted: bool = False,
    padding: tuple[int, int] | None = None,
) -> tuple[float, float]:
    """Modality value and display in MONOCHROME2 of one stored value.

    Padding is black, whatever the polarity, and keeps its modality value.
    """
    units = apply_modality(value, modality)
    if padding and min(padding) <= value <= max(padding):
        return units, 0.0
    display = _display(units, limits, modality, voi)
    return units, 1 - display if inverted else display


def apply_modality(value: int, modality: Modality) -> float:
    """C.11.1: output = m * SV + b, or a table."""
    if modality is None:
        return value
    if modality[0] == "lut":
        return float(look_up(value, *modality[1:3]))
    _, slope, intercept = modality
    return float(slope * value + intercept)


def look_up(value: float, first: int, entries: list[int]) -> int:
    """C.11.1.1.1: values below the first mapped get the first entry, above the last the last."""
    if value < first:
        return entries[0]
    if value > first + len(entries) - 1:
        return entries[-1]
    return entries[round(value - first)]  # between two entries, after a slope of 0.5: either


def apply_window(x: float, function: str, center: float, width: float) -> float:
    """C.11.2.1.2 and C.11.2.1.3, onto [0, 1]."""
    if function == "LINEAR":
        if x <= center - 0.5 - (width - 1) / 2:
            return 0.0
        if x > center - 0.5 + (width - 1) / 2:
            return 1.0
        return (x - (center - 0.5)) / (width - 1) + 0.5
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0.0
        if x > center + width / 2:
            return 1.0
        return (x - center) / width + 0.5
    return 1 / (1 + math.exp(-4 * (x - center) / width))


def _display(units: float, limits: tuple[int, int], modality: Modality, voi: Voi) -> float:
    if voi is None:  # the standard leaves it open: the whole range that the bits can hold
        ends = sorted(apply_modality(end, modality) for end in limits)
        if modality and modality[0] == "lut":
            ends = [0, 2 ** modality[3] - 1]
        return (units - ends[0]) / (ends[1] - ends[0])
    if voi[0] == "lut":
        return look_up(units, *voi[1:3]) / (2 ** voi[3] - 1)
    return apply_window(units, *voi)
