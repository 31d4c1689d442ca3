"""One image as medres sees it, from a shell."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.__main__ import main

MARKER = "SECRET"


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """Two frames of 12 bits with two windows, and a patient."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4.6", "1.2.3.4.7"
    dataset.PatientName, dataset.PatientID = f"{MARKER}^NAME", MARKER
    dataset.AccessionNumber = MARKER
    dataset.Modality, dataset.PhotometricInterpretation = "CT", "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 1, 3, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.NumberOfFrames = 0, 2
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1000
    dataset.WindowCenter, dataset.WindowWidth = [0.5, 1000.5], [2001, 2]
    dataset.PixelData = np.array([[0, 1000, 2000], [1, 2, 3]], "<u2").tobytes()
    path = tmp_path / "ct.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def show(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    assert main(["show", *map(str, arguments)]) == 0
    record: dict[str, object] = json.loads(capsys.readouterr().out)
    return record


def test_record_is_json_without_identity(ct: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(ct)]) == 0
    text = capsys.readouterr().out
    assert MARKER not in text
    assert "1.2.3.4" not in text
    record = json.loads(text)
    assert (record["modality"], record["rows"], record["columns"]) == ("CT", 1, 3)
    assert (record["number_of_frames"], record["intensity"]) == (2, "modality")


def test_png_is_the_display_in_16_bits_whatever_the_modality(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = show(capsys, ct, "--out", tmp_path / "a.png")
    assert record["voi"] == "window 0.5/2001 LINEAR"
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 32768, 65535]]


def test_npy_is_in_units_of_the_modality(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(capsys, ct, "--out", tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").tolist() == [[-1000, 0, 1000]]


def test_frame_voi_and_intensity_are_chosen(
    ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--frame", 1, "--voi", 1, "--intensity", "display", "--out", tmp_path / "a.npy"]
    record = show(capsys, ct, *options)
    assert (record["frame"], record["voi"]) == (1, "window 1000.5/2 LINEAR")
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 0, 0]]


def test_intensity_shows_in_the_record_without_a_picture(
    ct: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(capsys, ct, "--intensity", "display")["voi"] == "window 0.5/2001 LINEAR"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frame", "2"], "frame 2 asked for, but the file has 2, counted from 0"),
        (["--out", "a.gif"], "a.gif: pictures are written as .png or .npy, by suffix"),
        (["--intensity", "modality", "--out", "a.png"], "a PNG holds display values"),
    ],
)
def test_mistakes_have_a_message_and_a_status(
    ct: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["show", str(ct), *options]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("medres show: ")
    assert message in told.err
    assert MARKER not in told.err


def test_array_and_plane_are_addressed_by_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "x.npz", train_images=np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    address = f"{tmp_path / 'x.npz'}::train_images"
    assert show(capsys, address, "--frame", 1, "--out", tmp_path / "a.png")["format"] == "npz"
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture).tolist() == [[4, 5], [6, 7]]


def test_real_radiograph_becomes_a_picture_of_its_size(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = test_data / "data/dicom/files/dicom-test-files__RG1_JLSN"
    record = show(capsys, path, "--out", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (record["columns"], record["rows"])
        low, high = picture.getextrema()
    assert low < high
