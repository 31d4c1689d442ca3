"""Where a pixel lies in the patient, worked by hand."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from radiographs import write_radiograph

from medres.imaging.read import read_grayscale, read_record


def write_plane(path: Path, **attributes: object) -> Path:
    write_radiograph(path, np.arange(15, dtype=np.uint8).reshape(3, 5), "MONOCHROME2")
    dataset = dcmread(path)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("orientation", "second_row", "second_column", "normal"),
    [
        # Axial: rows are counted to the posterior, columns to the left.
        ([1, 0, 0, 0, 1, 0], (0, -0.5, 0), (-0.2, 0, 0), (0, 0, 1)),
        # Coronal: rows to the feet, columns to the left.
        ([1, 0, 0, 0, 0, -1], (0, 0, -0.5), (-0.2, 0, 0), (0, -1, 0)),
        # Sagittal: rows to the feet, columns to the posterior.
        ([0, 1, 0, 0, 0, -1], (0, 0, -0.5), (0, -0.2, 0), (1, 0, 0)),
    ],
)
def test_dicom_plane_in_ras(
    tmp_path: Path,
    orientation: list[float],
    second_row: tuple[float, ...],
    second_column: tuple[float, ...],
    normal: tuple[float, ...],
) -> None:
    path = write_plane(
        tmp_path / "a.dcm",
        ImageOrientationPatient=orientation,
        ImagePositionPatient=[10, 20, 30],
        PixelSpacing=[0.5, 0.2],
    )
    record = read_record(path)
    affine = np.array(record.affine)
    assert np.allclose(affine[:3, 3], (-10, -20, 30))
    assert np.allclose(affine[:3, 0], second_row)
    assert np.allclose(affine[:3, 1], second_column)
    assert np.allclose(affine[:3, 2], normal)
    assert affine[3].tolist() == [0, 0, 0, 1]
    assert json.loads(json.dumps(record.as_json()))["affine"] == affine.tolist()


def test_each_frame_has_its_own_plane(tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", np.zeros((4, 3), np.uint8), "MONOCHROME2")
    dataset = dcmread(tmp_path / "a.dcm")
    dataset.Rows, dataset.NumberOfFrames, dataset.PixelSpacing = 2, 2, [1, 1]
    orientation, frames = Dataset(), []
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([orientation])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    for z in (5, 8):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, z]
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.save_as(tmp_path / "a.dcm")
    heights = [np.array(read_record(tmp_path / "a.dcm", frame).affine)[2, 3] for frame in (0, 1)]
    assert heights == [5, 8]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 0]},
        {
            "ImageOrientationPatient": [1, 0, 0, 1, 0, 0],
            "ImagePositionPatient": [0, 0, 0],
            "PixelSpacing": [1, 1],
        },
    ],
    ids=["nothing", "no position", "no spacing", "parallel directions"],
)
def test_no_affine_where_the_file_does_not_say(tmp_path: Path, attributes: dict) -> None:
    assert read_record(write_plane(tmp_path / "a.dcm", **attributes)).affine is None


def test_affine_that_overflows_is_left_out_and_never_written_as_infinity(tmp_path: Path) -> None:
    path = write_plane(
        tmp_path / "a.dcm",
        PixelSpacing=["1E308", "1E308"],
        ImageOrientationPatient=["1.005", 0, 0, 0, "1.005", 0],
        ImagePositionPatient=[0, 0, 0],
    )
    record = read_record(path)
    assert record.affine is None or np.isfinite(record.affine).all()
    json.dumps(record.as_json(), allow_nan=False)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "AIL"])
def test_slice_of_a_volume_lies_where_its_voxels_lie(
    tmp_path: Path, plane: str, codes: str
) -> None:
    # Each voxel holds a code of its own place; an oblique, anisotropic affine.
    shape, rotation = (4, 5, 6), np.array([[0.98, -0.17, 0.1], [0.17, 0.98, 0.05], [-0.1, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.7, 1.1, 3.0])
    affine[:3, 3] = (-11, 7, 5)
    volume = nib.Nifti1Image(np.arange(120, dtype=np.float32).reshape(shape), affine)
    turned = volume.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt(("R", "A", "S")),
            nib.orientations.axcodes2ornt(tuple(codes)),
        )
    )
    nib.save(turned, tmp_path / "v.nii")
    image = read_grayscale(f"{tmp_path / 'v.nii'}::{plane}", 2)
    for row, column in ((0, 0), (1, 2), (3, 3)):
        voxel = np.unravel_index(int(image.pixels[row, column]), shape)
        expected = affine @ (*voxel, 1)
        assert np.allclose(np.array(image.record.affine) @ (row, column, 0, 1), expected, atol=1e-4)
