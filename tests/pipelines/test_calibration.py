"""Calibrated probabilities through the command line: of training, evaluating and scoring alike."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from medres.data.table import read_table
from medres.metrics.operating_point import Threshold
from pipelines.__main__ import main


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def tempered(trained: Path, tmp_path: Path) -> Path:
    """The trained model with a temperature of 4, as a validation set large enough would give."""
    model = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    path = model / "configs" / "medres.json"
    values = json.loads(path.read_text())
    values["calibration"] = {
        "temperature": {"values": [4.0], "activation": "sigmoid", "n": 100},
        "reason": "",
        "validation": {},
    }
    path.write_text(json.dumps(values))
    return model


def logit(text: str) -> float:
    value = float(text)
    return math.log(value / (1 - value))


def test_small_validation_set_leaves_the_networks_probabilities(trained: Path) -> None:
    record = json.loads((trained / "model" / "configs" / "medres.json").read_text())
    assert record["calibration"]["temperature"] is None
    assert record["calibration"]["reason"]
    assert "label_untempered" not in rows(trained / "predictions" / "test.csv")[0]


def test_evaluation_is_of_calibrated_probabilities_and_keeps_the_others(
    trained: Path, tempered: Path, tmp_path: Path
) -> None:
    argv = [str(tempered), str(trained / "manifest.csv"), "--split", "test"]
    assert main(["evaluate", *argv, "--out", str(tmp_path / "e")]) == 0
    scored = rows(trained / "predictions" / "test.csv")
    before = {Path(row["image"]).name: row for row in scored}
    for row in rows(tmp_path / "e" / "predictions.csv"):
        untempered = before[Path(row["image"]).name]["label_score"]
        assert row["label_untempered"] == untempered
        assert logit(row["label_score"]) == pytest.approx(logit(untempered) / 4, abs=1e-5)
    report = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert report["calibration"]["temperature"]["values"] == [4.0]
    # A case is a patient here, and a mean of probabilities is no monotone function of another:
    # unchanged is the AUROC of images (tests/training/test_calibrate.py).


def test_scoring_gives_calibrated_probabilities(
    pictures: Path, trained: Path, tempered: Path, tmp_path: Path
) -> None:
    values = []
    for model in (trained / "model", tempered):
        out = tmp_path / model.parent.name
        status = main(["score", str(pictures.parent), "--model", str(model), "--out", str(out)])
        assert status in (0, 3)  # 3: the folder holds the manifest too
        keys = read_table(out / "keys.parquet").rows
        names = {row["image_key"]: row["image"] for row in keys}
        values.append({names[r["image_key"]]: r["label"] for r in rows(out / "images.csv")})
    before, after = values
    assert before.keys() == after.keys()
    for name, value in after.items():
        assert logit(value) == pytest.approx(logit(before[name]) / 4, abs=1e-5)


def test_no_calibration_where_none_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    argv = ["train", "--data.manifest", str(pictures), "--out", str(tmp_path), "--device", "cpu"]
    argv += ["--pixels.size", "32", "--training.epochs", "1", "--training.warmup_epochs", "0"]
    argv += ["--model.weights", "none", "--training.batch_size", "18"]
    assert main([*argv, "--evaluation.calibration", "none"]) == 0
    record = json.loads((tmp_path / "model" / "configs" / "medres.json").read_text())
    assert record["calibration"]["reason"] == "none was asked for"
    assert Threshold(**record["thresholds"]["label"]).n == 6
