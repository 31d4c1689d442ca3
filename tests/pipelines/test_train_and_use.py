"""The line from pictures to evidence, through the command line."""

import csv
import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medres.bundle.directory import load_model
from medres.data.table import read_table
from pipelines.__main__ import main


def evaluation(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def test_run_folder_holds_everything(trained: Path) -> None:
    for name in (
        "config.yaml",
        "run.json",
        "manifest.csv",
        "epochs.jsonl",
        "checkpoints/best.pt",
        "checkpoints/last.pt",
        "predictions/validation.csv",
        "predictions/test.csv",
        "model/configs/medres.json",
        "model/models/model.pt",
        "report/evaluation.json",
        "report/evaluation.html",
        "training.json",
    ):
        assert (trained / name).is_file(), name
    page = (trained / "training.html").read_text(encoding="utf-8")
    assert "Finished after 4 of 4 epochs." in page
    assert '<a href="report/evaluation.html">' in page
    assert yaml.safe_load((trained / "config.yaml").read_text())["pixels"]["size"] == 32


def test_stem_goes_from_the_command_line_into_the_model(pictures: Path, tmp_path: Path) -> None:
    argv = ["train", "--data.manifest", str(pictures), "--out", str(tmp_path / "run")]
    argv += ["--pixels.size", "32", "--model.weights", "none", "--model.stem", "adapter"]
    argv += ["--model.stem_init", "imagenet", "--training.epochs", "1", "--training.batch_size"]
    assert main([*argv, "18", "--training.warmup_epochs", "0", "--device", "cpu"]) == 0
    record = json.loads((tmp_path / "run/model/configs/medres.json").read_text())
    fitted = record["preprocessing"]["statistics"]
    assert record["network"] == {
        "depth": 18,
        "stem": "adapter",
        "num_outputs": 1,
        "stem_init": "imagenet",
        "display_mean": fitted["mean"],
        "display_std": fitted["std"],
    }
    assert evaluation(tmp_path / "run" / "report")["model"]["stem_init"] == "imagenet"
    assert load_model(tmp_path / "run" / "model").network.stem_start.reference == "R0"


def test_report_has_every_figure_with_its_interval(trained: Path) -> None:
    report = evaluation(trained / "report")
    finding = report["findings"]["label"]
    for name in [
        "auroc",
        "average_precision",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "brier_score",
        "expected_calibration_error",
        "prevalence",
    ]:
        figure = finding[name]
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert finding["auroc"]["method"].startswith(("Newcombe", "one-sided"))
    assert report["unit"] == "patient"
    assert report["n"] == {"patients": 6, "studies": None, "images": 12}
    assert "Youden index on validation" in finding["threshold"]["rule"]
    assert any("random" in note for note in report["notes"])


def test_no_patient_stands_in_two_splits(trained: Path) -> None:
    with (trained / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    splits = {}
    for row in rows:
        splits.setdefault(row["patient_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {row["split"] for row in rows} == {"train", "validation", "test"}


def test_evaluation_of_the_test_split_repeats_the_report(trained: Path, tmp_path: Path) -> None:
    argv = [str(trained / "model"), str(trained / "manifest.csv"), "--split", "test"]
    assert main(["evaluate", *argv, "--out", str(tmp_path)]) == 0
    assert evaluation(tmp_path)["findings"] == evaluation(trained / "report")["findings"]
    assert (tmp_path / "evaluation.html").is_file()
    card = (trained / "model" / "docs" / "README.md").read_bytes()
    assert (tmp_path / "model_card.md").read_bytes() == card
    assert (trained / "report" / "model_card.md").read_bytes() == card
    assert b"On 6 test patients" in card
    assert b"| AUROC | " in card


def test_flow_begins_with_what_prepare_left_out(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(pictures.parent, tmp_path / "in")
    (folder / "notes.dcm").write_text("no image")
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(folder / "extra.png")
    labels, out = folder / pictures.name, tmp_path / "m.csv"
    assert main(["prepare", str(folder), "--labels", str(labels), "--out", str(out)]) == 0
    argv = [str(trained / "model"), str(out), "--on-seen", "drop", "--out", str(tmp_path / "out")]
    assert main(["evaluate", *argv]) == 0
    assert evaluation(tmp_path / "out")["flow"] == {
        "found": {
            "n": 62,
            "excluded": [
                {"why": "refused: not_dicom", "n": 1},
                {"why": "without a label", "n": 1},
            ],
        },
        "start": "images of the manifest",
        "n": 60,
        "excluded": [
            {"why": "not asked for (--split, --where)", "n": 0},
            {"why": "of patients that the model was fitted on", "n": 48},
        ],
    }
    assert evaluation(trained / "report")["flow"] == {
        "start": "images of the manifest",
        "n": 60,
        "excluded": [
            {"why": "not asked for (data.where)", "n": 0},
            {"why": "equal to an image in another split", "n": 0},
        ],
    }
    assert "62 files found" in (tmp_path / "out" / "evaluation.html").read_text(encoding="utf-8")


def test_pixels_stand_in_a_report_only_where_they_are_allowed(
    trained: Path, tmp_path: Path
) -> None:
    page = (trained / "report" / "evaluation.html").read_text(encoding="utf-8")
    assert "No pixels are shown" in page
    assert "data:image/jpeg" not in page
    assert "patient-" not in page
    argv = ["evaluate", str(trained / "model"), str(trained / "manifest.csv"), "--split", "test"]
    assert main([*argv, "--images", "all", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    shown = evaluation(tmp_path)["cases"]["label"]
    assert page.count("data:image/jpeg") == len(shown) > 0
    assert "patient-" not in page
    with (tmp_path / "cases.csv").open() as stream:
        patients = {row["key"]: row["patient_id"] for row in csv.DictReader(stream)}
    assert set(patients) == {f"case-{k}" for k in range(1, 7)}
    case = shown[0]
    assert (int(patients[case["key"]].split("-")[1]) % 2 == 1) is case["positive"]
    assert (tmp_path / "cases.csv").stat().st_mode & 0o777 == 0o600


def test_pictures_may_be_allowed_after_a_training(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert (
        main(["train", "--config", str(run / "config.yaml"), "--out", str(run), "--images=all"])
        == 0
    )
    page = (run / "report" / "evaluation.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in page


def test_evaluation_on_training_patients_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(trained / "model"), str(trained / "manifest.csv"), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *argv]) == 2
    error = capsys.readouterr().err
    assert "48 of 60 images" in error
    assert "--on-seen drop" in error
    assert not (tmp_path / "out").exists()
    assert main(["evaluate", *argv, "--on-seen", "drop"]) == 0
    report = evaluation(tmp_path / "out")
    assert report["n"]["patients"] == 6
    assert any("were left out" in note for note in report["notes"])


def test_resumed_finished_run_reports_the_same(trained: Path, tmp_path: Path) -> None:
    before = evaluation(trained / "report")["findings"]
    assert main(["train", "--config", str(trained / "config.yaml")]) == 0
    assert evaluation(trained / "report")["findings"] == before


def test_score_lists_every_file_once(trained: Path, pictures: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(pictures.parent, archive)
    (archive / "broken.dcm").write_text("no image")
    out = tmp_path / "out"
    assert main(["score", str(archive), "--model", str(trained / "model"), "--out", str(out)]) == 3
    summary = json.loads((out / "summary.json").read_text())
    assert summary["files"] == summary["inputs"] == 62
    assert summary["images_scored"] == 60
    assert summary["rejected"] == 2  # broken.dcm, and manifest.csv
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert {r["reason"] for r in rejected} == {"not_dicom", "unknown_format"}


def test_scores_are_those_of_the_training_run(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    main(["score", str(pictures.parent), "--model", str(trained / "model"), "--out", str(out)])
    keys = read_table(out / "keys.parquet").rows
    name_of = {row["image_key"]: row["image"] for row in keys}
    with (out / "images.csv").open() as stream:
        scores = {name_of[r["image_key"]]: float(r["label"]) for r in csv.DictReader(stream)}
    with (trained / "predictions" / "test.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    for row in rows:
        assert scores[Path(row["image"]).name] == pytest.approx(float(row["label_score"]), abs=1e-5)


def test_result_tables_name_no_file_and_keys_are_the_owners_alone(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    main(["score", str(pictures.parent), "--model", str(trained / "model"), "--out", str(out)])
    for name in ("images.csv", "studies.csv", "rejected.jsonl", "summary.json"):
        text = (out / name).read_text()
        assert ".png" not in text
        assert "manifest" not in text
    for name in ("keys.parquet", "site_secret", "journal.jsonl"):
        assert stat.S_IMODE((out / name).stat().st_mode) == 0o600


def test_training_says_at_once_that_a_preset_cannot_be_kept(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--data.manifest", str(pictures), "--out", str(tmp_path / "out")]
    argv += ["--pixels.size", "32", "--model.weights", "none", "--training.preset", "gradual"]
    argv += ["--training.batch_size", "8", "--training.epochs", "1", "--device", "cpu"]
    assert main([*argv, "--training.warmup_epochs", "0"]) == 0
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "ResNet-18, stem duplicate (equal), random weights, preset full: 36 images"
    )
    assert any(line.startswith("note: preset gradual became full") for line in rest)
    assert any(line.startswith("note: batch_size 8 became 32") for line in rest)
