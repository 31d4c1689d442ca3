"""Pictures and pixels as files: what is written is what medres sees."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from medres.errors import ConfigError
from medres.imaging.grayscale import GrayscaleImage, ImageRecord
from medres.imaging.picture import write_picture
from medres.imaging.read import read_grayscale

RECORD = ImageRecord(format="dicom", rows=1, columns=3, intensity="display", voi="")


def image(values, **changes):
    pixels = np.array([values], np.float32)
    return GrayscaleImage(pixels, None, dataclasses.replace(RECORD, **changes))


def test_display_of_8_bits_becomes_an_8_bit_png(tmp_path):
    write_picture(tmp_path / "a.png", image([0, 0.5, 1]))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "L"
        assert np.asarray(picture).tolist() == [[0, 128, 255]]


def test_display_of_more_bits_becomes_a_16_bit_png(tmp_path):
    write_picture(tmp_path / "a.png", image([0, 1 / 65535, 1], bits_stored=12))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "I;16"
        assert np.asarray(picture).tolist() == [[0, 1, 65535]]


@pytest.mark.parametrize("bits", [8, 16])
def test_png_read_again_is_the_same_picture(tmp_path, bits):
    values = np.arange(2**bits, dtype=np.float64) / (2**bits - 1)
    write_picture(tmp_path / "a.png", image(values, bits_stored=bits))
    again = read_grayscale(tmp_path / "a.png")
    np.testing.assert_array_equal(again.pixels[0], values.astype(np.float32))


def test_npy_holds_the_pixels_as_they_are(tmp_path):
    write_picture(tmp_path / "a.npy", image([-1000, 0.25, 3000], intensity="modality"))
    pixels = np.load(tmp_path / "a.npy")
    assert pixels.dtype == np.float32
    assert pixels.tolist() == [[-1000, 0.25, 3000]]


@pytest.mark.parametrize(
    ("name", "intensity", "message"),
    [
        ("a.png", "modality", "a PNG holds display values, these are modality units; write them"),
        ("a.jpg", "display", "pictures are written as .png or .npy, by suffix"),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, name, intensity, message):
    with pytest.raises(ConfigError, match=message):
        write_picture(tmp_path / name, image([0, 0, 0], intensity=intensity))
    assert not [*tmp_path.iterdir()]
