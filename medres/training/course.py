"""The factor that all learning rates share, as a pure function of the global step."""

from __future__ import annotations

import math
from typing import Literal, get_args

Course = Literal["cosine", "linear", "one_cycle", "constant"]
COURSES: tuple[Course, ...] = get_args(Course)


def course_factor(course: Course, step: int, total_steps: int, warmup_steps: int) -> float:
    """The share of its rate that every stage has at a step, in (0, 1].

    cosine rises linearly from 1/warmup_steps to 1, then falls as half a cosine towards 0; linear
    falls in a straight line; constant has the warm-up alone. one_cycle has its own: half a cosine
    up from 1/25 over 30 % of the steps, and one down to 4e-6.

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
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return 1.0 - done if course == "linear" else _between(1.0, 0.0, done)


def one_cycle_momentum(step: int, total_steps: int) -> float:
    """Momentum (Adam's first beta) of one cycle: 0.95, 0.85 where the rate peaks, 0.95 again.

    Args:
        step: from 0; past the end, that of the last step.
        total_steps: of the training.
    """
    return _one_cycle(min(step, total_steps - 1), total_steps, 0.95, 0.85, 0.95)


def _one_cycle(
    step: int, total_steps: int, first: float = 1 / 25, top: float = 1.0, last: float = 4e-6
) -> float:
    """Smith & Topin, arXiv:1708.07120, as PyTorch's OneCycleLR has it by default."""
    peak = max(0.0, 0.3 * total_steps - 1)
    if step <= peak:
        return _between(first, top, step / peak if peak else 1.0)
    return _between(top, last, (step - peak) / (total_steps - 1 - peak))


def _between(start: float, end: float, done: float) -> float:
    """Half a cosine from start to end; done in [0, 1]."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))
