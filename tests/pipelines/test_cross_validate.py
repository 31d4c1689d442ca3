"""Folds through the command line: every image tested on once, and one model of all folds."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.data.table import read_table
from pipelines.__main__ import main
from pipelines.cross_validate import describe_folds

QUICK = ["--pixels.size", "32", "--training.epochs", "2", "--training.warmup_epochs", "0"]
QUICK += ["--model.weights", "none", "--model.stem", "port", "--training.preset", "full"]
QUICK += ["--training.batch_size", "18", "--device", "cpu"]
QUICK += ["--evaluation.band", "[0.8, 0.7]", "--evaluation.target_by", "observed"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def folds(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folds") / "cv"
    argv = ["--folds", "3", "--data.manifest", str(pictures), "--out", str(out), *QUICK]
    assert main(["cross-validate", *argv]) == 0
    return out


def test_every_image_is_scored_once_by_a_model_that_has_not_seen_it(
    folds: Path, pictures: Path
) -> None:
    pooled = rows(folds / "predictions.csv")
    images = [Path(row["image"]).name for row in pooled]
    assert images == [Path(row["image"]).name for row in rows(pictures)]
    single = {}
    for fold in (1, 2, 3):
        for row in rows(folds / f"fold-{fold}" / "predictions" / "test.csv"):
            assert Path(row["image"]).name not in single
            single[Path(row["image"]).name] = row["label_score"]
    assert {Path(row["image"]).name: row["label_score"] for row in pooled} == single


def test_pooled_report_has_intervals_decisions_and_each_fold_beside(folds: Path) -> None:
    report = json.loads((folds / "report" / "evaluation.json").read_text())
    finding = report["findings"]["label"]
    assert finding["auroc"]["low"] <= finding["auroc"]["value"] <= finding["auroc"]["high"]
    table = finding["confusion"]
    assert sum(table.values()) == finding["n"] == report["n"]["patients"]
    assert "each fold's own threshold" in finding["threshold"]["rule"]
    assert set(report["folds"]) == {"fold 1", "fold 2", "fold 3"}
    assert any("predictions out of fold" in note for note in report["notes"])
    table = json.loads((folds / "folds.json").read_text())
    assert [row["fold"] for row in table["runs"]] == [1, 2, 3]
    assert "| finding | folds | auroc |" in (folds / "folds.md").read_text()


def test_pooled_decisions_are_those_of_the_folds(folds: Path) -> None:
    counts = {"tp": 0, "fp": 0, "tn": 0, "fn": 0}
    for fold in (1, 2, 3):
        path = folds / f"fold-{fold}" / "report" / "evaluation.json"
        own = json.loads(path.read_text())["findings"]["label"]["confusion"]
        counts = {key: counts[key] + own[key] for key in counts}
    report = json.loads((folds / "report" / "evaluation.json").read_text())
    assert report["findings"]["label"]["confusion"] == counts


def test_pooled_report_shows_cases_by_their_own_folds_thresholds(folds: Path) -> None:
    report = json.loads((folds / "report" / "evaluation.json").read_text())
    shown = report["cases"]["label"]
    keys = rows(folds / "cases.csv")
    assert (folds / "cases.csv").stat().st_mode & 0o077 == 0
    assert len({row["key"] for row in keys}) == report["n"]["patients"]
    pooled = {row["image"]: row for row in rows(folds / "predictions.csv")}
    assert {row["image"] for row in keys} == set(pooled)
    for case in shown:
        of_case = [row for row in keys if row["key"] == case["key"]]
        scores = [float(pooled[row["image"]]["label_score"]) for row in of_case]
        assert min(scores) - 1e-6 <= case["score"] <= max(scores) + 1e-6
    table = report["findings"]["label"]["confusion"]
    mistakes = [case for case in shown if case["kind"] != "borderline"]
    assert len(mistakes) == min(4, table["fn"]) + min(4, table["fp"])
    page = (folds / "report" / "evaluation.html").read_text()
    assert 'id="cases"' in page
    assert "Pictures stand in each fold" in page


def test_the_ensemble_scores_as_the_mean_of_its_members(
    folds: Path, pictures: Path, tmp_path: Path
) -> None:
    found = {}
    for name in ("model", "fold-1/model", "fold-2/model", "fold-3/model"):
        out = tmp_path / name.replace("/", "-")
        argv = ["score", str(pictures.parent), "--model", str(folds / name), "--out", str(out)]
        assert main(argv) in (0, 3)  # 3: the folder holds the manifest too
        keys = read_table(out / "keys.parquet").rows
        names = {row["image_key"]: row["image"] for row in keys}
        found[name] = {names[r["image_key"]]: float(r["label"]) for r in rows(out / "images.csv")}
    ensemble = found.pop("model")
    for image, value in ensemble.items():
        mean = math.fsum(member[image] for member in found.values()) / 3
        assert value == pytest.approx(mean, abs=1e-5)


def test_the_ensemble_has_seen_every_patient(
    folds: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", str(folds / "model"), str(pictures), "--out", str(tmp_path)]
    assert main(argv) == 2
    assert "images are of patients that the model was fitted on" in capsys.readouterr().err


def test_thresholds_of_the_ensemble_say_where_they_come_from(folds: Path) -> None:
    record = json.loads((folds / "model" / "configs" / "medres.json").read_text())
    assert len(record["members"]) == 3
    assert record["thresholds"]["label"]["rule"].endswith("on predictions out of fold")
    network = json.loads((folds / "model" / "configs" / "inference.json").read_text())
    assert network["network_def"]["_target_"] == "medres.models.ensemble.ResNetEnsemble"


def test_folds_can_be_trained_apart_and_go_on_where_they_were(folds: Path, pictures: Path) -> None:
    checkpoints = [folds / f"fold-{fold}" / "checkpoints" / "best.pt" for fold in (1, 2)]
    written = [path.stat().st_mtime_ns for path in checkpoints]
    before = rows(folds / "predictions.csv")
    shutil.rmtree(folds / "fold-3")  # as if it had been killed there
    (folds / "predictions.csv").unlink()
    argv = ["--folds", "3", "--data.manifest", str(pictures), "--out", str(folds), *QUICK]
    assert main(["cross-validate", "--only", "3", *argv]) == 0
    assert (folds / "fold-3" / "model").is_dir()
    assert not (folds / "predictions.csv").exists()
    assert main(["cross-validate", *argv]) == 0
    assert [path.stat().st_mtime_ns for path in checkpoints] == written
    assert rows(folds / "predictions.csv") == before


def test_what_a_reader_has_to_know_about_the_folds_is_noted() -> None:
    rows = tuple(
        ManifestRow(f"{n}.png", 0, f"{n}.png", "", "train", (float(n % 2),)) for n in range(4)
    )
    manifest = Manifest(Path(), rows, LabelSchema("binary", ("f",), ("label",)), False)
    pictures = {("0.png", 0): "a", ("1.png", 0): "b", ("2.png", 0): "a", ("3.png", 0): "c"}
    notes = describe_folds(manifest, pictures)
    assert "each image counts as a patient" in notes[0]
    assert notes[1:] == [
        "The manifest's own split was not looked at: every image is tested on once.",
        "1 pictures are shared by several patients, who stand in one fold.",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--folds", "2"], "folds: 2 is not accepted; give 3 or more"),
        (["--folds", "3", "--only", "4"], "--only: [4] is not accepted; give folds from 1 to 3"),
        (["--folds", "40"], "and each of 40 folds needs one at least; give fewer folds"),
        (["--training.epoch", "2"], "did you mean 'training.epochs'"),
    ],
)
def test_bad_input_is_refused_before_training(
    argv: list[str],
    message: str,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    argv = ["cross-validate", "--data.manifest", str(pictures), "--out", str(out), *QUICK, *argv]
    assert main(argv) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def finding_of(report: Path) -> dict:
    return json.loads((report / "evaluation.json").read_text())["findings"]["label"]


def record_of(model: Path) -> dict:
    return json.loads((model / "configs" / "medres.json").read_text())


def test_band_is_chosen_on_validation_and_reported_on_test(folds: Path) -> None:
    counts = dict.fromkeys(finding_of(folds / "report")["three_way"]["counts"], 0)
    for fold in (1, 2, 3):
        run = folds / f"fold-{fold}"
        band = record_of(run / "model")["bands"]["label"]
        assert band["targets"] == {"sensitivity": 0.8, "specificity": 0.7}
        cases: dict[str, list[tuple[float, float]]] = {}
        for row in rows(run / "predictions" / "validation.csv"):  # each image is a study
            pair = float(row["label_score"]), float(row["label"])
            cases.setdefault(row["patient_id"], []).append(pair)
        patients = [(max(s for s, _ in of), max(y for _, y in of)) for of in cases.values()]
        positives, negatives = ([s for s, y in patients if y == kind] for kind in (1, 0))
        low, high = (band[end]["value"] for end in ("lower", "upper"))
        assert sum(s >= low for s in positives) >= 0.8 * len(positives)
        assert sum(s < high for s in negatives) >= 0.7 * len(negatives)
        section = finding_of(run / "report")["three_way"]
        assert {key: section[key] for key in band} == band
        counts = {key: counts[key] + section["counts"][key] for key in counts}
        assert "indeterminate in between" in (run / "model" / "docs" / "README.md").read_text()
    pooled = finding_of(folds / "report")["three_way"]
    assert pooled["counts"] == counts
    assert pooled["lower"]["rule"] == "each fold's own band, chosen on its validation cases"
    ensemble = record_of(folds / "model")["bands"]["label"]
    assert ensemble["lower"]["rule"] == "sensitivity of at least 0.8 on predictions out of fold"


def test_a_locked_band_goes_where_the_model_goes(
    folds: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model = folds / "fold-1", str(folds / "fold-1" / "model")
    band = record_of(run / "model")["bands"]["label"]
    again = ["evaluate", model, str(run / "manifest.csv"), "--split", "test", "--device", "cpu"]
    assert main([*again, "--out", str(tmp_path / "again")]) == 0
    reports = run / "report", tmp_path / "again"
    before, after = (finding_of(report)["three_way"]["counts"] for report in reports)
    assert after == before
    table = tmp_path / "again" / "predictions.csv"
    argv = ["report", str(table), "--model", model, "--out", str(tmp_path / "report")]
    assert main(argv) == 0
    section = finding_of(tmp_path / "report")["three_way"]
    assert {key: section[key] for key in band} == band
    assert main([*argv, "--band", "0.1", "0.2"]) == 2
    assert "give one band: the model's own, or --band" in capsys.readouterr().err
    argv = ["score", str(pictures.parent), "--model", model, "--out", str(tmp_path / "scored")]
    assert main([*argv, "--device", "cpu"]) in (0, 3)
    for row in rows(tmp_path / "scored" / "studies.csv"):
        p, (low, high) = float(row["label"]), (band[end]["value"] for end in ("lower", "upper"))
        word = "positive" if p >= high else "indeterminate" if p >= low else "negative"
        assert row["label_decision"] == word or min(abs(p - low), abs(p - high)) < 1e-8
    picture = next(pictures.parent.glob("*.png"))
    capsys.readouterr()
    assert main(["explain", model, str(picture), "--out", str(tmp_path / "explained")]) == 0
    assert "with the model's band" in capsys.readouterr().out
    argv = ["recalibrate", model, str(table), "--out", str(tmp_path / "site")]
    assert main([*argv, "--target-by", "observed"]) == 0
    text = capsys.readouterr().out
    assert all(words in text for words in ("band from", "band to", "indeterminate"))
    new = record_of(tmp_path / "site")
    assert new["bands"]["label"]["targets"] == band["targets"]
    assert new["replaced"][0]["bands"]["label"] == band
    assert main(["recalibrate", model, str(table), "--band-at", "0.9", "2"]) == 2
    assert "--band-at 0.9 2: give a sensitivity" in capsys.readouterr().err
