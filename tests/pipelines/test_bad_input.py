"""Bad input: a clear message, a non-zero exit, and nothing half-written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.__main__ import main


@pytest.fixture
def folder(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that a test may spoil."""
    return Path(shutil.copytree(pictures.parent, tmp_path / "pictures"))


def fails(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, expect exit status 2 and a message without traceback; returns the message."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def train(manifest: Path, out: Path, *more: str) -> list[str]:
    quick = ["--pixels.size", "32", "--training.epochs", "1", "--training.warmup_epochs", "0"]
    quick += ["--model.weights", "none", "--device", "cpu"]
    return ["train", "--data.manifest", str(manifest), "--out", str(out), *quick, *more]


def append(manifest: Path, line: str) -> None:
    with manifest.open("a") as stream:
        stream.write(line + "\n")


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    labels = tmp_path / "labels.csv"
    labels.write_text("image,label\na.png,1\n")
    out = tmp_path / "manifest.csv"
    argv = ["prepare", str(tmp_path / "empty"), "--labels", str(labels), "--out", str(out)]
    assert "the folder is empty; give one with images" in fails(argv, capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data.findings", "lable"], "'lable' does not exist; did you mean 'label'?"),
        (["--data.where", "scaner=A"], "scaner"),
        (["--training.epoch", "2"], "unknown key 'training.epoch'; did you mean 'training.epochs'"),
        (["--model.depth", "19"], "model.depth: 19 is not accepted; give one of 18, 34"),
        (["--device", "cuda:7"], "'cuda:7' is not there; this machine has"),
        (["--model.weights", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_wrong_option(folder, tmp_path, capsys, more, message) -> None:
    if more[0] == "--device":
        argv = [a for a in train(folder / "manifest.csv", tmp_path / "out") if a != "cpu"]
        argv[argv.index("--device") + 1 :] = more[1:]
    else:
        argv = train(folder / "manifest.csv", tmp_path / "out", *more)
    assert message in fails(argv, capsys)
    assert not (tmp_path / "out").exists()


def test_no_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(["train", "--out", str(tmp_path / "out")], capsys)
    assert "data.manifest: none given; make one with `medres prepare" in error


def test_manifest_that_is_not_there(tmp_path, capsys) -> None:
    error = fails(train(tmp_path / "nowhere.csv", tmp_path / "out"), capsys)
    assert "nowhere.csv" in error
    assert not (tmp_path / "out").exists()


def test_unknown_label(folder, tmp_path, capsys) -> None:
    append(folder / "manifest.csv", "0_0.png,patient-0,maybe")
    error = fails(train(folder / "manifest.csv", tmp_path / "out"), capsys)
    assert "maybe" in error
    assert not (tmp_path / "out").exists()


def spoil_with_text(path: Path) -> None:
    path.write_text("this is no image")


def spoil_by_cutting(path: Path) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.PatientName = "MARKER^NAME"
    dataset.Modality = "CR"
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PhotometricInterpretation = 7, "MONOCHROME2"
    dataset.PixelData = np.arange(64 * 64, dtype=np.uint8).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-1000])


def spoil_by_painting_over(path: Path) -> None:
    with path.open("wb") as stream:
        Image.fromarray(np.full((40, 40), 7, np.uint8)).save(stream, format="png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_with_text, "[not_dicom]"),
        (spoil_by_cutting, "[truncated]"),
        (spoil_by_painting_over, "[constant_image]"),
        (Path.unlink, "bad.dcm"),
    ],
)
def test_image_that_cannot_be_used(folder, tmp_path, capsys, spoil, message) -> None:
    bad = folder / "bad.dcm"
    bad.touch()
    spoil(bad)
    append(folder / "manifest.csv", "bad.dcm,patient-x,1")
    error = fails(train(folder / "manifest.csv", tmp_path / "out"), capsys)
    assert message in error
    assert "bad.dcm" in error
    assert "MARKER" not in error
    assert not (tmp_path / "out").exists()


def with_splits(folder: Path, split_of) -> Path:
    lines = (folder / "manifest.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    text = "\n".join(",".join([*row, split_of(*row)]) for row in rows)
    (folder / "manifest.csv").write_text(f"{lines[0]},split\n{text}\n")
    return folder / "manifest.csv"


def test_class_missing_in_a_split(folder, tmp_path, capsys) -> None:
    def split_of(image: str, patient: str, label: str) -> str:
        place = int(patient.removeprefix("patient-"))
        if label == "0" and place < 8:
            return "test"
        return "validation" if place % 10 in (8, 9) else "train"

    error = fails(train(with_splits(folder, split_of), tmp_path / "out"), capsys)
    assert "test" in error
    assert "label" in error
    assert not (tmp_path / "out").exists()


def test_patient_in_two_splits(folder, tmp_path, capsys) -> None:
    def split_of(image: str, patient: str, label: str) -> str:
        if patient == "patient-4":
            return "test" if image == "4_0.png" else "train"
        return ("train", "train", "validation", "test")[int(patient.split("-")[1]) // 2 % 4]

    error = fails(train(with_splits(folder, split_of), tmp_path / "out"), capsys)
    assert "patient stands in two splits" in error
    assert "patient-4" not in error
    assert not (tmp_path / "out").exists()


def test_equal_pixels_in_two_splits(folder, tmp_path, capsys) -> None:
    def split_of(image: str, patient: str, label: str) -> str:
        return ("train", "train", "validation", "test")[int(patient.split("-")[1]) // 2 % 4]

    manifest = with_splits(folder, split_of)
    shutil.copy(folder / "0_0.png", folder / "6_0.png")  # train's, into test
    error = fails(train(manifest, tmp_path / "out"), capsys)
    assert "0_0.png" in error or "row" in error
    assert not (tmp_path / "out").exists()
    allowed = ["--data.on_duplicate", "drop_from_train", "--training.batch_size", "18"]
    assert main(train(manifest, tmp_path / "out", *allowed)) == 0


def test_model_of_another_architecture(trained, pictures, tmp_path, capsys) -> None:
    model = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    path = model / "configs" / "medres.json"
    path.write_text(path.read_text().replace('"depth": 18', '"depth": 34'))
    out = tmp_path / "out"
    error = fails(["score", str(pictures.parent), "--model", str(model), "--out", str(out)], capsys)
    assert "is of another architecture than its record" in error
    assert not out.exists()


def test_weights_of_another_architecture(folder, tmp_path, capsys) -> None:
    import torch
    import torchvision

    weights = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), weights)
    argv = train(folder / "manifest.csv", tmp_path / "out", "--model.weights", str(weights))
    error = fails(argv, capsys)
    assert "resnet34" in error
    assert "resnet18" in error


def test_imagenet_weights_that_cannot_be_had(folder, tmp_path, capsys, monkeypatch) -> None:
    # A proxy that refuses: what a machine without a network sees, on any machine.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    argv = train(folder / "manifest.csv", tmp_path / "out", "--model.weights", "imagenet")
    error = fails(argv, capsys)
    assert "resnet18-f37072fd.pth" in error
    assert "--model.weights" in error
