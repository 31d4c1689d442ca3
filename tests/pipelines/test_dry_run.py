"""`medres train --dry-run`: the whole course, and nothing trained."""

from pathlib import Path

import pytest

from medres.transforms import survey
from pipelines.__main__ import main


def dry_run(manifest: Path, out: Path, *options: str) -> int:
    flags = ["--data.manifest", str(manifest), "--out", str(out), "--training.batch_size", "18"]
    return main(["train", "--dry-run", *flags, *options])


def test_dry_run_prints_the_schedule_draws_it_and_trains_nothing(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_pixels(*_: object, **__: object) -> None:
        raise AssertionError("a dry run reads no pixels")

    monkeypatch.setattr(survey, "survey_images", read_pixels)
    assert dry_run(pictures, tmp_path, "--training.preset", "gradual") == 0
    shown = capsys.readouterr().out
    assert "advice: preset gradual, stem duplicate" in shown
    assert "Preset gradual: cosine after 1 epoch of warm-up; 20 epochs of 2 steps" in shown
    assert "60 images: train 36, validation 12, test 12; steps of 18" in shown
    assert "nothing was trained" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["schedule.png"]


def test_dry_run_says_which_images_of_an_archive_are_meant(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(pictures, tmp_path, "--image_rule.modality", "DX,CR") == 0
    assert (
        "images of an archive: modality DX or CR; body part, view, image types left out: as in the "
        "training images\n"
    ) in capsys.readouterr().out


def test_dry_run_says_what_random_weights_change(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(pictures, tmp_path, "--model.weights", "none") == 0
    shown = capsys.readouterr().out
    assert "note: preset freeze_then_finetune became full" in shown
    assert "Preset full" in shown


def test_dry_run_says_what_of_the_frozen_stages_is_computed_once(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(pictures, tmp_path) == 0
    assert "head on trains: all is computed anew, since the augmentation is drawn anew" in (
        capsys.readouterr().out
    )
    assert dry_run(pictures, tmp_path, "--training.augmentation.preset", "none") == 0
    assert (
        "frozen stages\n"
        "  epochs 0 to 3, head on trains: its input is computed once for 36 training images and 12 "
        "validation images, 96.0 KiB in memory\n"
        "  epochs 3 to 20, conv1 on trains: all is computed anew, since no stage in front of conv1 "
        "is frozen\n"
    ) in capsys.readouterr().out


def test_dry_run_refuses_what_training_would_refuse(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(pictures, tmp_path, "--training.epochs", "3") == 2
    assert "frozen_epochs: 3 is not accepted; with 3 epochs" in capsys.readouterr().err
    assert dry_run(pictures, tmp_path, "--training.stages.layer5.learning_rate", "1") == 2
    assert "unknown key 'training.stages.layer5.learning_rate'" in capsys.readouterr().err


def test_run_folder_holds_the_same_schedule(trained: Path) -> None:
    text = (trained / "schedule.txt").read_text()
    assert text.startswith("Preset full: cosine after 1 epoch of warm-up; 4 epochs of 2 steps.")
    assert (trained / "schedule.png").stat().st_size > 10_000
