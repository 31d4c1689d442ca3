"""A schedule as a picture: one band a stage, over the epochs.

The height of a band is the stage's learning rate, as a share of the highest of all; its peak stands
at the right. Gray hatching is frozen; a dark foot says that batch-norm's running statistics move.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medres.reports.drawing import BLUE, INK, QUIET, STYLE
from medres.training.schedule import Schedule, StagePlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 600
FROZEN, AFFINE = "#d5dadf", "#7fb8d8"
BAND = 0.78
"""Of the distance between two bands."""


def save_schedule_picture(schedule: Schedule, path: Path) -> None:
    """Write the picture of a schedule as PNG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = STYLE
    with rc_context(settings):
        figure = Figure(figsize=(7.2, 0.42 * len(schedule.stages) + 1.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw_schedule(axes, schedule)
        axes.set_title(schedule.preset, loc="left", fontsize=10, parse_math=False)
        figure.legend(
            handles=legend_handles(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_schedule(axes: Axes, schedule: Schedule) -> None:
    """Draw the bands into axes: the input's stage at the bottom, the head on top."""
    from matplotlib.ticker import MaxNLocator

    steps = _sampled_steps(schedule)
    epochs = [step / schedule.steps_per_epoch for step in steps]
    states = [schedule.at(step) for step in steps]
    top = max(s.learning_rate for state in states for s in state.values()) or 1.0
    for row, plan in enumerate(schedule.stages):
        rates = [state[plan.stage].learning_rate for state in states]
        moving = [state[plan.stage].batch_norm == "train" for state in states]
        frozen = [not state[plan.stage].active for state in states]
        heights = [row + BAND * rate / top for rate in rates]
        axes.fill_between(
            epochs, row, row + BAND, where=frozen, facecolor="white", edgecolor=FROZEN, hatch="////"
        )
        color = BLUE if plan.tensors == "all" else AFFINE
        axes.fill_between(epochs, row, heights, where=[not f for f in frozen], color=color, lw=0)
        if _has_batch_norm(plan):
            axes.fill_between(epochs, row - 0.09, row - 0.02, where=moving, color=INK, lw=0)
        peak = max(rates)
        text = f"{peak:.1e}".replace("e-0", "e-") if peak else "–"
        axes.text(1.01, row + 0.3, text, transform=axes.get_yaxis_transform(), fontsize=8)
    for opening in schedule.openings[1:]:
        axes.axvline(opening / schedule.steps_per_epoch, color=QUIET, lw=0.8, ls=(0, (2, 2)))
    axes.set_yticks(
        [row + 0.3 for row in range(len(schedule.stages))], [p.stage for p in schedule.stages]
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.15, len(schedule.stages))
    axes.set_xlim(0, schedule.total_steps / schedule.steps_per_epoch)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines["left"].set_visible(False)


def legend_handles() -> list[Any]:
    """What the colours say."""
    from matplotlib.patches import Patch

    return [
        Patch(color=BLUE, label="learning rate (peak at the right)"),
        Patch(color=AFFINE, label="of norms alone"),
        Patch(facecolor="white", edgecolor=FROZEN, hatch="////", label="frozen"),
        Patch(color=INK, label="batch-norm statistics move"),
    ]


def _has_batch_norm(plan: StagePlan) -> bool:
    return plan.stage not in ("adapter", "head")


def _sampled_steps(schedule: Schedule) -> list[int]:
    """Up to `POINTS` steps, evenly, with both sides of every opening."""
    total = schedule.total_steps
    even = {round(i * (total - 1) / (POINTS - 1)) for i in range(POINTS)}
    edges = {max(0, opening - 1) for opening in schedule.openings} | set(schedule.openings)
    return sorted(even | edges | {total - 1})
