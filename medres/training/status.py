"""How a training stands, beside its run folder's `epochs.jsonl`: for whoever looks while it runs.

`training.json` holds what a run is about and where it has come to; `epochs.jsonl` its epochs. Both
are whole at any moment. A run that is killed says nothing more: `is_silent` tells it from one that
only takes its time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from medres.errors import ConfigError
from medres.files import read_json, write_json

TrainingState = Literal["training", "judging", "finished", "interrupted", "failed"]
STATUS_NAME = "training.json"
HISTORY_NAME = "epochs.jsonl"
PATIENCE = timedelta(minutes=10)
"""Without any word for so long, beside five epochs' time, a run that says it trains is silent."""


@dataclass(frozen=True)
class TrainingStatus:
    """What a run is about, and where it has come to.

    Attributes:
        state: training; judging the trained network; finished; or how it ended before.
        began: when this process began to train, ISO 8601 in UTC.
        updated: when it was last heard of.
        epochs: at most so many.
        select_by: which epoch is kept: auroc, loss or last.
        patience: epochs without a better one until it stops; 0 for never.
        facts: what a reader asks of a training, by name, in reading order.
        features: what of the frozen stages is computed once, and why not; a line a phase.
        notes: what a reader has to know.
        schedule: `Schedule.as_json`.
        epoch_seconds: wall-clock time of the last epoch, validation included; None before one.
    """

    state: TrainingState
    began: str
    updated: str
    epochs: int
    select_by: str
    patience: int
    facts: Mapping[str, str]
    features: tuple[str, ...]
    notes: tuple[str, ...]
    schedule: Mapping[str, Any]
    epoch_seconds: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state not in ("training", "judging")

    def heard(self, state: TrainingState | None = None) -> TrainingStatus:
        """The same as of now, in another state where one is given."""
        return replace(self, state=state or self.state, updated=now())

    def after_epoch(self) -> TrainingStatus:
        """The same as of now, at an epoch's end: it took since the last word."""
        passed = datetime.fromisoformat(now()) - datetime.fromisoformat(self.updated)
        return replace(self.heard(), epoch_seconds=round(passed.total_seconds(), 1))

    def is_silent(self, at: datetime) -> bool:
        """Whether a run that says it trains has said nothing for suspiciously long.

        Args:
            at: the time now, with its zone.
        """
        quiet = at - datetime.fromisoformat(self.updated)
        return not self.is_over and quiet > PATIENCE + timedelta(
            seconds=5 * (self.epoch_seconds or 0)
        )


def now() -> str:
    """The time, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_status(folder: Path, status: TrainingStatus) -> None:
    """Write `training.json`, whole or not at all."""
    write_json(folder / STATUS_NAME, asdict(status))


def read_status(folder: Path) -> TrainingStatus:
    """Read `training.json`.

    Raises:
        ConfigError: it is absent, damaged, or of another version.
    """
    path = folder / STATUS_NAME
    try:
        values = read_json(path)
        known = {**values, **{key: tuple(values[key]) for key in ("features", "notes")}}
        return TrainingStatus(**known)
    except (OSError, ValueError, TypeError, KeyError) as error:
        names = ", ".join(field.name for field in fields(TrainingStatus))
        raise ConfigError(
            f"{path}: not the status of a training ({type(error).__name__}); expects JSON with "
            f"{names}; give a run folder of this medres, or train again"
        ) from error


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Epochs of a run so far: one mapping each, as `EpochRecord` has it; none before the first."""
    path = folder / HISTORY_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]
