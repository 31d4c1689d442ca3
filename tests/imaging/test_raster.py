import numpy as np
import pytest
from PIL import Image

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.read import count_frames, read_grayscale, read_record

RAMP = np.arange(256, dtype=np.uint8).reshape(2, 128)


def save(path, array, mode=None, **options):
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bits_are_divided_by_255(tmp_path, suffix):
    image = read_grayscale(save(tmp_path / f"a.{suffix}", RAMP))
    np.testing.assert_array_equal(image.pixels, RAMP.astype(np.float32) / np.float32(255))
    assert image.record.voi == "full range 0..255"
    assert (image.record.rows, image.record.columns) == (2, 128)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_divided_by_65535(tmp_path, suffix):
    ramp = np.array([[0, 1, 256, 65535]], np.uint16)
    image = read_grayscale(save(tmp_path / f"a.{suffix}", ramp))
    np.testing.assert_array_equal(image.pixels, ramp.astype(np.float32) / np.float32(65535))
    assert image.record.bits_stored == 16


def test_three_equal_channels_give_that_channel_exactly(tmp_path):
    image = read_grayscale(save(tmp_path / "a.png", np.stack([RAMP] * 3, axis=-1)))
    np.testing.assert_array_equal(image.pixels, RAMP.astype(np.float32) / np.float32(255))


def test_colour_becomes_the_luma_that_pillow_computes(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = read_grayscale(save(tmp_path / "a.png", rgb))
    pillow = np.asarray(Image.fromarray(rgb).convert("L"))
    np.testing.assert_allclose(image.pixels * 255, pillow, atol=0.5001)
    assert image.record.photometric_interpretation == "RGB"


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK"])
def test_other_modes_are_read(tmp_path, mode):
    black_and_white = np.array([[0, 255]], np.uint8)
    suffix = "tif" if mode == "CMYK" else "png"
    path = save(tmp_path / f"a.{suffix}", black_and_white, mode)
    assert read_grayscale(path).pixels.tolist() == [[0, 1]]


def test_transparent_pixels_are_padding(tmp_path):
    rgba = np.full((1, 2, 4), 200, np.uint8)
    rgba[0, 0, 3] = 0
    image = read_grayscale(save(tmp_path / "a.png", rgba))
    assert image.padding.tolist() == [[True, False]]
    assert image.pixels[0].tolist() == [0, np.float32(200 / 255)]
    rgba[..., 3] = 255
    assert read_grayscale(save(tmp_path / "b.png", rgba)).padding is None


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    path = save(tmp_path / "a.png", np.array([[0, 255, 255]], np.uint8), exif=exif)
    image = read_grayscale(path)
    assert image.pixels.tolist() == [[0], [1], [1]]
    assert (image.record.rows, image.record.columns) == (3, 1)
    assert read_record(path) == image.record


def test_modality_intensity_keeps_the_stored_values(tmp_path):
    image = read_grayscale(save(tmp_path / "a.png", RAMP), intensity="modality")
    assert image.pixels.max() == 255
    assert image.record.voi == "none: stored values"


def test_pages_are_frames(tmp_path):
    pages = [Image.fromarray(np.full((1, 1), value, np.uint8)) for value in (0, 51, 255)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert count_frames(tmp_path / "a.tif") == 3
    assert read_grayscale(tmp_path / "a.tif", 1).pixels[0, 0] == np.float32(0.2)
    with pytest.raises(UnreadableImageError, match=r"page 3 asked for, but the file has 3"):
        read_grayscale(tmp_path / "a.tif", 3)


def test_samples_of_32_bits_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", np.ones((2, 2), np.float32))
    with pytest.raises(UnreadableImageError, match=r"32-bit samples \(mode F\)") as caught:
        read_grayscale(path)
    assert caught.value.reason is RejectReason.UNSUPPORTED_PHOTOMETRIC


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_picture_is_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableImageError, match="the picture is cut short") as caught:
        read_grayscale(path)
    assert caught.value.reason is RejectReason.TRUNCATED


def test_picture_that_is_none_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))
    with pytest.raises(UnreadableImageError, match="cannot be decoded; it is damaged") as caught:
        read_grayscale(path)
    assert caught.value.reason is RejectReason.DECODE_FAILED


def test_picture_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RAMP)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="more pixels than 200") as caught:
        read_grayscale(path)
    assert caught.value.reason is RejectReason.TOO_LARGE


def test_real_jpeg_of_three_equal_channels_is_its_own_gray(test_data):
    path = next(iter(sorted((test_data / "data/kermany_chest/images").glob("*.jpeg"))))
    gray = np.asarray(Image.open(path).convert("RGB"))[..., 1]
    image = read_grayscale(path)
    np.testing.assert_array_equal(image.pixels, gray.astype(np.float32) / np.float32(255))
