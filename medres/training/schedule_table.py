"""A schedule as a table for people: one row an epoch, one column a stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medres.models.stages import STAGES
from medres.training.schedule import Schedule

SHOWN_ROWS = 40
"""Longer trainings show the first and last epoch of each phase, and some between."""
COURSE_WORDS = {
    "cosine": "cosine",
    "linear": "linear decay",
    "one_cycle": "one cycle",
    "constant": "constant rates",
}


def format_schedule(schedule: Schedule) -> str:
    """The table: learning rates at the end of each epoch, what is frozen, batch-norm statistics."""
    stages = [plan.stage for plan in schedule.stages]
    rows = schedule.as_table()
    lines = [
        describe_schedule(schedule),
        "Rates at an epoch's end; - is frozen; n trains batch-norm's weights and biases alone.",
        "",
        f"epoch  {'  '.join(f'{stage:>8}' for stage in stages)}  batch-norm statistics move in",
    ]
    previous = 0
    for index in shown_rows(rows):
        if index > previous + 1:
            lines.append("  ...")
        lines.append(_format_row(rows[index], stages))
        previous = index
    return "\n".join(lines)


def describe_schedule(schedule: Schedule) -> str:
    """Preset, course, length and batch-norm policy in two lines."""
    warmup = schedule.warmup_steps / schedule.steps_per_epoch
    first = COURSE_WORDS[schedule.course]
    if schedule.course != "one_cycle" and warmup:
        first += f" after {warmup:.3g} epoch{'s' if warmup != 1 else ''} of warm-up"
    if schedule.cycle_momentum:
        first += ", momentum against the rate"
    policy = (
        "train mode where a stage trains (batch statistics), evaluation mode where it is frozen"
        if schedule.batch_norm == "train"
        else "evaluation mode throughout (running statistics stay as they are)"
    )
    return (
        f"Preset {schedule.preset}: {first}; {schedule.epochs} epochs of "
        f"{schedule.steps_per_epoch} steps.\nBatch-norm: {policy}."
    )


def shown_rows(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Indices of the rows to show: all, or some of a long training; ends of phases always."""
    if len(rows) <= SHOWN_ROWS:
        return [*range(len(rows))]
    phases = [row["phase"] for row in rows]
    every = math.ceil(len(rows) / SHOWN_ROWS * 2)
    return [
        index
        for index, phase in enumerate(phases)
        if index % every == 0
        or index == len(rows) - 1
        or phase != phases[index - 1]
        or phase != phases[index + 1]
    ]


def _format_row(row: dict[str, Any], stages: Sequence[str]) -> str:
    cells = []
    for stage in stages:
        rate = row["learning_rates"].get(stage)
        mark = "n" if stage in row["affine_only"] else ""
        cells.append(f"{'-' if rate is None else f'{rate:.1e}{mark}':>8}")
    return f"{row['epoch']:>5}  {'  '.join(cells)}  {_moving(row, stages)}"


def _moving(row: dict[str, Any], stages: Sequence[str]) -> str:
    """The stages whose running statistics move, as a range; adapter and head have none."""
    trunk = [stage for stage in STAGES[1:-1] if stage in stages]
    moving = [stage for stage in trunk if stage not in row["batch_norm_eval"]]
    if not moving:
        return "none"
    first, last = trunk.index(moving[0]), trunk.index(moving[-1])
    if len(moving) > 1 and last - first + 1 == len(moving):
        return f"{moving[0]} to {moving[-1]}"
    return ", ".join(moving)
