"""Run folders as a training leaves them while it runs, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schedules import constant

from medres.training.status import TrainingState, TrainingStatus, write_status

SCHEDULE = constant("gradual", epochs=10, steps_per_epoch=10, frozen_epochs=2)


def training_status(state: TrainingState = "training", **changed: Any) -> TrainingStatus:
    """The status of a run of ten epochs."""
    values: dict[str, Any] = {
        "began": "2026-01-02T03:00:00.000+00:00",
        "updated": "2026-01-02T03:04:05.678+00:00",
        "epochs": 10,
        "select_by": "auroc",
        "patience": 0,
        "facts": {"Findings": "<b>opacity</b>", "Precision": "bf16"},
        "features": ("epochs 0 to 2, head on trains: its input is computed once",),
        "notes": ("3 images were dropped.",),
        "schedule": SCHEDULE.as_json(),
        "epoch_seconds": 14.0,
    }
    return TrainingStatus(state=state, **{**values, **changed})


def epochs(count: int, best: int | None = None) -> list[dict[str, Any]]:
    """So many epochs; the validation AUROC rises until the best one."""
    top = best or count
    return [
        {
            "epoch": epoch,
            "train_loss": 0.7 / epoch,
            "validation_loss": 0.8 / epoch,
            "validation_auroc": 0.9 - 0.02 * abs(top - epoch),
            "learning_rates": SCHEDULE.as_table()[epoch - 1]["learning_rates"],
            "images_per_second": 80.0 + epoch,
            "best": epoch <= top,
        }
        for epoch in range(1, count + 1)
    ]


def write_run(folder: Path, status: TrainingStatus, history: list[dict[str, Any]]) -> Path:
    """The two files that a page of a training is made of."""
    folder.mkdir(parents=True, exist_ok=True)
    write_status(folder, status)
    lines = "".join(json.dumps(row) + "\n" for row in history)
    (folder / "epochs.jsonl").write_text(lines)
    return folder
