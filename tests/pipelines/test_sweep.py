"""The seed sweep: planned whole, refused before it starts, added to by another seed."""

import json
from pathlib import Path

import pytest

from medres.errors import ConfigError
from pipelines.__main__ import main
from pipelines.sweep import plan_runs

QUICK = ["--pixels.size", "32", "--training.epochs", "1", "--training.warmup_epochs", "0"]
QUICK += ["--model.weights", "none", "--model.stem", "port", "--training.preset", "full"]
QUICK += ["--training.batch_size", "18", "--device", "cpu"]


def test_settings_are_crossed_and_each_run_has_a_folder() -> None:
    over = ["training.preset=full,gradual", "model.weights=none,a/b.pt"]
    runs = plan_runs([4, 5], over, ["--out", "x"])
    assert len(runs) == 8
    setting, config = runs[2]
    assert setting == {"training.preset": "full", "model.weights": "a/b.pt"}
    assert (config.training.preset, config.model.weights, config.seed) == ("full", "a/b.pt", 4)
    assert config.out == Path("x/preset=full,weights=a_b.pt/seed-4")
    assert [config.out for _, config in plan_runs([7], [], ["--out", "x"])] == [Path("x/seed-7")]


@pytest.mark.parametrize(
    ("seeds", "over", "message"),
    [
        ([1, 1], [], "--seeds: 1 1 repeat one; give each once"),
        ([1], ["training.preset"], r"--over training\.preset: expects KEY=VALUE,VALUE"),
        ([1], ["=full"], "--over =full: expects KEY=VALUE"),
        ([1], ["training.preset=full,full"], "and different values"),
        ([1], ["training.presets=full"], "did you mean 'training.preset'"),
        ([1], ["training.preset=half"], r"training\.preset: half is not accepted"),
        ([1], ["model.weights=a/b,a_b"], "two settings would share a run folder"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_it_starts(
    seeds: list[int], over: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_runs(seeds, over, [])


def test_one_seed_among_several_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--seeds", "1", "2", "--seed", "3"]) == 2
    assert "--seed: a sweep has several; give them with --seeds" in capsys.readouterr().err


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--seeds", "1", "--training.epoch", "3"]) == 2
    assert "did you mean 'training.epochs'" in capsys.readouterr().err


def test_another_seed_adds_to_a_sweep(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--data.manifest", str(pictures), "--out", str(tmp_path / "s"), *QUICK]
    assert main(["sweep", "--seeds", "3", *argv]) == 0
    weights = tmp_path / "s" / "seed-3" / "checkpoints" / "best.pt"
    written = weights.stat().st_mtime_ns
    assert main(["sweep", "--seeds", "3", "4", *argv]) == 0
    assert weights.stat().st_mtime_ns == written  # resumed, not trained again
    table = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert [row["seed"] for row in table["runs"]] == [3, 4]
    assert {entry["n"] for entry in table["summary"] if entry["figure"] == "auroc"} == {2}
    assert "| finding | seeds | auroc |" in capsys.readouterr().out
