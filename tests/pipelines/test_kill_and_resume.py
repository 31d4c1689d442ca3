"""A real process, killed with SIGKILL at random moments, ends as an undisturbed one."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medres.files import file_digest
from pipelines.__main__ import main

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 900


def arguments(manifest: Path, out: Path) -> list[str]:
    argv = ["train", "--data.manifest", str(manifest), "--out", str(out), "--pixels.size", "32"]
    argv += ["--model.weights", "none", "--model.stem", "adapter", "--training.batch_size", "18"]
    argv += ["--training.epochs", "6", "--training.ema_decay", "0.9", "--device", "cpu"]
    argv += ["--training.checkpoint_steps", "1"]
    return [*argv, "--training.augmentation.noise", "0.2"]


def kill_when(argv: list[str], ready: Callable[[], bool], delay: float) -> bool:
    """Start the programme, wait for `ready` and a moment more, and kill it; False if it ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    return process.wait() == -signal.SIGKILL


def iteration_of(state: Path) -> int:
    return torch.load(state, weights_only=True)["iteration"] if state.exists() else 0


def written_since(state: Path) -> Callable[[], bool]:
    """Whether a whole new state stands there."""
    before = state.stat().st_mtime_ns if state.exists() else 0
    return lambda: state.exists() and state.stat().st_mtime_ns > before


def being_written(state: Path) -> Callable[[], bool]:
    """Whether a new state is half-way through being written beside the old one."""
    old = {path.name for path in state.parent.glob(f".{state.stem}-*")}

    def half_written() -> bool:
        try:
            return any(
                path.name not in old and path.stat().st_size > 2**20
                for path in state.parent.glob(f".{state.stem}-*")
            )
        except FileNotFoundError:  # moved into its place meanwhile
            return False

    return half_written


def test_killed_run_ends_in_the_same_weights_and_figures(pictures: Path, tmp_path: Path) -> None:
    assert main(arguments(pictures, tmp_path / "whole")) == 0
    killed = tmp_path / "killed"
    state = killed / "checkpoints" / "last.pt"
    moments = random.Random(0)
    reached, half_written = [], []
    for number in range(6):
        # In turns: while a state is being written, and anywhere after one was.
        ready = (being_written if number % 2 == 0 else written_since)(state)
        if not kill_when(
            arguments(pictures, killed), ready, moments.uniform(0, 0.3) * (number % 2)
        ):
            break
        reached.append(iteration_of(state))
        half_written.append(bool([*state.parent.glob(".last-*")]))
    assert len(reached) >= 4, "the run ended before it was killed often enough"
    assert any(iteration % 2 == 1 for iteration in reached), "no state from within an epoch"
    assert any(half_written), "no kill hit a state being written"
    assert main(arguments(pictures, killed)) == 0

    assert file_digest(killed / "model/models/model.pt") == file_digest(
        tmp_path / "whole" / "model/models/model.pt"
    )
    ends = [
        json.loads((tmp_path / run / "report" / "evaluation.json").read_text())["findings"]
        for run in ("whole", "killed")
    ]
    assert ends[0] == ends[1]
    histories = [
        [
            {**json.loads(line), "images_per_second": 0}
            for line in (tmp_path / run / "epochs.jsonl").read_text().splitlines()
        ]
        for run in ("whole", "killed")
    ]
    assert histories[0] == histories[1]
    assert [record["epoch"] for record in histories[0]] == [1, 2, 3, 4, 5, 6]
    assert not [*state.parent.glob(".*")]
