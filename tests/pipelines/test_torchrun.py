"""Two real processes through torchrun and the command line."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def torchrun(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*program, "--nproc-per-node", "2", "-m", "pipelines.xray_train", *argv],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def options(manifest: Path, out: Path) -> list[str]:
    argv = ["--data.manifest", str(manifest), "--out", str(out), "--pixels.size", "32"]
    argv += ["--model.weights", "none", "--model.stem", "port", "--training.batch_size", "17"]
    argv += ["--training.epochs", "3", "--training.ema_decay", "0.9", "--device", "cpu"]
    return argv


def test_two_processes_train_one_model_and_write_one_report(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = torchrun(*options(pictures, out))
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("report  ") == 1
    assert "1 steps of 34 images" in ended.stderr
    assert ended.stderr.count("epoch   3/3") == 1
    history = [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [1, 2, 3]
    evaluation = json.loads((out / "report" / "evaluation.json").read_text())
    assert evaluation["training"]["step_images"] == 34
    with (out / "predictions" / "validation.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 12


def test_error_of_all_processes_is_told_and_ends_the_run(pictures: Path, tmp_path: Path) -> None:
    ended = torchrun(*options(pictures, tmp_path), "--training.batch_size", "20")
    assert ended.returncode != 0
    message = "training.batch_size 20 x 2 processes: 40 is more than the 36 training images"
    assert message in ended.stderr
