"""A folder as a table, from a shell."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.__main__ import main

MPEG2 = "1.2.840.10008.1.2.4.100"


def write_dicom(path: Path, syntax: str) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.PatientID = "1.2.3.4.6", "SECRET"
    dataset.PatientName, dataset.Modality = "SECRET^NAME", "CR"
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 3, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    dataset.PixelData = encapsulate([b"\0\0"]) if syntax == MPEG2 else bytes(range(6))
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)


def read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    write_dicom(source / "sub" / "a.dcm", ExplicitVRLittleEndian)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(source / "b.png")
    np.savez(source / "c.npz", train_images=np.zeros((7, 4, 4), np.uint8))
    return source


def test_one_row_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.csv"
    assert main(["index", str(folder), "--out", str(out)]) == 0
    rows = read(out)
    assert [*rows] == ["b.png", "c.npz::train_images", "sub/a.dcm"]
    assert rows["sub/a.dcm"] == {
        "file": "sub/a.dcm",
        "format": "dicom",
        "modality": "CR",
        "rows": "2",
        "columns": "3",
        "frames": "1",
        "photometric_interpretation": "MONOCHROME1",
        "bits_stored": "8",
        "transfer_syntax": "Explicit VR Little Endian",
        "voi": "window 128/256 LINEAR",
        **dict.fromkeys(("row_spacing_mm", "column_spacing_mm", "body_part", "view_position"), ""),
        **dict.fromkeys(("laterality", "image_type", "burned_in_annotation"), ""),
        **dict.fromkeys(("series", "stack", "slice", "position_mm"), ""),
        "reason": "",
        "message": "",
    }
    assert (rows["b.png"]["columns"], rows["b.png"]["transfer_syntax"]) == ("5", "")
    assert rows["c.npz::train_images"]["frames"] == "7"
    assert capsys.readouterr().out == f"{out}: 3 readable, with 9 images\n"


def test_refused_files_have_their_reason_and_the_status_is_3(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dicom(folder / "video.dcm", MPEG2)
    (folder / "notes.txt").write_text("SECRET")
    (folder / "empty.dcm").touch()
    out = tmp_path / "table.csv"
    assert main(["index", str(folder), "--out", str(out)]) == 3
    rows = read(out)
    assert len(rows) == 6
    assert rows["notes.txt"]["reason"] == "unknown_format"
    assert rows["empty.dcm"]["message"] == "the file is empty"
    video = rows["video.dcm"]
    assert (video["reason"], video["rows"]) == ("no_decoder", "2")
    assert video["transfer_syntax"] == "MPEG2 Main Profile / Main Level"
    told = capsys.readouterr().out
    assert "refused: 3 (" in told
    assert "\n1 file: no installed decoder reads transfer syntax MPEG2" in told


def test_table_names_no_patient(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    main(["index", str(folder), "--out", str(out)])
    assert "SECRET" not in out.read_text()
    assert "1.2.3.4" not in out.read_text()


def test_table_in_the_folder_is_not_in_the_table(folder: Path) -> None:
    out = folder / "table.csv"
    for _ in range(2):
        assert main(["index", str(folder), "--out", str(out)]) == 0
    assert "table.csv" not in read(out)


def test_folder_without_a_single_image_has_a_table_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("text")
    out = tmp_path / "table.csv"
    assert main(["index", str(tmp_path / "in"), "--out", str(out)]) == 3
    assert read(out)["a.txt"]["reason"] == "unknown_format"


def test_no_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.csv"
    assert main(["index", str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not out.exists()


def test_every_real_file_has_a_row(test_data: Path, tmp_path: Path) -> None:
    source, out = test_data / "data/dicom/files", tmp_path / "table.csv"
    assert main(["index", str(source), "--out", str(out)]) == 3
    rows = read(out)
    assert [*rows] == sorted(path.name for path in source.iterdir())
    with (source.parent / "attributes.csv").open(newline="") as lines:
        known = {Path(row["file"]).name: row for row in csv.DictReader(lines)}
    readable = {name: row for name, row in rows.items() if not row["reason"]}
    assert len(readable) > 120
    for name, row in readable.items():
        assert (row["rows"], row["columns"]) == (known[name]["rows"], known[name]["cols"])
        assert row["frames"] == (known[name]["frames"] or "1")
        assert row["modality"] == known[name]["mod"]


def test_real_slices_have_their_place_in_their_series(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = test_data / "data/series", tmp_path / "table.csv"
    assert main(["index", str(source), "--out", str(out)]) == 3  # its lists of digests are refused
    rows = [row for row in read(out).values() if row["series"]]
    series = {number: [r for r in rows if r["series"] == number] for number in ("1", "2")}
    assert [len(found) for found in series.values()] == [16, 30]
    for found in series.values():
        found.sort(key=lambda row: int(row["slice"]))
        assert [row["slice"] for row in found] == [str(at) for at in range(len(found))]
        positions = [float(row["position_mm"]) for row in found]
        assert positions == sorted(positions)
    assert Path(series["1"][0]["file"]).name == "I10"
    assert "cross-sectional series: 2" in capsys.readouterr().out
