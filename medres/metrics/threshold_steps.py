"""Counts at every threshold that a reader may set: what a page needs to move the threshold itself.

The thresholds are the numbers of so many decimals between the ends of a scale, 10,000 steps at
most. Between two of them nothing can be set, so that nothing is lost although 100,000 scores shrink
to at most 10,001 pairs of counts; and a figure computed from such a pair is the same figure, to
the last digit, as one from the scores.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.decision_curve import counts_at

STEPS_EXPONENT = 4
"""10^4 steps on a scale at most: thresholds of four decimals for probabilities."""


@dataclass(frozen=True)
class ThresholdSteps:
    """How many rows of each class are called, from the laxest threshold to the strictest.

    Attributes:
        decimals: the thresholds are k / 10^decimals for whole numbers k.
        lowest: smallest k; every row is called there, unless scores are probabilities and it is 0.
        highest: largest k.
        at: the k from which on the counts below hold, up to the next; ascending, first `lowest`.
        tp: positives with score ≥ threshold.
        fp: negatives with score ≥ threshold.
        independent: no patient has two rows, so that Wilson's interval holds at any threshold.
    """

    decimals: int
    lowest: int
    highest: int
    at: tuple[int, ...]
    tp: tuple[int, ...]
    fp: tuple[int, ...]
    independent: bool

    def as_json(self) -> dict[str, object]:
        """The steps as `evaluation.json` holds them."""
        return {
            "decimals": self.decimals,
            "lowest": self.lowest,
            "highest": self.highest,
            "at": list(self.at),
            "tp": list(self.tp),
            "fp": list(self.fp),
            "independent": self.independent,
        }


def threshold_steps(
    y_true: Tensor,
    y_score: Tensor,
    *,
    probabilities: bool,
    independent: bool,
    locked: float | None = None,
) -> ThresholdSteps:
    """Count the called rows of each class at every threshold of a scale.

    Args:
        y_true: (N,) float64 in {0, 1}, at least one row.
        y_score: (N,) float64, finite.
        probabilities: the scale runs from 0 to 1, or to 0.1, 0.01, … where no score lies above;
            else from the lowest score to the highest.
        independent: no patient has two rows.
        locked: a threshold that the scale must hold too.
    """
    smallest, largest = torch.stack(y_score.aminmax()).tolist()
    if locked is not None:
        smallest, largest = min(smallest, locked), max(largest, locked)
    decimals, lowest, highest = _unit_scale(largest) if probabilities else _scale(smallest, largest)
    k = torch.arange(lowest, highest + 1, dtype=torch.float64, device=y_score.device)
    thresholds = k / 10.0**decimals if decimals >= 0 else k * 10.0**-decimals
    tp, fp = counts_at(y_true, y_score, thresholds)
    changed = torch.ones_like(k, dtype=torch.bool)
    changed[1:] = (tp[1:] != tp[:-1]) | (fp[1:] != fp[:-1])
    at, positives, negatives = (
        tuple(int(v) for v in values[changed].tolist()) for values in (k, tp, fp)
    )
    return ThresholdSteps(decimals, lowest, highest, at, positives, negatives, independent)


def _unit_scale(largest: float) -> tuple[int, int, int]:
    """Decimals and ends of a scale from 0 that holds probabilities up to `largest`."""
    zeros = 0
    while zeros < 8 and largest * 10 ** (zeros + 1) <= 1:
        zeros += 1
    return STEPS_EXPONENT + zeros, 0, 10**STEPS_EXPONENT


def _scale(smallest: float, largest: float) -> tuple[int, int, int]:
    """Decimals and ends of a scale over any scores, from 1,000 to 10,000 steps long."""
    span, size = min(largest - smallest, sys.float_info.max), max(abs(smallest), abs(largest))
    room = 15 - math.ceil(math.log10(size)) if size else STEPS_EXPONENT  # float64's own digits
    wanted = STEPS_EXPONENT - math.ceil(math.log10(span)) if span else STEPS_EXPONENT
    decimals = max(-305, min(wanted, room, 15))  # below, 10^decimals loses digits
    unit = 10.0**decimals
    lowest, highest = math.floor(smallest * unit), math.ceil(largest * unit)
    return decimals, lowest, highest if highest > lowest else lowest + 1
