import os

import numpy as np
import pytest

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.read import count_frames, read_grayscale, read_record

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, train_images=IMAGES, train_labels=np.zeros((2, 1)))
    return path


def test_item_of_a_member_is_one_image(archive):
    image = read_grayscale(f"{archive}::train_images", 1)
    np.testing.assert_array_equal(image.pixels, IMAGES[1].astype(np.float32) / np.float32(255))
    assert (image.record.rows, image.record.columns, image.record.frame) == (3, 4, 1)
    assert image.record.format == "npz"
    assert count_frames(f"{archive}::train_images") == 2
    assert read_record(f"{archive}::train_images", 1) == image.record


def test_npy_file_is_read_without_a_member(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES[0])
    image = read_grayscale(tmp_path / "a.npy", intensity="modality")
    assert image.pixels.tolist() == IMAGES[0].tolist()
    with pytest.raises(UnreadableImageError, match="an npy file has no member; give"):
        read_grayscale(f"{tmp_path / 'a.npy'}::x")


@pytest.mark.parametrize(
    ("array", "intensity", "expected"),
    [
        (np.array([[0, 65535]], np.uint16), "display", [[0, 1]]),
        (np.array([[False, True]]), "display", [[0, 1]]),
        (np.array([[-1000, 40]], np.int16), "modality", [[-1000, 40]]),
        (np.array([[0.25, 300]], np.float64), "modality", [[0.25, 300]]),
    ],
)
def test_auto_intensity_follows_the_type(tmp_path, array, intensity, expected):
    np.save(tmp_path / "a.npy", array)
    image = read_grayscale(tmp_path / "a.npy")
    assert image.record.intensity == intensity
    np.testing.assert_array_equal(image.pixels, np.float32(expected))


def test_last_axis_of_three_is_colour_and_of_one_is_gray(tmp_path):
    np.save(tmp_path / "rgb.npy", np.full((5, 2, 2, 3), 51, np.uint8))
    np.save(tmp_path / "gray.npy", np.full((5, 2, 2, 1), 51, np.uint8))
    for name in ("rgb.npy", "gray.npy"):
        image = read_grayscale(tmp_path / name, 4)
        np.testing.assert_array_equal(image.pixels, np.full((2, 2), 0.2, np.float32))


def test_floats_within_0_and_1_can_be_displayed(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 0.5]]))
    assert read_grayscale(tmp_path / "a.npy", intensity="display").pixels.tolist() == [[0, 0.5]]
    np.save(tmp_path / "b.npy", np.array([[0, 1.5]]))
    with pytest.raises(UnreadableImageError, match=r"float values 0 to 1\.5 have no display range"):
        read_grayscale(tmp_path / "b.npy", intensity="display")


def test_nan_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[np.nan]]))
    with pytest.raises(UnreadableImageError, match="image 0 holds NaN or infinite values"):
        read_grayscale(tmp_path / "a.npy")


def test_missing_member_is_refused_with_those_there_are(archive):
    with pytest.raises(
        UnreadableImageError, match=r"no array of that name; it holds train_images, train_labels"
    ) as caught:
        read_grayscale(f"{archive}::train_image")
    assert caught.value.reason is RejectReason.NOT_FOUND
    with pytest.raises(UnreadableImageError, match="several arrays; name one of train_images"):
        read_grayscale(archive)


def test_only_member_need_not_be_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    assert read_grayscale(tmp_path / "a.npz").record.number_of_frames == 2


def test_item_beyond_the_array_is_refused(archive):
    with pytest.raises(UnreadableImageError, match="image 2 asked for, but the array has 2"):
        read_grayscale(f"{archive}::train_images", 2)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2, 2, 5)), np.array([["text"]])])
def test_array_of_no_images_is_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableImageError, match="holds no images") as caught:
        read_grayscale(tmp_path / "a.npy")
    assert caught.value.reason is RejectReason.NOT_AN_IMAGE


def test_pickled_objects_are_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableImageError, match="damaged, or pickled objects"):
        read_grayscale(tmp_path / "a.npy")


def test_truncated_archive_is_refused(archive):
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableImageError, match="the array cannot be read: cut short") as caught:
        read_grayscale(f"{archive}::train_images")
    assert caught.value.reason is RejectReason.DECODE_FAILED


def test_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES)
    assert read_grayscale(path, intensity="modality").pixels[0, 0] == 0
    np.savez(path, images=IMAGES + 1, more=IMAGES)
    assert read_grayscale(f"{path}::images", intensity="modality").pixels[0, 0] == 1


def test_a_file_in_anothers_place_is_read_anew_though_size_and_time_are_equal(tmp_path):
    path = tmp_path / "a.npy"
    for value in (7, 8):
        np.save(tmp_path / "next.npy", np.full((2, 3), value, np.uint8))
        os.utime(tmp_path / "next.npy", ns=(0, 0))
        (tmp_path / "next.npy").replace(path)
        assert read_grayscale(path, intensity="modality").pixels[0, 0] == value


def test_items_of_one_member_inflate_it_once(archive, monkeypatch):
    loads = []
    original = np.load
    monkeypatch.setattr(np, "load", lambda *a, **k: loads.append(1) or original(*a, **k))
    for frame in (0, 1, 0, 1):
        read_grayscale(f"{archive}::train_images", frame)
    assert len(loads) == 1


def test_real_npz_is_read(test_data):
    path = test_data / "data/pneumoniamnist/pneumoniamnist_rebuilt.npz"
    with np.load(path) as loaded:
        name = "test_images"
        expected = loaded[name][7].astype(np.float32) / np.float32(255)
        count = len(loaded[name])
    np.testing.assert_array_equal(read_grayscale(f"{path}::{name}", 7).pixels, expected)
    assert count_frames(f"{path}::{name}") == count


def test_names_of_arrays_are_counted_where_they_may_name_a_patient(tmp_path):
    pixels = np.zeros((2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", **{"SMITH_JOHN": pixels, "arr_0": pixels})
    with pytest.raises(UnreadableImageError, match="name one of arr_0, 1 of other names after ::"):
        read_grayscale(tmp_path / "a.npz")


def test_field_names_of_an_array_are_not_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2), [("SMITH", "u1")]))
    with pytest.raises(UnreadableImageError, match=r"type \|V1 holds no images"):
        read_grayscale(tmp_path / "a.npy")
