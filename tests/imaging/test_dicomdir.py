"""DICOMDIRs as pydicom writes them, and as somebody writes who means harm."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import config, dcmread
from pydicom.fileset import FileSet
from radiographs import write_radiograph

from medres.errors import UnreadableImageError
from medres.imaging.dicomdir import read_references


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A file set of two radiographs."""
    files = FileSet()
    staged = [files._stage["t"]]
    for number in range(2):
        path = tmp_path / f"{number}.dcm"
        write_radiograph(path, np.arange(12, dtype=np.uint8).reshape(3, 4), "MONOCHROME2")
        dataset = dcmread(path)
        dataset.PatientID, dataset.PatientName, dataset.SeriesNumber = "1", "x", 1
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "120000", "1"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.4.{number}", number
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        files.add(dataset)
    files.write(tmp_path / "disc")
    for folder in (*staged, files._stage["t"]):
        folder.cleanup()  # pydicom leaves them to the collector, which warns
    return tmp_path / "disc"


def with_references(disc: Path, *references: object) -> Path:
    """The same DICOMDIR, whose images are elsewhere."""
    dataset = dcmread(disc / "DICOMDIR")
    records = [r for r in dataset.DirectoryRecordSequence if "ReferencedFileID" in r]
    path = disc / "changed"
    with config.disable_value_validation():
        for record, reference in zip(records, references, strict=False):
            record.ReferencedFileID = reference
        dataset.save_as(path)
    return path


def test_references_are_those_of_the_files_that_were_written(disc: Path) -> None:
    references = read_references(disc / "DICOMDIR")
    assert len(references) == 2
    assert all(disc.joinpath(*parts).is_file() for parts in references)


@pytest.mark.parametrize(
    "reference",
    [
        ["..", "..", "etc", "passwd"],
        ["/etc/passwd"],
        ["A", "..\\..\\x"],
        ["."],
        [".hidden"],
        ["A" * 65],
        ["A"] * 9,
    ],
)
def test_references_that_lead_elsewhere_are_empty(disc: Path, reference: list[str]) -> None:
    found = read_references(with_references(disc, reference))
    assert len(found) == 2
    assert not any(".." in part or "/" in part for parts in found for part in parts)
    assert found[0] == () or (".." not in reference and all(map(str.isalnum, found[0])))


def test_what_is_no_dicomdir_is_refused(disc: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="is no DICOMDIR"):
        read_references(tmp_path / "0.dcm")
    (tmp_path / "text").write_text("text")
    with pytest.raises(UnreadableImageError, match="the DICOMDIR cannot be parsed") as info:
        read_references(tmp_path / "text")
    assert info.value.__context__ is None
