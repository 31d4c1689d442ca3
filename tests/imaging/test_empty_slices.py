import nibabel as nib
import numpy as np
import pytest

from medres.errors import ConfigError, UnreadableImageError
from medres.imaging.empty_slices import select_frames
from medres.imaging.nifti import find_empty_slices
from medres.imaging.read import count_frames, read_grayscale


@pytest.fixture
def volume(tmp_path):
    """(5, 4, 6) in LAS: slices 0 and 5 of z, 3 of y and 4 of x (right to left: 0) are empty."""
    array = np.full((5, 4, 6), 7, np.int16)
    array[:4, :3, 1:5] = np.arange(48).reshape(4, 3, 4)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, 1, 1, 1])), path)
    return path


@pytest.mark.parametrize(
    ("plane", "kept"),
    [("axial", (1, 2, 3, 4)), ("coronal", (0, 1, 2)), ("sagittal", (1, 2, 3, 4))],
)
def test_empty_slices_of_each_plane_are_dropped(volume, plane, kept):
    address = f"{volume}::{plane}"
    assert select_frames(address, empty_slices="drop") == kept
    assert select_frames(address) == tuple(range(count_frames(address)))


def test_empty_is_what_reads_as_constant(test_data):
    for path in sorted((test_data / "data/nifti").glob("*.nii*"))[:4]:
        for plane in ("axial", "coronal", "sagittal"):
            empty = find_empty_slices(path, plane)
            assert len(empty) == count_frames(f"{path}::{plane}")
            for frame in {0, 1, len(empty) // 2, len(empty) - 1} & {*range(len(empty))}:
                pixels = read_grayscale(f"{path}::{plane}", frame).pixels
                assert empty[frame] == (np.ptp(pixels) == 0)


def test_voxels_that_are_no_number_do_not_fill_a_slice(tmp_path):
    array = np.zeros((2, 2, 4), np.float32)
    array[0, 0, 0], array[:, :, 1], array[0, 0, 2], array[0, 1, 3] = np.nan, np.nan, 1, np.inf
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    assert select_frames(path, empty_slices="drop") == (2,)


def test_series_of_volumes_is_judged_by_its_first(tmp_path):
    array = np.zeros((2, 2, 3, 2), np.int16)
    array[0, 0, 1, 0] = array[0, 0, 2, 1] = 1
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    assert select_frames(path, empty_slices="drop") == (1,)


def test_picture_in_two_dimensions_is_one_slice(tmp_path):
    for value, kept in ((0, ()), (1, (0,))):
        array = np.zeros((2, 3), np.int16)
        array[0, 0] = value
        path = tmp_path / f"{value}.nii"
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        assert select_frames(path, empty_slices="drop") == kept


def test_frames_of_other_formats_are_judged_alike(write_dicom, tmp_path):
    pixels = np.zeros((3, 2, 2), np.uint8)
    pixels[1, 0, 0] = 9
    assert select_frames(write_dicom(pixels), empty_slices="drop") == (1,)
    padded = write_dicom(pixels, PixelPaddingValue=9)
    assert select_frames(padded, empty_slices="drop") == ()
    np.savez(tmp_path / "a.npz", images=pixels)
    assert select_frames(f"{tmp_path / 'a.npz'}::images", empty_slices="drop") == (1,)


def test_unknown_policy_and_plane_are_refused(volume):
    with pytest.raises(ConfigError, match="empty_slices is 'skip'; keep and drop are known"):
        select_frames(volume, empty_slices="skip")
    with pytest.raises(UnreadableImageError, match="no plane of that name"):
        select_frames(f"{volume}::oblique", empty_slices="drop")
