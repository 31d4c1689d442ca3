"""`medres lr-range`: a rate, its picture, and nothing else touched."""

import json
from pathlib import Path

import pytest

from pipelines.__main__ import main


def sweep(manifest: Path, out: Path, *options: str) -> int:
    flags = ["--data.manifest", str(manifest), "--out", str(out), "--pixels.size", "32"]
    flags += ["--model.weights", "none", "--training.batch_size", "17", "--device", "cpu"]
    return main(["lr-range", *flags, "--steps", "12", "--training.precision", "fp32", *options])


def test_sweep_leaves_figures_and_picture_and_repeats_itself(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "second"):
        assert sweep(pictures, tmp_path / name) == 0
    shown = capsys.readouterr().out
    first, second = (
        json.loads((tmp_path / name / "lr_range.json").read_text()) for name in ("first", "second")
    )
    assert first == second
    assert len(first["losses"]) <= 12
    assert "picture" in shown
    assert sorted(p.name for p in (tmp_path / "first").iterdir()) == [
        "lr_range.json",
        "lr_range.png",
    ]


def test_impossible_sweeps_are_refused_before_images_are_read(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(pictures, tmp_path / "out", "--low", "2") == 2
    assert "learning-rate range: 2 to 1 is not accepted" in capsys.readouterr().err
    assert sweep(pictures, tmp_path / "out", "--training.epoch", "2") == 2
    assert "did you mean 'training.epochs'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
