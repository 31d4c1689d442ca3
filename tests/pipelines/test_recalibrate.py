from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np

from pipelines.recalibrate import main


def write_local(path: Path, n: int = 200) -> Path:
    generator = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient_id", "label", "label_score"])
        for k in range(n):
            z = 4 * generator.normal()
            y = int(generator.random() < 1 / (1 + np.exp(-z / 2)))
            table.writerow([f"{k}.png", f"site-{k}", y, f"{1 / (1 + np.exp(-z)):.9g}"])
    return path


def record(model: Path) -> dict:
    return json.loads((model / "configs" / "medres.json").read_text())


def test_a_copy_is_recalibrated_and_the_model_left_alone(trained: Path, tmp_path: Path, capsys):
    old = record(trained / "model")
    scores, out = write_local(tmp_path / "local.csv"), tmp_path / "site"
    assert main([str(trained / "model"), str(scores), "--out", str(out)]) == 0
    new = record(out)
    assert record(trained / "model") == old
    assert new["weights_sha256"] == old["weights_sha256"]
    assert new["replaced"][0]["thresholds"] == old["thresholds"]
    assert new["thresholds"]["label"]["rule"] == "Youden index on local scores"
    assert new["calibration"]["temperature"]["n"] == 200
    text = capsys.readouterr().out
    assert "temperature" in text
    assert "Figures after are of the cases that they were fitted on" in text
    assert main([str(trained / "model"), str(scores), "--out", str(out)]) == 2
    assert "exists already; give a folder that does not" in capsys.readouterr().err


def test_a_model_is_recalibrated_in_place_and_still_scores(trained: Path, tmp_path: Path):
    from medres.bundle.directory import load_model

    model = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    options = ["--rule", "specificity_at_least", "--target", "0.8"]
    assert main([str(model), str(write_local(tmp_path / "local.csv")), *options]) == 0
    loaded = load_model(model)
    assert loaded.record.replaced
    assert loaded.record.thresholds["label"].rule == (
        "specificity of at least 0.8 by its lower 95% bound on local scores"
    )


def test_patients_that_the_model_was_fitted_on_are_refused(trained: Path, capsys):
    scores = trained / "predictions" / "validation.csv"
    assert main([str(trained / "model"), str(scores)]) == 2
    assert "patients are ones that the model was fitted on" in capsys.readouterr().err


def test_scores_of_another_finding_are_refused(trained: Path, tmp_path: Path, capsys):
    path = tmp_path / "local.csv"
    path.write_text("mass,mass_score\n1,0.5\n", encoding="utf-8")
    assert main([str(trained / "model"), str(path)]) == 2
    assert "no columns 'label' and 'label_score'" in capsys.readouterr().err
