"""Ages as subgroups: years from what a table or a DICOM header says, and the band they are in."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import numpy as np

AGE_EDGES = (18, 40, 60, 80)
"""Years at which age bands begin: minors, and four bands of adults."""


def age_in_years(age: object) -> float:
    """Years from a number, its text, or DICOM's age string (PS3.5 6.2, AS: 045Y, 018M, 012W, 003D).

    Returns:
        Years, or NaN where there is none, or one below 0 or above 150.
    """
    text = str(age).strip()
    match = re.fullmatch(r"(\d{3})([DWMY])", text)
    if match:
        per_year = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}[match[2]]
        return int(match[1]) / per_year
    try:
        years = float(text)
    except ValueError:
        return math.nan
    return years if 0 <= years <= 150 else math.nan


def age_bands(ages: Sequence[object], edges: Sequence[float] = AGE_EDGES) -> list[str]:
    """Name the band of each age: "under 18", "18 to 39", …, "80 and over"; empty where unknown.

    Args:
        ages: as `age_in_years` takes them.
        edges: years at which a band begins, ascending, at least one.
    """
    names = [
        f"under {edges[0]:g}",
        *(f"{a:g} to {b - 1:g}" for a, b in itertools.pairwise(edges)),
        f"{edges[-1]:g} and over",
    ]
    years = [age_in_years(age) for age in ages]
    return ["" if math.isnan(y) else names[int(np.searchsorted(edges, y, "right"))] for y in years]
