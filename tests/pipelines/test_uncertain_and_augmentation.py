"""Uncertain labels and augmentation by modality, from the table to the report."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from pipelines.__main__ import main

QUICK = ["--pixels.size", "32", "--training.epochs", "1", "--training.warmup_epochs", "0"]
QUICK += ["--model.weights", "none", "--training.batch_size", "18", "--device", "cpu"]


@pytest.fixture(scope="module")
def labels(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label table of the pictures, four of them uncertain, all of them ultrasound."""
    folder = tmp_path_factory.mktemp("labels") / "archive"
    shutil.copytree(pictures.parent, folder)
    with pictures.open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows[:4]:
        row["label"] = "-1"
    path = folder / "uncertain_labels.csv"
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, ["image", "patient_id", "label", "modality"])
        table.writeheader()
        table.writerows({**row, "modality": "us"} for row in rows)
    return path


@pytest.fixture(scope="module")
def manifest(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uncertain") / "manifest.csv"
    argv = ["prepare", str(labels.parent), "--labels", str(labels), "--out", str(out)]
    assert main([*argv, "--uncertain", "-1"]) == 0
    return out


def test_prepare_refuses_uncertain_labels_without_a_word(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.csv"
    argv = ["prepare", str(labels.parent), "--labels", str(labels), "--out", str(out)]
    assert main(argv) == 2
    assert "Where -1 stands for uncertain, say so: `--uncertain -1`" in capsys.readouterr().err
    assert not out.exists()


def test_prepare_counts_them_and_says_how_to_go_on(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["prepare", str(labels.parent), "--labels", str(labels), "--uncertain", "-1"]
    assert main([*argv, "--out", str(tmp_path / "m.csv")]) == 0
    said = capsys.readouterr().out
    assert "28 positive, 28 negative, 4 uncertain" in said
    assert "--data.uncertain ignore" in said


def test_training_refuses_them_without_a_policy(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--data.manifest", str(manifest), "--out", str(tmp_path / "r"), *QUICK]
    assert main(argv) == 2
    assert "a policy in `data.uncertain` when training" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_training_takes_them_by_policy_and_augments_by_modality(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--data.manifest", str(manifest), "--out", str(tmp_path), *QUICK]
    argv += ["--data.uncertain", "ones_smoothed", "--training.loss", "focal"]
    assert main(argv) == 0
    assert "augmentation ultrasound (modality US): rotate degrees 10" in capsys.readouterr().err
    report = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert any("(label 4) were taken for 0.7 in training" in note for note in report["notes"])
    assert report["training"]["augmentation"]["preset"] == "ultrasound"
    with (tmp_path / "manifest.csv").open() as stream:
        assert [row["label"] for row in csv.DictReader(stream)].count("-1") == 4
    finding = report["findings"]["label"]
    assert finding["n_missing"] == report["n"]["patients"] - finding["n"]
    # The run's own manifest is read back by the model that it made.
    argv = ["evaluate", str(tmp_path / "model"), str(tmp_path / "manifest.csv")]
    assert main([*argv, "--split", "test", "--out", str(tmp_path / "again")]) == 0
