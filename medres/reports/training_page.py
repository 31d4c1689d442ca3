"""The training's own page, `training.html` in its run folder, written again at each epoch's end.

While the run lasts the page asks the browser to load it again; once it is over it no longer does.
It is made of `training.json` and `epochs.jsonl` alone, by string work without a plotting library:
a few milliseconds an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from medres.files import write_text
from medres.reports.line_charts import Line, draw_lines
from medres.reports.stage_bands import draw_bands
from medres.reports.summary import RESEARCH_USE
from medres.reports.template_environment import template_environment
from medres.training.schedule import Schedule
from medres.training.schedule_table import describe_schedule
from medres.training.status import (
    STATUS_NAME,
    TrainingState,
    TrainingStatus,
    read_history,
    read_status,
    write_status,
)

PAGE_NAME = "training.html"
REPORT = Path("report") / "evaluation.html"
REFRESH_SECONDS = 10
BESIDE = ("config.yaml", "schedule.txt", "epochs.jsonl", "run.json")
BLUE, VERMILLION, INK = "var(--blue)", "var(--vermillion)", "var(--ink)"
History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class FollowedTraining:
    """What a training calls at its beginning, after each epoch, and where it breaks off.

    Attributes:
        folder: of the run.
        status: as of the beginning.
    """

    folder: Path
    status: TrainingStatus

    def __call__(self, event: Literal["began", "epoch", "interrupted", "failed"]) -> None:
        """Write the status and the page."""
        if event == "began":
            write_status(self.folder, self.status.heard())
        elif event == "epoch":
            write_status(self.folder, read_status(self.folder).after_epoch())
        else:
            write_status(self.folder, read_status(self.folder).heard(event))
        write_training_page(self.folder)


@contextmanager
def judging(folder: Path) -> Iterator[None]:
    """Show that the trained network is judged; afterwards that the run is finished, or failed.

    Does nothing for a run without a status, which an older medres has trained.
    """
    _tell(folder, "judging")
    try:
        yield
    except BaseException as error:
        _tell(folder, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    _tell(folder, "finished")


def _tell(folder: Path, state: TrainingState) -> None:
    if (folder / STATUS_NAME).exists():
        write_status(folder, read_status(folder).heard(state))
        write_training_page(folder)


def write_training_page(folder: Path) -> Path:
    """Write the page of a run folder from what it holds, whole or not at all; returns its path.

    Raises:
        ConfigError: no status, or a damaged one.
    """
    beside = [name for name in BESIDE if (folder / name).exists()]
    page = render_training_page(
        read_status(folder),
        read_history(folder),
        name=folder.resolve().name,
        report=REPORT.as_posix() if (folder / REPORT).exists() else "",
        beside=beside,
    )
    write_text(folder / PAGE_NAME, page)
    return folder / PAGE_NAME


def render_training_page(
    status: TrainingStatus,
    history: History,
    *,
    name: str,
    report: str = "",
    beside: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        status: of the run.
        history: its epochs so far, as `epochs.jsonl` holds them.
        name: of the run.
        report: address of its evidence page; shown once the run is finished.
        beside: files of the run folder to link to.
    """
    schedule = Schedule.from_json(status.schedule)
    stage_names = [plan.stage for plan in schedule.stages]
    best = next((row for row in reversed(history) if row["best"]), None)
    return (
        template_environment()
        .get_template("training/page.html")
        .render(
            name=name,
            research_use=RESEARCH_USE,
            state=status.state,
            headline=describe_state(status, history),
            updated=status.updated[:19].replace("T", " "),
            refresh=0 if status.is_over else REFRESH_SECONDS,
            report=report if status.state == "finished" else "",
            tiles=_tiles(status, history, best),
            charts=_charts(status, history, best),
            schedule=describe_schedule(schedule).replace("\n", " "),
            bands=draw_bands(schedule, len(history)),
            stages=_stages(schedule),
            facts=status.facts,
            features=status.features,
            notes=status.notes,
            epochs=[_epoch_row(row, stage_names) for row in history],
            stage_names=stage_names,
            last_epoch=schedule.epochs,
            beside=beside,
        )
    )


def describe_state(status: TrainingStatus, history: History) -> str:
    """Say in a sentence where a run stands."""
    done = f"{len(history)} of {status.epochs} epochs"
    best = next((row["epoch"] for row in reversed(history) if row["best"]), 0)
    if status.state == "training":
        return f"Epoch {len(history) + 1} of {status.epochs} is running."
    if status.state == "judging":
        return f"Trained for {done}; the network is being judged on validation and test images."
    if status.state == "finished" and len(history) < status.epochs:
        return (
            f"Stopped early, after {done}: none of the last {len(history) - best} was better "
            f"than epoch {best}."
        )
    if status.state == "finished":
        return f"Finished after {done}."
    how = "Interrupted" if status.state == "interrupted" else "Ended by an error"
    return f"{how} after {done}. Started again on the same folder, it goes on."


def format_seconds(seconds: float) -> str:
    """Return `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


def _tiles(
    status: TrainingStatus, history: History, best: Mapping[str, Any] | None
) -> list[tuple[str, str, str]]:
    """Name, value and a line below it."""
    if best is None:
        return []
    area = best["validation_auroc"]
    tiles = [
        (
            "Best epoch so far" if not status.is_over else "Best epoch",
            f"{best['epoch']}",
            f"kept, by validation {_by(status.select_by)}",
        ),
        (
            "Its validation AUROC",
            "undefined" if area is None else f"{area:.3f}",
            "mean of findings",
        ),
        (
            "Its validation loss",
            f"{best['validation_loss']:.4g}",
            f"training {best['train_loss']:.4g}",
        ),
        ("Images a second", f"{history[-1]['images_per_second']:.4g}", "in training, last epoch"),
    ]
    if status.epoch_seconds is not None:
        left = status.epoch_seconds * (status.epochs - len(history))
        below = f"about {format_seconds(left)} left" if status.state == "training" else "the last"
        tiles.append(("An epoch takes", format_seconds(status.epoch_seconds), below))
    return tiles


def _by(select_by: str) -> str:
    return {"auroc": "AUROC", "loss": "loss"}.get(select_by, "order: the last")


def _charts(
    status: TrainingStatus, history: History, best: Mapping[str, Any] | None
) -> list[tuple[str, Markup, list[Line]]]:
    """Heading, drawing and key of each chart; those without a value are left out."""

    def series(key: str) -> tuple[tuple[float, float], ...]:
        return tuple((row["epoch"], row[key]) for row in history if row[key] is not None)

    mark = None if best is None else best["epoch"]
    last = min(status.epochs, max(2 * len(history), 10)) if not status.is_over else len(history)
    losses = [
        Line("training", BLUE, series("train_loss")),
        Line("validation", VERMILLION, series("validation_loss"), dashed=True),
    ]
    area = [Line("validation AUROC", VERMILLION, series("validation_auroc"), dashed=True)]
    speed = [Line("images a second", INK, series("images_per_second"))]
    drawn = [
        ("Loss", losses, "loss", False),
        ("Validation AUROC", area, "AUROC", False),
        ("Throughput", speed, "images a second", True),
    ]
    charts = []
    for title, lines, y_name, from_zero in drawn:
        words = f"{title} by epoch; the values stand in the table of epochs."
        chart = draw_lines(
            lines,
            title=words,
            y_name=y_name,
            x_max=last,
            from_zero=from_zero,
            mark=None if from_zero else mark,
        )
        if chart:
            charts.append((title, chart, lines))
    return charts


@dataclass(frozen=True)
class StageRow:
    """One stage of the schedule, in words."""

    stage: str
    trains: str
    peak: str
    tensors: str


def _stages(schedule: Schedule) -> list[StageRow]:
    rows = []
    for plan in schedule.stages:
        opens = plan.opens_at
        if opens is None or opens >= schedule.total_steps:
            trains = "never"
        else:
            trains = f"from epoch {opens / schedule.steps_per_epoch + 1:.3g}"
        peak = f"{plan.learning_rate:.3g}" if trains != "never" else "–"
        tensors = "all" if plan.tensors == "all" else "batch-norm's weights and biases"
        rows.append(StageRow(plan.stage, trains, peak, tensors if trains != "never" else "none"))
    return rows


def _epoch_row(row: Mapping[str, Any], stages: Sequence[str]) -> list[str]:
    area, rates = row["validation_auroc"], row["learning_rates"]
    return [
        f"{row['epoch']}{' (best so far)' if row['best'] else ''}",
        f"{row['train_loss']:.4f}",
        f"{row['validation_loss']:.4f}",
        "undefined" if area is None else f"{area:.4f}",
        f"{row['images_per_second']:.1f}",
        *(f"{rates[stage]:.1e}" if stage in rates else "frozen" for stage in stages),
    ]
