from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from medres.errors import ConfigError
from medres.training.status import TrainingStatus, now, read_history, read_status, write_status

STATUS = TrainingStatus(
    state="training",
    began="2026-01-02T03:00:00.000+00:00",
    updated="2026-01-02T03:04:05.000+00:00",
    epochs=20,
    select_by="auroc",
    patience=0,
    facts={"Seed": "0"},
    features=("epochs 0 to 20: all is computed anew",),
    notes=(),
    schedule={"preset": "full"},
)


def test_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_status(tmp_path, STATUS)
    assert read_status(tmp_path) == STATUS


@pytest.mark.parametrize("text", [None, "{", "[]", '{"state": "training"}'])
def test_damaged_status_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "training.json").write_text(text)
    with pytest.raises(ConfigError, match=r"training\.json: not the status of a training .*state"):
        read_status(tmp_path)


def test_epoch_takes_what_has_passed_since_the_last_word() -> None:
    before = (datetime.now(UTC) - timedelta(seconds=8)).isoformat()
    after = replace(STATUS, updated=before).after_epoch()
    assert after.epoch_seconds == pytest.approx(8, abs=1)
    assert after.updated > before
    assert after.state == "training"


@pytest.mark.parametrize(
    ("state", "minutes", "epoch_seconds", "silent"),
    [
        ("training", 9, None, False),
        ("training", 11, None, True),
        ("training", 30, 300.0, False),
        ("training", 36, 300.0, True),
        ("judging", 11, None, True),
        ("finished", 9999, None, False),
    ],
)
def test_run_is_silent_after_much_more_than_an_epoch(
    state: str, minutes: int, epoch_seconds: float | None, silent: bool
) -> None:
    status = replace(STATUS, state=state, epoch_seconds=epoch_seconds)
    at = datetime.fromisoformat(status.updated) + timedelta(minutes=minutes)
    assert status.is_silent(at) is silent


def test_only_a_run_that_goes_on_is_not_over() -> None:
    states = ("training", "judging", "finished", "interrupted", "failed")
    over = [state for state in states if replace(STATUS, state=state).is_over]
    assert over == ["finished", "interrupted", "failed"]


def test_history_is_empty_before_the_first_epoch(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    (tmp_path / "epochs.jsonl").write_text("".join(json.dumps({"epoch": k}) + "\n" for k in (1, 2)))
    assert read_history(tmp_path) == [{"epoch": 1}, {"epoch": 2}]


def test_now_is_in_utc() -> None:
    assert now().endswith("+00:00")
