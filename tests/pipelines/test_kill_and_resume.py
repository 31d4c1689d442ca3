"""A real process, killed with SIGKILL, ends as an undisturbed one when started again."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medres.files import file_digest
from pipelines.__main__ import main

pytestmark = pytest.mark.slow


def arguments(manifest: Path, out: Path) -> list[str]:
    argv = ["train", "--data.manifest", str(manifest), "--out", str(out), "--pixels.size", "32"]
    argv += ["--model.weights", "none", "--model.stem", "adapter", "--training.batch_size", "18"]
    argv += ["--training.epochs", "6", "--training.ema_decay", "0.9", "--device", "cpu"]
    return [*argv, "--training.augmentation.noise", "0.2"]


def kill_after_epoch(argv: list[str], out: Path, epoch: int, delay: float) -> None:
    """Start the programme, wait for an epoch's end and a moment more, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    history = out / "epochs.jsonl"
    while process.poll() is None:
        if history.exists() and len(history.read_text().splitlines()) >= epoch:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.01)


def test_killed_run_ends_in_the_same_weights_and_figures(pictures: Path, tmp_path: Path) -> None:
    assert main(arguments(pictures, tmp_path / "whole")) == 0
    killed = tmp_path / "killed"
    for epoch, delay in ((1, 0.02), (2, 0.1), (4, 0.3)):
        kill_after_epoch(arguments(pictures, killed), killed, epoch, delay)
    assert main(arguments(pictures, killed)) == 0
    for name in ("model/models/model.pt",):
        assert file_digest(killed / name) == file_digest(tmp_path / "whole" / name)
    ends = [
        json.loads((tmp_path / run / "report" / "evaluation.json").read_text())["findings"]
        for run in ("whole", "killed")
    ]
    assert ends[0] == ends[1]
    history = (killed / "epochs.jsonl").read_text().splitlines()
    epochs = [json.loads(line)["epoch"] for line in history]
    assert epochs == [1, 2, 3, 4, 5, 6]
