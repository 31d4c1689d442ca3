"""The guard that a training leaves, and what follows it through the model directories."""

import json
import shutil
from pathlib import Path

import guarded_model
import numpy as np
import pytest
import torch
from pictures import write_pictures
from PIL import Image

from medres.bundle.directory import load_model
from medres.bundle.ensemble import write_ensemble
from medres.data.manifest import read_manifest
from medres.guard.fitting import fit_guard, spread
from medres.guard.guard import Guard
from medres.guard.measurements import Measurements, measuring
from medres.imaging.read import read_record
from medres.transforms.chains import build_evaluation_chain
from pipelines.__main__ import main


@pytest.fixture(scope="module")
def guarded(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a training with the guard's rate set."""
    out = tmp_path_factory.mktemp("runs") / "guarded"
    argv = ["train", "--data.manifest", str(pictures), "--out", str(out), "--pixels.size", "32"]
    argv += ["--model.weights", "none", "--model.stem", "port", "--training.preset", "full"]
    argv += ["--training.batch_size", "18", "--training.epochs", "2", "--device", "cpu"]
    assert main([*argv, "--guard.false_alarms", "0.1"]) == 0
    return out


def check_pictures(model_folder: Path, paths: list[Path]) -> list[tuple[bool, str]]:
    model = load_model(model_folder)
    chain = build_evaluation_chain(model.record.preprocessing)
    images = torch.stack([chain({"image": str(path)})["image"] for path in paths])
    with torch.inference_mode(), measuring(model.network, model.guard.limits) as measure:
        model.network(images)
        measured = measure(images)
    assert isinstance(measured, Measurements)
    verdicts = model.guard.check([read_record(path) for path in paths], measured)
    return [(verdict.flagged, verdict.reason) for verdict in verdicts]


def write_wrong(folder: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    folder.mkdir()
    blank = np.clip(rng.normal(100, 1, (40, 48)), 0, 255)
    stripes = np.tile(np.where(np.arange(48) % 8 < 4, 20, 230), (40, 1))
    for name, pixels in (("blank", blank), ("stripes", stripes)):
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return [folder / "blank.png", folder / "stripes.png"]


def test_training_leaves_a_guard_that_knows_its_own_images(guarded, pictures, tmp_path) -> None:
    values = json.loads((guarded / "model/configs/guard.json").read_text())
    assert values["false_alarms"]["asked"] == 0.1
    assert values["false_alarms"]["promised"] == 0.1
    assert values["false_alarms"]["validation_images"] == 12
    assert values["headers"]["values"] == {}
    assert values["headers"]["unchecked"]["modality"] == "no image names one"
    own = [pictures.parent / f"{patient}_0.png" for patient in range(30)]
    assert sum(flagged for flagged, _ in check_pictures(guarded / "model", own)) <= 9
    wrong = check_pictures(guarded / "model", write_wrong(tmp_path / "wrong"))
    assert wrong == [(True, "pixels"), (True, "pixels")]


def test_headers_are_those_of_the_images_and_may_cause_half_of_the_false_alarms(guarded) -> None:
    model, manifest = load_model(guarded / "model"), read_manifest(guarded / "manifest.csv")
    train, validation = manifest.split("train"), manifest.split("validation")
    records = {
        (row.image, row.frame): guarded_model.record(
            modality="CR" if row in train else "MG", body_part="CHEST", view_position="PA"
        )
        for row in (*train, *validation)
    }
    alone = train[0].patient_id  # one of 24 patients, who alone was imaged from behind
    for row in train:
        if row.patient_id == alone:
            seen = guarded_model.record(modality="CR", body_part="CHEST", view_position="AP")
            records[row.image, row.frame] = seen
    patients = {row.patient_id for row in (*train, *validation)}
    rare = 1 / len(patients)

    def fit(false_alarms: float) -> Guard:
        return fit_guard(
            model.network,
            model.record.preprocessing,
            manifest,
            records,
            false_alarms=false_alarms,
            device=torch.device("cpu"),
        )

    known = fit(2.1 * rare).headers
    of_validation = len({row.patient_id for row in validation})
    assert known.values["modality"] == {"CR/DX": len(patients) - of_validation, "MG": of_validation}
    assert known.values["view_position"] == {"AP": 1, "PA": len(patients) - 1}
    assert known.false_alarms == pytest.approx(rare)
    assert "view_position" in fit(1.9 * rare).headers.unchecked


def test_guard_follows_a_folded_model(guarded, tmp_path) -> None:
    assert main(["fold", str(guarded / "model"), "--out", str(tmp_path / "folded")]) == 0
    wrong = write_wrong(tmp_path / "wrong")
    assert check_pictures(tmp_path / "folded", wrong) == check_pictures(guarded / "model", wrong)


def test_ensemble_has_the_guard_of_its_first_member(guarded, tmp_path) -> None:
    model = load_model(guarded / "model")
    record = model.record
    write_ensemble(tmp_path / "both", [model, model], record.thresholds, {"notes": []}, {})
    wrong = write_wrong(tmp_path / "wrong")
    assert check_pictures(tmp_path / "both", wrong) == check_pictures(guarded / "model", wrong)


def test_training_without_a_guard_leaves_none(guarded, pictures, tmp_path) -> None:
    run = shutil.copytree(guarded, tmp_path / "run")  # its training is done, and not repeated
    argv = ["train", "--config", str(run / "config.yaml"), "--data.manifest", str(pictures)]
    assert main([*argv, "--out", str(run), "--guard.fit", "false"]) == 0
    assert load_model(run / "model").guard is None
    assert not (run / "model/configs/guard.json").exists()


def test_too_few_images_for_a_guard_are_said_in_the_notes(tmp_path, capsys) -> None:
    manifest = write_pictures(tmp_path / "few", patients=40, per_patient=1)
    argv = ["train", "--data.manifest", str(manifest), "--out", str(tmp_path / "run")]
    argv += ["--model.weights", "none", "--training.preset", "full", "--pixels.size", "32"]
    argv += ["--training.batch_size", "18", "--training.epochs", "1", "--device", "cpu"]
    assert main([*argv, "--training.warmup_epochs", "0"]) == 0
    assert load_model(tmp_path / "run/model").guard is None
    note = "The model has no guard against images of another kind: 8 validation images are too few"
    assert note in " ".join(capsys.readouterr().out.split())


def test_rows_are_taken_from_all_over() -> None:
    assert spread(range(10), 20) == range(10)
    assert spread(range(10), 4) == [0, 2, 5, 7]
