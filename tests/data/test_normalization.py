"""The streamed histogram against numpy on all the pixels at once."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from medres.data.normalization import MAX_BINS, IntensityHistogram, IntensityStatistics
from medres.errors import NormalizationError

PERCENTILES = (1.0, 99.0)


def histogram(*images):
    made = IntensityHistogram()
    for image in images:
        made.update(np.asarray(image, np.float32))
    return made


def by_numpy(images, percentiles):
    """The textbook twin: everything in memory, float64."""
    values = np.concatenate([np.ravel(image) for image in images]).astype(np.float64)
    low, high = np.percentile(values, percentiles, method="inverted_cdf")
    clipped = np.clip(values, low, high)
    return low, high, clipped.mean(), clipped.std()


magnitudes = st.sampled_from([1e-30, 1e-3, 1.0, 255.0, 4096.0, 1e9, 1e30])


@st.composite
def image_sets(draw):
    scale, offset = draw(magnitudes), draw(st.sampled_from([-1.0, 0.0, 0.5, 100.0]))
    shape = npst.array_shapes(min_dims=2, max_dims=2, max_side=12)
    values = st.floats(-1, 1, width=32)
    images = draw(st.lists(npst.arrays(np.float32, shape, elements=values), min_size=1, max_size=5))
    return [
        ((image + np.float32(offset)) * np.float32(scale)).astype(np.float32) for image in images
    ]


@settings(max_examples=150, deadline=None)
@given(image_sets())
def test_statistics_are_numpys_to_the_width_of_a_bin(images):
    made = histogram(*images)
    expected = by_numpy(images, PERCENTILES)
    bound = made.bin_width * 1.0001
    try:
        found = made.statistics(PERCENTILES)
    except NormalizationError:
        assert expected[1] - expected[0] <= bound
        return
    figures = (found.low, found.high, found.mean, found.std)
    assert np.abs(np.subtract(figures, expected)).max() <= bound
    assert found.n_pixels == sum(image.size for image in images)
    assert found.n_images == len(images)
    assert found.resolution == made.bin_width


@settings(max_examples=60, deadline=None)
@given(image_sets(), st.randoms(use_true_random=False))
def test_neither_order_nor_sharing_out_changes_a_bit(images, random):
    whole = histogram(*images)
    shuffled = random.sample(images, len(images))
    cut = random.randrange(len(images) + 1)
    for other in (histogram(*shuffled), histogram(*images[:cut]) + histogram(*images[cut:])):
        assert other._exponent == whole._exponent
        assert other._first == whole._first
        np.testing.assert_array_equal(other._counts, whole._counts)
        assert other._n_images == whole._n_images


def test_memory_stays_bounded_while_the_range_grows():
    made = IntensityHistogram()
    for power in range(-20, 60):
        made.update(np.array([[-(2.0**power), 2.0**power]], np.float32))
        assert made._counts.size <= MAX_BINS
    assert made.n_pixels == 160


def test_display_intensities_are_resolved_to_a_sixteen_bit_step():
    made = histogram(np.linspace(0, 1, 1000, dtype=np.float32)[None])
    assert made.bin_width <= 2**-16


def test_a_sixteen_bit_range_is_resolved_to_one_level():
    assert histogram([[0, 65535]]).bin_width <= 1


def test_hand_worked_example():
    # 0 0 0 1 2 3 4 100: the 12.5th percentile is 0, the 87.5th is 4; clipped 0 0 0 1 2 3 4 4.
    found = histogram([[0, 0, 0, 1], [2, 3, 4, 100]]).statistics((12.5, 87.5), n_patients=2)
    assert found.low == pytest.approx(0, abs=1e-3)
    assert found.high == pytest.approx(4, abs=1e-3)
    assert found.mean == pytest.approx(14 / 8, abs=1e-3)
    assert found.std == pytest.approx(np.std([0, 0, 0, 1, 2, 3, 4, 4]), abs=1e-3)
    assert (found.n_images, found.n_patients, found.n_pixels) == (1, 2, 8)


def test_padding_is_left_out():
    pixels = np.array([[-2000, 0], [1, 2]], np.float32)
    made = IntensityHistogram()
    made.update(pixels, padding=pixels == -2000)
    made.update(pixels, padding=np.ones_like(pixels, bool))
    found = made.statistics((0, 100))
    assert found.low == pytest.approx(0, abs=1e-4)
    assert (found.n_pixels, found.n_images) == (3, 2)


def test_limits_never_leave_the_data():
    found = histogram([[0.1, 0.2, 0.7]]).statistics((0, 100))
    assert np.float32(0.1) <= found.low < found.high <= np.float32(0.7)


def test_statistics_survive_json():
    found = histogram([[0, 1, 2, 3]]).statistics(n_patients=1)
    assert IntensityStatistics.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize("value", [0.0, 0.1, -1024.0, 1e30])
def test_constant_images_are_refused(value):
    constant = np.full((4, 4), value, np.float32)
    with pytest.raises(NormalizationError, match="the training images are constant: all pixels"):
        histogram(constant, constant).statistics()


def test_an_outlier_outside_the_percentiles_does_not_make_images_vary():
    pixels = np.zeros((100, 100), np.float32)
    pixels[0, 0] = 9
    with pytest.raises(NormalizationError, match="or widen the clip percentiles"):
        histogram(pixels).statistics((0.1, 99.9))
    assert histogram(pixels).statistics((0, 100)).high == pytest.approx(9, abs=1e-3)


def test_no_pixels_are_refused():
    with pytest.raises(NormalizationError, match="no training pixels to fit"):
        IntensityHistogram().statistics()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(value):
    with pytest.raises(NormalizationError, match="NaN or infinite; leave it out or mark them"):
        histogram([[0, value]])


@pytest.mark.parametrize("percentiles", [(-1, 99), (1, 101), (50, 50), (60, 40)])
def test_impossible_percentiles_are_refused(percentiles):
    with pytest.raises(NormalizationError, match="accepted are 0 <= lower < upper <= 100"):
        histogram([[0, 1]]).statistics(percentiles)
