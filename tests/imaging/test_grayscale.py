import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medres.imaging.grayscale import (
    GrayscaleImage,
    ImageRecord,
    LookupTable,
    Rendering,
    Rescale,
    ValueRange,
    Window,
    apply_modality_lut,
    apply_polarity,
    apply_voi,
    digest_pixels,
    luma,
    modality_range,
    padding_mask,
    render,
)

# Worked by hand from PS3.3 C.11.2.1.2 and C.11.2.1.3.
VOI_TABLE = [
    (Window(128, 256), [0, 64, 128, 255], [0, 64 / 255, 128 / 255, 1]),
    (Window(128, 256, "LINEAR_EXACT"), [0, 64, 128, 255], [0, 0.25, 0.5, 0.99609375]),
    (Window(100, 51), [74, 75, 100, 124, 125], [0, 0.01, 0.51, 0.99, 1]),
    (Window(100, 50, "LINEAR_EXACT"), [74, 75, 76, 124, 125, 126], [0, 0, 0.02, 0.98, 1, 1]),
    (Window(100, 1), [99, 100, 101], [0, 1, 1]),
    (Window(40, 400), [-161, -160, 40, 239, 240], [0, 0, 200 / 399, 1, 1]),
    (
        Window(128, 64, "SIGMOID"),
        [64, 112, 128, 144, 192],
        [0.0179862100, 0.2689414214, 0.5, 0.7310585786, 0.9820137900],
    ),
    (Window(0, 1e-3, "SIGMOID"), [-1e9, 0, 1e9], [0, 0.5, 1]),
    (ValueRange(-2048, 2047), [-2048, -1, 0, 2047], [0, 2047 / 4095, 2048 / 4095, 1]),
    (ValueRange(0, 255), [-5, 300], [0, 1]),
    (LookupTable(2, np.array([0.0, 128, 255]), 8), [0, 2, 3, 4, 9], [0, 0, 128 / 255, 1, 1]),
    (LookupTable(-2, np.array([0.0, 5, 1023]), 10), [-9, -2, -1, 0], [0, 0, 5 / 1023, 1]),
    (LookupTable(0, np.array([0.0, 255]), 8), [0.4, 0.6], [0, 1]),
]


@pytest.mark.parametrize(("voi", "values", "expected"), VOI_TABLE)
def test_voi_gives_hand_worked_values(voi, values, expected):
    shown = apply_voi(np.array(values, np.float64), voi)
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("modality", "stored", "expected"),
    [
        (Rescale(1, -1024), [0, 1024, 2048], [-1024, 0, 1024]),
        (Rescale(0.684, 200), [0, 2047, 4095], [200, 1600.148, 3000.98]),
        (Rescale(-1, 255), [0, 255], [255, 0]),
        (LookupTable(1, np.array([0.0, 100, 900]), 10), [0, 1, 2, 3, 99], [0, 0, 100, 900, 900]),
    ],
)  # fmt: skip
def test_modality_lut_gives_hand_worked_values(modality, stored, expected):
    np.testing.assert_allclose(apply_modality_lut(np.array(stored, float), modality), expected)


def test_modality_range_covers_every_representable_value():
    assert modality_range(0, 4095, Rescale(0.5, -10)) == ValueRange(-10, 2037.5)
    assert modality_range(-8, 7, Rescale(-2, 0)) == ValueRange(-14, 16)
    assert modality_range(0, 3, LookupTable(0, np.arange(4.0), 12)) == ValueRange(0, 4095)


def test_polarity_inverts_over_the_fixed_range_not_the_largest_value():
    dim = np.array([0.0, 0.1, 0.2])
    assert apply_polarity(dim, True).tolist() == [1.0, 0.9, 0.8]
    assert apply_polarity(dim, False) is dim


def test_eight_bit_window_is_exactly_x_over_255_in_float32():
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rendering = Rendering(stored_low=0, stored_high=255, voi=Window(128, 256))
    pixels, padding = render(stored, rendering, "display")
    assert pixels.dtype == np.float32
    assert padding is None
    np.testing.assert_array_equal(pixels, stored.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("voi", [Window(10, 100), Window(0, 50, "SIGMOID"), ValueRange(-128, 127)])
@pytest.mark.parametrize("inverted", [False, True])
def test_table_and_direct_computation_agree_to_the_bit(voi, inverted):
    rng = np.random.default_rng(0)
    stored = rng.integers(-128, 128, (300, 70), dtype=np.int16)
    rendering = Rendering(
        stored_low=-128, stored_high=127, modality=Rescale(0.7, 3), voi=voi, inverted=inverted
    )
    wide = Rendering(
        stored_low=-(2**20), stored_high=2**20, modality=Rescale(0.7, 3), voi=voi, inverted=inverted
    )
    tabulated, _ = render(stored, rendering, "display")
    direct, _ = render(stored, wide, "display")
    np.testing.assert_array_equal(tabulated, direct)


def test_table_clips_stored_values_beyond_the_representable_range():
    stored = np.full((8, 8), 9, np.uint8)
    pixels, _ = render(
        stored, Rendering(stored_low=0, stored_high=7, voi=ValueRange(0, 7)), "display"
    )
    assert pixels.max() == 1.0


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<i2", ">i2", "u4", "i4", "i8"])
@pytest.mark.parametrize("low", [0, -64])
def test_table_is_looked_up_alike_for_every_type_of_pixel(dtype, low):
    # 7 bits in 300 x 7 pixels: looked up, in several blocks; values beyond get the ends.
    limits = np.iinfo(dtype)
    values = np.arange(2100).reshape(300, 7) - 1000
    stored = np.clip(values, limits.min, limits.max).astype(dtype)
    rendering = Rendering(stored_low=low, stored_high=low + 127, voi=ValueRange(low, low + 127))
    pixels, _ = render(stored, rendering, "display")
    expected = (np.clip(stored.astype(np.float64), low, low + 127) - low) / 127
    np.testing.assert_array_equal(pixels, expected.astype(np.float32))


@pytest.mark.parametrize("inverted", [False, True])
def test_padding_is_black_whatever_the_polarity(inverted):
    stored = np.array([[0, 10, 255]], np.uint8)
    rendering = Rendering(
        stored_low=0, stored_high=255, voi=ValueRange(0, 255), inverted=inverted, padding=(0, 0)
    )
    pixels, padding = render(stored, rendering, "display")
    assert padding.tolist() == [[True, False, False]]
    assert pixels[0, 0] == 0.0
    assert pixels[0, 2] == (0.0 if inverted else 1.0)


def test_padding_keeps_its_value_in_modality_units():
    rendering = Rendering(
        stored_low=0, stored_high=255, modality=Rescale(1, -50), voi=ValueRange(0, 1),
        inverted=True, padding=(0, 1),
    )  # fmt: skip
    pixels, padding = render(np.array([[0, 1, 2]], np.uint8), rendering, "modality")
    assert pixels.tolist() == [[-50, -49, -48]]
    assert padding.tolist() == [[True, True, False]]


def test_padding_mask_is_none_where_no_pixel_is_padding():
    stored = np.array([[1, 2]])
    assert padding_mask(stored, (0, 0)) is None
    assert padding_mask(stored, None) is None
    assert padding_mask(stored, (2, 9)).tolist() == [[False, True]]


def test_luma_of_three_equal_channels_is_that_channel_exactly():
    gray = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(luma(np.stack([gray] * 3, axis=-1)), gray)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.int16, np.float32])
def test_luma_is_computed_in_double_precision_whatever_the_type(dtype):
    rgb = np.array([[3, 101, 7]], dtype)
    assert luma(rgb).tolist() == [(3 * 19595 + 101 * 38470 + 7 * 7471) / 65536]
    assert luma(rgb).dtype == np.float64


def test_luma_weighs_colours_as_itu_601():
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    np.testing.assert_allclose(luma(colors), [76.245, 149.685, 29.07], atol=0.002)


def image_of(pixels):
    pixels = np.asarray(pixels, np.float32)
    record = ImageRecord(
        format="dicom", rows=pixels.shape[0], columns=pixels.shape[1], intensity="display", voi="",
        patient_id="SECRET", study_instance_uid="1.2", series_instance_uid="1.3",
        sop_instance_uid="1.4", pixel_spacing_mm=(0.1, 0.2),
    )  # fmt: skip
    return GrayscaleImage(pixels, None, record)


def test_digest_tells_pictures_apart_by_pixels_and_shape():
    digest = digest_pixels(image_of([[0, 1, 2, 3]]))
    assert len(digest) == 64
    assert digest == digest_pixels(image_of(np.asfortranarray([[0, 1, 2, 3]])))
    assert digest == digest_pixels(image_of([[-0.0, 1, 2, 3]]))
    assert digest != digest_pixels(image_of([[0, 1], [2, 3]]))
    assert digest != digest_pixels(image_of([[0, 1, 2, 4]]))


def test_record_as_json_leaves_identity_out():
    record = image_of([[0]]).record.as_json()
    text = json.dumps(record)
    assert "SECRET" not in text
    assert not {"patient_id", "study_instance_uid", "series_instance_uid"} & set(record)
    assert "sop_instance_uid" not in record
    assert record["pixel_spacing_mm"] == (0.1, 0.2)
    assert record["inverted"] is False


@given(
    center=st.floats(-3000, 3000),
    width=st.floats(1, 8000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.floats(0.01, 10),
    stored=st.lists(st.integers(-2048, 2047), min_size=2, max_size=40),
)
def test_window_keeps_the_order_of_values_and_polarity_is_its_complement(
    center, width, function, slope, stored
):
    pixels = np.sort(np.array([stored], np.int16))
    options = {"stored_low": -2048, "stored_high": 2047, "modality": Rescale(slope, -10)}
    voi = Window(center, width, function)
    bright, _ = render(pixels, Rendering(voi=voi, **options), "display")
    dark, _ = render(pixels, Rendering(voi=voi, inverted=True, **options), "display")
    assert (np.diff(bright) >= 0).all()
    assert 0 <= bright.min() <= bright.max() <= 1
    np.testing.assert_allclose(bright + dark, 1, rtol=0, atol=1e-6)
