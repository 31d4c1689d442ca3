"""CT and MR series of a folder: placed, told of, and in order in a manifest."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medres.data.image_index import list_images
from medres.data.prepare import PrepareOptions, prepare_manifest
from medres.data.rejected import LeftOutReason, Origin, read_origin
from medres.data.series import list_series


def write_slice(
    path: Path, position: float | None, series: str = "1.2.1", kind: str = "AXIAL", value: int = 1
) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = f"{series}.{sum(path.name.encode())}"
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, "1.2"
    dataset.PatientID, dataset.Modality, dataset.ImageType = (
        "P",
        "CT",
        ["ORIGINAL", "PRIMARY", kind],
    )
    dataset.PixelSpacing, dataset.PhotometricInterpretation = [1, 1], "MONOCHROME2"
    if position is not None:
        dataset.ImagePositionPatient = [0, 0, position]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 2, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.array([[0, 0], [0, value]], np.uint8).tobytes()
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Positions fall as names rise; a localizer, and a gap of one slice."""
    source = tmp_path / "in"
    source.mkdir()
    for name, position in zip("abcd", (30.0, 15.0, 10.0, 5.0), strict=True):
        write_slice(source / f"{name}.dcm", position)
    write_slice(source / "scout.dcm", 0.0, kind="LOCALIZER")
    write_slice(source / "z.dcm", None, series="1.2.2")
    return source


def table_of(path: Path, header: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def names_of(out: Path) -> list[str]:
    with out.open(newline="") as stream:
        return [Path(row["image"]).name for row in csv.DictReader(stream)]


def test_each_slice_has_its_place_and_localizers_stand_apart(folder: Path) -> None:
    listing = list_series(list_images(folder))
    places = {name: place for (name, _), place in listing.places.items()}
    assert listing.count == 2
    assert [places[f"{name}.dcm"].slice for name in "dcba"] == [0, 1, 2, 3]
    assert places["a.dcm"].position_mm == 30
    assert places["scout.dcm"].is_localizer
    assert (places["z.dcm"].series, places["z.dcm"].position_mm) == (2, None)


def test_notes_name_series_by_number_and_say_what_is_wrong(folder: Path) -> None:
    assert list_series(list_images(folder)).notes == (
        "localizer in series 1 (CT): 1 of 5 images are localizers, set apart",
        "gap in series 1 (CT): 15 mm from slice 2 to slice 3, where 5 mm are usual: 2 missing",
    )


def test_a_labelled_series_comes_in_the_patients_order_without_localizers(
    folder: Path, tmp_path: Path
) -> None:
    labels = table_of(tmp_path / "t.csv", "series_instance_uid,label", ["1.2.1,1", "1.2.2,0"])
    out = tmp_path / "m.csv"
    prepared = prepare_manifest(folder, labels, out=out)
    assert names_of(out) == ["d.dcm", "c.dcm", "b.dcm", "a.dcm", "z.dcm"]
    assert "1 localizer images were left out." in prepared.notes
    assert read_origin(out) == Origin(5, 5, {LeftOutReason.LOCALIZER: 1})
    assert any(note.startswith("gap in series 1") for note in prepared.notes)
    prepare_manifest(folder, labels, out=out, options=PrepareOptions(localizers="keep"))
    assert "scout.dcm" in names_of(out)


def test_a_localizer_that_is_named_is_kept(folder: Path, tmp_path: Path) -> None:
    labels = table_of(tmp_path / "t.csv", "image,label", ["scout.dcm,1", "a.dcm,0", "d.dcm,0"])
    prepare_manifest(folder, labels, out=tmp_path / "m.csv")
    assert names_of(tmp_path / "m.csv") == ["scout.dcm", "d.dcm", "a.dcm"]


def test_empty_slices_of_a_volume_are_left_out_where_asked(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    volume = np.zeros((3, 4, 4), np.float32)
    volume[1] = np.arange(16).reshape(4, 4)
    np.save(source / "v.npy", volume)
    np.save(source / "w.npy", np.zeros((3, 4, 4), np.float32))
    labels = table_of(tmp_path / "t.csv", "image,label", ["v.npy,1", "w.npy,0"])
    options = PrepareOptions(empty_slices="drop")
    prepared = prepare_manifest(source, labels, out=tmp_path / "m.csv", options=options)
    assert [row.frame for row in prepared.manifest.rows] == [1]
    assert read_origin(tmp_path / "m.csv") == Origin(1, 1, {LeftOutReason.EMPTY_SLICES: 1})
