"""Which folders below the served one are runs, evaluations or scored archives, newest first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from medres.errors import ConfigError
from medres.files import read_json
from medres.reports.evidence import JSON_NAME
from medres.reports.evidence import PAGE_NAME as EVIDENCE_PAGE
from medres.reports.training_page import PAGE_NAME as TRAINING_PAGE
from medres.training.status import HISTORY_NAME, STATUS_NAME, read_history, read_status

Kind = Literal["run", "evaluation", "archive"]
State = Literal["training", "judging", "finished", "interrupted", "failed", "silent", "unknown"]
DEPTH = 4
MOST = 2_000
"""Entries that are looked for: a page of more would not be read."""
INNER = {"checkpoints", "events", "model", "predictions", "report", "figures", "tables"}
"""Folders of a run that hold no other."""
STUDIES = "studies.parquet"


@dataclass(frozen=True)
class Entry:
    """A folder that can be opened.

    Attributes:
        name: its path below the served folder, with forward slashes; "." for that folder itself.
        folder: where it lies.
        kind: what it holds.
        state: how far it has come; unknown for a run without a status.
        changed: when it last changed, seconds since the epoch.
        evidence: address of its evidence page, relative to it; "" for none.
        training: likewise of its training's own page.
        evaluation: its `evaluation.json` without curves; empty for none.
        progress: in words; "" where there is nothing to say.
    """

    name: str
    folder: Path
    kind: Kind
    state: State
    changed: float
    evidence: str
    training: str
    evaluation: Mapping[str, Any]
    progress: str

    @property
    def when(self) -> str:
        """When it last changed, in UTC, to the minute."""
        return datetime.fromtimestamp(self.changed, UTC).strftime("%Y-%m-%d %H:%M")


def find_entries(root: Path) -> list[Entry]:
    """Every entry below a folder, newest first; damaged ones too, with what can be said of them."""
    found = []
    for folder in _folders(root, DEPTH):
        entry = read_entry(root, folder)
        if entry is not None:
            found.append(entry)
        if len(found) == MOST:
            break
    return sorted(found, key=lambda entry: (-entry.changed, entry.name))


def read_entry(root: Path, folder: Path) -> Entry | None:
    """What a folder holds, or None where that is no run, evaluation or archive."""
    if (folder / STUDIES).is_file():
        kind: Kind = "archive"
    elif (folder / STATUS_NAME).is_file() or (folder / HISTORY_NAME).is_file():
        kind = "run"
    elif (folder / JSON_NAME).is_file():
        kind = "evaluation"
    elif (folder / "report" / JSON_NAME).is_file():
        kind = "evaluation"  # of a cross-validation, whose folds are runs
    else:
        return None
    report = "report" if (folder / "report" / JSON_NAME).is_file() else ""
    evidence = Path(report) / EVIDENCE_PAGE
    state, progress = _state(folder, kind)
    return Entry(
        name=folder.relative_to(root).as_posix(),
        folder=folder,
        kind=kind,
        state=state,
        changed=_changed(folder, report),
        evidence=evidence.as_posix() if (folder / evidence).is_file() else "",
        training=TRAINING_PAGE if (folder / TRAINING_PAGE).is_file() else "",
        evaluation=_read_evaluation(folder / report / JSON_NAME),
        progress=progress,
    )


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """The folder and those below it; links are not followed: they may lead anywhere."""
    yield folder
    if not depth:
        return
    try:
        with os.scandir(folder) as items:
            names = sorted(item.name for item in items if item.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in names:
        if not name.startswith(".") and name not in INNER:
            yield from _folders(folder / name, depth - 1)


def _changed(folder: Path, report: str) -> float:
    names = (STATUS_NAME, HISTORY_NAME, Path(report) / JSON_NAME, STUDIES, "summary.json")
    times = [(folder / name).stat().st_mtime for name in names if (folder / name).exists()]
    return max(times, default=0.0)


def _state(folder: Path, kind: Kind) -> tuple[State, str]:
    if kind != "run":
        return "finished", ""
    try:
        status = read_status(folder)
        done = len(read_history(folder))
    except (ConfigError, ValueError):  # of an older medres, or damaged
        return ("finished" if (folder / "report" / JSON_NAME).is_file() else "unknown"), ""
    progress = f"{done} of {status.epochs} epochs"
    silent = status.is_silent(datetime.now(UTC))
    return ("silent" if silent else status.state), progress


def _read_evaluation(path: Path) -> Mapping[str, Any]:
    """The evaluation without its curves; empty where there is none, or it is damaged."""
    try:
        stamp = path.stat()
    except OSError:
        return {}
    return _read_slim(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=MOST)
def _read_slim(path: Path, _changed_at: int, _size: int) -> Mapping[str, Any]:
    try:
        values = read_json(path)
        findings = values["findings"].items()
        slim = {
            name: {key: value for key, value in finding.items() if key != "curves"}
            for name, finding in findings
        }
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
    return {**values, "findings": slim}
