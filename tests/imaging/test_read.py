import pickle
import subprocess
import sys
import zipfile

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.read import (
    count_frames,
    pixel_digest,
    read_grayscale,
    read_record,
    read_records,
    sniff_format,
    split_address,
)

GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.fixture
def one_of_each(tmp_path, write_dicom):
    dicom = write_dicom(GRAY)
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    Image.fromarray(GRAY).save(tmp_path / "a.bmp")
    np.savez(tmp_path / "a.npz", images=GRAY)
    np.save(tmp_path / "a.npy", GRAY)
    nib.save(nib.Nifti1Image(GRAY[..., None], np.eye(4)), tmp_path / "a.nii")
    nib.save(nib.Nifti2Image(GRAY[..., None], np.eye(4)), tmp_path / "a.nii.gz")
    return {
        dicom: "dicom",
        tmp_path / "a.png": "raster",
        tmp_path / "a.bmp": "raster",
        tmp_path / "a.npz": "npz",
        tmp_path / "a.npy": "npz",
        tmp_path / "a.nii": "nifti",
        tmp_path / "a.nii.gz": "nifti",
    }


def test_format_is_told_by_content_not_by_name(one_of_each, tmp_path):
    for path, expected in one_of_each.items():
        other = tmp_path / "renamed.txt"
        other.write_bytes(path.read_bytes())
        assert sniff_format(path) == sniff_format(other) == expected
        np.testing.assert_array_equal(
            read_grayscale(other, intensity="modality").pixels,
            read_grayscale(path, intensity="modality").pixels,
        )


def test_every_format_has_record_and_frames(one_of_each):
    for path, expected in one_of_each.items():
        record = read_record(path)
        assert record.format == expected
        assert record == read_grayscale(path).record
        assert count_frames(path) == record.number_of_frames == 1


@pytest.mark.parametrize(
    "content",
    [b"hello", b"BMW and no bitmap", b"PK\x03\x04 no zip", b"\x1f\x8b no gzip", bytes(400)],
)
def test_anything_else_has_no_format(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    assert sniff_format(path) is None
    with pytest.raises(UnreadableImageError, match="is none of DICOM, NIfTI, PNG") as caught:
        read_grayscale(path)
    assert caught.value.reason is RejectReason.UNKNOWN_FORMAT


def test_zip_of_other_files_has_no_format(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    assert sniff_format(tmp_path / "a.zip") is None


def test_same_picture_has_the_same_digest_in_every_format(one_of_each):
    display = {
        pixel_digest(read_grayscale(path, intensity="display"))
        for path, kind in one_of_each.items()
        if kind != "nifti"
    }
    assert len(display) == 1


def test_address_is_a_path_and_a_member(tmp_path):
    assert split_address("a/b.npz::images")[1] == "images"
    assert split_address("a/b.npz::images")[0].as_posix() == "a/b.npz"
    assert split_address("a/b.dcm")[1] == ""
    assert split_address("C:/a/b.dcm")[1] == ""
    odd = tmp_path / "x::y.png"
    Image.fromarray(GRAY).save(odd)
    assert split_address(odd) == (odd, "")
    assert read_grayscale(odd).record.format == "raster"


def refused(image, reason, message):
    for read in (read_grayscale, read_record, count_frames):
        with pytest.raises(UnreadableImageError, match=message) as caught:
            read(image)
        assert caught.value.reason is reason


def test_text_file_named_dcm_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_text("Dear doctor, " * 50)
    refused(
        tmp_path / "a.dcm",
        RejectReason.NOT_DICOM,
        "named like a DICOM file but lacks the prefix DICM at byte 128",
    )


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.dcm").touch()
    refused(tmp_path / "a.dcm", RejectReason.EMPTY_FILE, "the file is empty")


def test_missing_file_and_folder_are_refused(tmp_path):
    refused(tmp_path / "a.dcm", RejectReason.NOT_FOUND, "there is no such file")
    refused(tmp_path, RejectReason.NOT_FOUND, "is a folder; give the path of one file in it")


def test_file_that_cannot_be_opened_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    path.touch()

    def deny(*arguments):
        raise PermissionError

    monkeypatch.setattr("medres.imaging.read.sniff_format", deny)
    refused(path, RejectReason.NOT_FOUND, "cannot be opened; check its permissions")


def test_member_of_a_format_without_members_is_refused(one_of_each):
    for path, kind in one_of_each.items():
        if kind in ("dicom", "raster"):
            refused(f"{path}::x", RejectReason.NOT_FOUND, f"a {kind} file has no member; give")


def test_error_survives_the_way_out_of_a_worker(tmp_path):
    with pytest.raises(UnreadableImageError) as caught:
        read_grayscale(tmp_path / "a.dcm")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, str(again)) == (caught.value.reason, str(caught.value))


def test_import_of_the_door_is_light():
    code = (
        "import sys, medres.imaging.read; "
        "print([m for m in ('torch', 'monai', 'pydicom', 'nibabel', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_reader_does_without_torch():
    code = (
        "import sys, medres.imaging.read, medres.imaging.dicom, medres.imaging.nifti, "
        "medres.imaging.raster, medres.imaging.arrays; "
        "print([m for m in ('torch', 'monai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arrays_of_no_images_stand_beside_those_of_images(tmp_path):
    np.savez(tmp_path / "a.npz", ages=np.arange(3), images=np.zeros((3, 4, 5), np.uint8))
    found = read_records(tmp_path / "a.npz")
    assert [(name, record.number_of_frames) for name, record in found] == [("images", 3)]
    np.savez(tmp_path / "b.npz", ages=np.arange(3))
    with pytest.raises(UnreadableImageError, match=r"shape \(3,\) and type <i8 holds no images"):
        read_records(tmp_path / "b.npz")


@pytest.mark.parametrize("names", [("a.npy", "a.npy"), ("a.npy", "a.npy.npy")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_of_one_name_are_refused(tmp_path, names):
    np.save(tmp_path / "a.npy", np.zeros((4, 5), np.uint8))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in names:
            archive.write(tmp_path / "a.npy", name)
    with pytest.raises(UnreadableImageError, match="holds two arrays of one name") as caught:
        read_records(tmp_path / "a.npz")
    assert caught.value.reason is RejectReason.INVALID_HEADER


def test_an_npz_whose_names_are_no_text_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{"é": np.zeros((4, 5), np.uint8)})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(UnreadableImageError, match="the array cannot be read"):
        read_records(path)
