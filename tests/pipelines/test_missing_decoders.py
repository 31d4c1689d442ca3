"""A job is told before it starts that a transfer syntax in its input has no decoder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from pipelines.__main__ import main

LACKS = "no installed decoder reads transfer syntax MPEG2 Main Profile / Main Level; transcode"


@pytest.fixture
def archive(pictures: Path, tmp_path: Path) -> Path:
    """Pictures, and two videos that nothing here decodes."""
    folder = Path(shutil.copytree(pictures.parent, tmp_path / "archive"))
    for name in ("x.dcm", "y.dcm"):
        write_video(folder / name)
    return folder


def write_video(path: Path) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Modality, dataset.PhotometricInterpretation = "US", "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 3, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = encapsulate([b"\0\0"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def test_prepare_names_syntax_and_count(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = archive / "manifest.csv"
    argv = ["prepare", str(archive), "--labels", str(labels), "--out", str(tmp_path / "m.csv")]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert "2 no_decoder (x.dcm, y.dcm)" in told
    assert f"\n2 files: {LACKS} the file first\n" in told


def test_score_names_syntax_and_count_before_it_scores(
    trained: Path,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from medres.scoring.run import ScoringRun

    told = []
    score: Callable[..., object] = ScoringRun.score

    def listening(*arguments: object, **options: object) -> object:
        told.append(capsys.readouterr().err)
        return score(*arguments, **options)

    monkeypatch.setattr(ScoringRun, "score", listening)
    out = tmp_path / "out"
    assert main(["score", str(archive), "--model", str(trained / "model"), "--out", str(out)]) == 3
    assert f"medres score:   2 files: {LACKS} the file first\n" in told[0]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["missing_decoders"] == {f"{LACKS} the file first": 2}


def test_training_and_evaluation_refuse_before_they_read_pixels(
    trained: Path,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_: object, **__: object) -> object:
        raise AssertionError("pixels were read")

    monkeypatch.setattr("medres.transforms.survey.read_grayscale", read)
    manifest = archive / "manifest.csv"
    header, first, *_ = manifest.read_text().splitlines()
    columns = header.split(",")
    row = dict(zip(columns, first.split(","), strict=True)) | {"image": "x.dcm"}
    with manifest.open("a") as stream:
        stream.write(",".join(row[column] for column in columns) + "\n")
    train = ["train", "--data.manifest", str(manifest), "--out", str(tmp_path / "run")]
    train += ["--model.weights", "none", "--device", "cpu"]
    evaluate = ["evaluate", str(trained / "model"), str(manifest), "--out", str(tmp_path / "e")]
    for argv in (train, evaluate):
        assert main(argv) == 2
        assert f"cannot be decoded: 1 (x.dcm): {LACKS}" in capsys.readouterr().err
