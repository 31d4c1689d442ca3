from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from radiographs import write_radiograph

from medres.imaging.grayscale import (
    GrayscaleImage,
    ImageRecord,
    Rendering,
    Rescale,
    ValueRange,
    Window,
    fill_padding,
    render,
)
from medres.imaging.read import read_grayscale
from medres.imaging.resampling import (
    Fit,
    filter_weights,
    render_resampled,
    resample,
    resample_image,
    resample_rows,
)


def twin(pixels: NDArray[np.float32], wanted: tuple[int, int]) -> NDArray[np.float32]:
    image = torch.from_numpy(pixels)[None, None]
    return torch.nn.functional.interpolate(image, wanted, mode="bilinear", antialias=True)[
        0, 0
    ].numpy()


@pytest.mark.parametrize(
    ("geometry", "expected"), [("pad", (32, 64)), ("crop", (64, 128)), ("squash", (64, 64))]
)
def test_fit_keeps_the_aspect_ratio_unless_squashed(geometry, expected) -> None:
    assert Fit(64, geometry).shape(100, 200) == expected


def test_fit_of_what_fits_already_changes_nothing() -> None:
    for geometry, rows, columns in product(("pad", "crop"), (7, 100, 2048, 2371), (3, 99, 2048)):
        fit = Fit(224, geometry)
        assert fit.shape(*fit.shape(rows, columns)) == fit.shape(rows, columns)


def test_filter_weights_average_where_they_shrink_and_interpolate_where_they_enlarge() -> None:
    assert np.allclose(filter_weights(4, 2), [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]])
    assert np.allclose(filter_weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(*[st.integers(1, 90)] * 4)
def test_resample_equals_torch_at_any_size(height, width, rows, columns) -> None:
    pixels = np.random.default_rng(height * 91 + width).random((height, width), dtype=np.float32)
    assert np.abs(resample(pixels, (rows, columns)) - twin(pixels, (rows, columns))).max() < 5e-6


def test_rows_may_come_in_any_blocks_and_order() -> None:
    pixels = np.random.default_rng(0).random((50, 40), dtype=np.float32)
    blocks = [(top, pixels[top : top + 7]) for top in range(0, 50, 7)]
    assert np.allclose(resample_rows(blocks[::-1], (50, 40), (9, 8)), resample(pixels, (9, 8)))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("intensity", ["display", "modality"])
@pytest.mark.parametrize("padding", [None, (7, 9)])
@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR", "full range"])
def test_rendering_while_resampling_equals_one_after_the_other(
    dtype, intensity, padding, function
) -> None:
    low, high = max(np.iinfo(dtype).min, -2048), min(np.iinfo(dtype).max, 2047)
    stored = np.random.default_rng(1).integers(low, high, (90, 70), endpoint=True).astype(dtype)
    stored[:20, :20] = 8
    rendering = Rendering(
        stored_low=low,
        stored_high=high,
        modality=Rescale(2.0, -10.0),
        voi=ValueRange(2.0 * low - 10, 2.0 * high - 10)
        if function == "full range"
        else Window(30.0, 200.0, function),
        inverted=True,
        padding=padding,
    )
    expected = twin(fill_padding(*render(stored, rendering, intensity)), (13, 10))
    found = render_resampled(stored, rendering, intensity, (13, 10))
    assert np.abs(found - expected).max() < 5e-6 * max(1, np.abs(expected).max())


def test_values_beyond_the_stored_bits_count_as_their_ends() -> None:
    stored = np.full((70, 70), 5000, np.uint16)  # 12 bits hold 4095
    rendering = Rendering(stored_low=0, stored_high=4095, voi=ValueRange(0.0, 4095.0))
    assert render_resampled(stored, rendering, "display", (4, 4)) == pytest.approx(np.ones((4, 4)))
    assert render_resampled(stored, rendering, "modality", (4, 4)) == pytest.approx(
        np.full((4, 4), 4095.0)
    )


def test_float_pixels_are_resampled_too() -> None:
    stored = np.random.default_rng(2).random((30, 20))
    rendering = Rendering(stored_low=0, stored_high=1, voi=ValueRange(0.0, 1.0))
    found = render_resampled(stored, rendering, "display", (10, 5))
    assert np.abs(found - twin(stored.astype(np.float32), (10, 5))).max() < 5e-6


def test_padding_is_filled_before_it_can_bleed_into_the_picture() -> None:
    pixels = np.full((8, 8), 5.0, np.float32)
    pixels[:, 4:] = -2000.0
    padding = pixels < 0
    record = ImageRecord(format="nifti", rows=8, columns=8, intensity="modality", voi="")
    image = resample_image(GrayscaleImage(pixels, padding, record), Fit(4))
    assert np.array_equal(image.pixels, np.full((4, 4), 5.0))
    assert image.padding is None
    assert (image.record.rows, image.record.columns) == (8, 8)


def test_a_dicom_file_is_read_at_the_size_that_is_wanted(tmp_path: Path) -> None:
    stored = np.random.default_rng(3).integers(0, 256, (120, 80)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", stored, "MONOCHROME1")
    whole = read_grayscale(tmp_path / "a.dcm")
    small = read_grayscale(tmp_path / "a.dcm", fit=Fit(24))
    assert small.pixels.shape == (24, 16)
    assert small.record == whole.record
    assert np.abs(small.pixels - twin(whole.pixels, (24, 16))).max() < 5e-6
