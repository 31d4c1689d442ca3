"""The factor that all learning rates share, as a pure function of the global step."""

from __future__ import annotations

import math
from typing import Literal, get_args

Course = Literal["cosine", "one_cycle", "constant"]
COURSES: tuple[Course, ...] = get_args(Course)


def course_factor(course: Course, step: int, total_steps: int, warmup_steps: int) -> float:
    """The share of its rate that every stage has at a step, in (0, 1].

    cosine rises linearly from 1/warmup_steps to 1, then falls as half a cosine towards 0. constant
    has the warm-up alone. one_cycle has its own: half a cosine up from 1/25 over 30 % of the steps,
    and one down to 4e-6.

    Args:
        course: which.
        step: from 0; past the end, the factor of the last step.
        total_steps: of the training.
        warmup_steps: below `total_steps`.
    """
    step = min(step, total_steps - 1)
    if course == "one_cycle":
        return _one_cycle(step, total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if course == "constant":
        return 1.0
    return _between(1.0, 0.0, (step - warmup_steps) / (total_steps - warmup_steps))


def _one_cycle(step: int, total_steps: int, first: float = 1 / 25, last: float = 4e-6) -> float:
    """Smith & Topin, arXiv:1708.07120, as PyTorch's OneCycleLR has it by default."""
    peak = max(0.0, 0.3 * total_steps - 1)
    if step <= peak:
        return _between(first, 1.0, step / peak if peak else 1.0)
    return _between(1.0, last, (step - peak) / (total_steps - 1 - peak))


def _between(start: float, end: float, done: float) -> float:
    """Half a cosine from start to end; done in [0, 1]."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))
