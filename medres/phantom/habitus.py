"""Who a synthetic patient is: sizes that all organs share, and what their tissues absorb.

Attenuation is monoenergetic at 60 keV, near the effective energy of a 120 kV chest beam behind a
patient: mass coefficients of NIST (Hubbell & Seltzer, NISTIR 5632, tables 3 and 4; ICRU-44
tissues) times density.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# cm²/g at 60 keV × g/cm³ ÷ 10 mm/cm
MUSCLE = 0.2048 * 1.05 / 10  # per mm
WATER = 0.2059 * 1.00 / 10
FAT = 0.1974 * 0.95 / 10
LUNG = 0.2053 * 0.26 / 10  # inflated
BONE = 0.3148 * 1.92 / 10  # cortical
AIR = 0.0


@dataclass(frozen=True, kw_only=True)
class Habitus:
    """What a patient's organs have in common: drawn once, used by all of them."""

    sex: Literal["F", "M"]
    age: int
    wide: float  # relative size, left-right
    deep: float  # front-back
    tall: float  # head-feet
    fat: float  # mm under the skin
    heart: float  # relative size
    lean: float  # degrees, scoliosis-like tilt of the trunk
    uneven: float  # mm that the right dome stands higher
    domes: float  # mm, height of both domes


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """A random adult."""
    female = bool(rng.random() < 0.5)
    size = rng.normal(0.96 if female else 1.03, 0.035)
    return Habitus(
        sex="F" if female else "M",
        age=int(rng.integers(22, 88)),
        wide=float(size * rng.normal(1.0, 0.03)),
        deep=float(size * rng.normal(1.0, 0.06)),
        tall=float(size * rng.normal(1.0, 0.04)),
        fat=float(np.clip(rng.gamma(4.0, 4.0) + 4.0, 5.0, 40.0)),
        heart=float(np.clip(rng.normal(1.0, 0.09), 0.82, 1.25)),
        lean=float(rng.normal(0.0, 1.3)),
        uneven=float(rng.normal(11.0, 5.0)),
        domes=float(rng.normal(0.0, 9.0)),
    )
