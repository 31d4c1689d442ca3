"""Properties that hold for any file whatever, over files that hypothesis makes and damages.

The fast and repeatable part of `tests/fuzz_imaging.py`.
"""

import json
import random
import struct

import numpy as np
import pytest
from dicom_wounds import mutate_dicom
from fuzz_imaging import mutate_bytes
from fuzz_sources import made_arrays, made_dicom, made_pictures, made_volumes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marked_files import dicom_file, pixel_elements
from picture_wounds import mutate_picture
from pydicom.datadict import keyword_dict

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom import HEADER_TAGS
from medres.imaging.grayscale import GrayscaleImage
from medres.imaging.read import read_grayscale, read_record

DICOM = [*made_dicom()]
OTHERS = [*made_pictures(), *made_arrays(), *made_volumes()]
REPEATABLE = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def check(tmp_path):
    """Read a file: it gives an image that is one, with its record, or a documented error."""

    def read(content):
        path = tmp_path / "input"
        path.write_bytes(content)
        try:
            image = read_grayscale(path)
        except UnreadableImageError as error:
            refused = error
        else:
            refused = None
        if refused:
            assert refused.reason in RejectReason
            assert refused.__cause__ is None
            assert refused.__context__ is None
            return refused.reason
        assert isinstance(image, GrayscaleImage)
        assert image.pixels.dtype == np.float32
        assert image.pixels.shape == (image.record.rows, image.record.columns)
        assert np.isfinite(image.pixels).all()
        assert image.padding is None or image.padding.shape == image.pixels.shape
        if image.record.intensity == "display":
            assert 0 <= image.pixels.min() <= image.pixels.max() <= 1
        record = json.dumps(image.record.as_json(), allow_nan=False)
        assert record == json.dumps(read_record(path).as_json())
        again = read_grayscale(path)
        assert np.array_equal(again.pixels, image.pixels)
        return image

    return read


@given(st.sampled_from(DICOM), st.integers(0, 2**32))
@REPEATABLE
def test_damaged_dicom_is_an_image_or_a_documented_refusal(check, content, seed):
    check(mutate_dicom(random.Random(seed), content))


@given(st.sampled_from(OTHERS), st.integers(0, 2**32))
@REPEATABLE
def test_damaged_picture_volume_or_array_is_an_image_or_a_refusal(check, content, seed):
    check(mutate_picture(random.Random(seed), content))


@given(st.sampled_from(DICOM + OTHERS), st.sampled_from(DICOM + OTHERS), st.integers(0, 2**32))
@REPEATABLE
def test_file_with_any_wound_is_an_image_or_a_refusal(check, content, other, seed):
    check(mutate_bytes(random.Random(seed), content, other))


def values():
    """Bytes of an element: numbers of each kind, decimal strings, words, and anything."""
    numbers = st.integers(-(2**31), 2**31 - 1)
    return st.one_of(
        st.binary(max_size=64),
        st.lists(numbers, min_size=1, max_size=3).map(
            lambda many: "\\".join(map(str, many)).encode()
        ),
        st.floats().map(lambda number: repr(number).encode()),
        st.lists(st.integers(0, 65535), min_size=1, max_size=3).map(
            lambda many: struct.pack(f"<{len(many)}H", *many)
        ),
        st.sampled_from([b"MONOCHROME1", b"MONOCHROME2", b"PALETTE COLOR", b"RGB", b"SIGMOID"]),
        st.text(max_size=20).map(lambda text: text.encode()),
    )


@given(
    st.dictionaries(
        st.sampled_from(HEADER_TAGS),
        st.tuples(
            st.sampled_from(["US", "SS", "DS", "IS", "CS", "LO", "UN", "OW", "SQ"]), values()
        ),
        min_size=1,
        max_size=5,
    )
)
@REPEATABLE
def test_any_value_of_any_attribute_that_is_read_gives_an_image_or_a_refusal(check, attributes):
    elements = {keyword_dict[keyword]: value for keyword, value in attributes.items()}
    check(dicom_file({**pixel_elements(), **elements}))


@given(
    st.lists(st.integers(0, 255), min_size=4, max_size=4),
    st.floats(-1e6, 1e6).filter(lambda slope: abs(slope) > 1e-6),
    st.floats(-1e6, 1e6),
)
@REPEATABLE
def test_display_without_voi_does_not_depend_on_the_rescale(check, stored, slope, intercept):
    """The range that the bits can hold stands for display, in whatever units."""
    pixels = {0x7FE00010: ("OB", bytes(stored))}
    plain = check(dicom_file({**pixel_elements(), **pixels}))
    rescale = {
        keyword_dict["RescaleSlope"]: ("DS", f"{slope:.9g}".encode()),
        keyword_dict["RescaleIntercept"]: ("DS", f"{intercept:.9g}".encode()),
    }
    rescaled = check(dicom_file({**pixel_elements(), **rescale, **pixels}))
    expected = plain.pixels if slope > 0 else 1 - plain.pixels
    np.testing.assert_allclose(rescaled.pixels, expected, atol=1e-5)


@given(st.binary(max_size=600))
@REPEATABLE
def test_any_bytes_are_refused_or_an_image(check, content):
    check(content)
    check(bytes(128) + b"DICM" + content)
