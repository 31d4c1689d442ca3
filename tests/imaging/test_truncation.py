"""Files cut short: refused, or as the whole file is, never another picture in silence."""

import numpy as np
import pytest
from fuzz_sources import made_arrays, made_dicom, made_pictures, made_volumes

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.read import read_grayscale

MADE = [*made_dicom(), *made_pictures(), *made_arrays(), *made_volumes()]
# What a file that lacks its end may be called: by its beginning alone it can be anything.
SAID_OF_CUT_FILES = {
    *(RejectReason.TRUNCATED, RejectReason.DECODE_FAILED, RejectReason.INVALID_HEADER),
    *(RejectReason.UNKNOWN_FORMAT, RejectReason.NO_PIXEL_DATA, RejectReason.NOT_AN_IMAGE),
    *(RejectReason.UNSUPPORTED_PHOTOMETRIC, RejectReason.EMPTY_FILE),
}


def pixels_or_reason(path):
    try:
        return read_grayscale(path).pixels, None
    except UnreadableImageError as error:
        return None, error.reason


def check_cut(content, at, path):
    """The first sixteenths of a file give its first picture or none."""
    path.write_bytes(content)
    whole, _ = pixels_or_reason(path)
    path.write_bytes(content[: len(content) * at // 16])
    cut, reason = pixels_or_reason(path)
    assert (cut is None) != (reason is None)
    if cut is None:
        assert reason in SAID_OF_CUT_FILES
    else:  # what follows the first frame, or pads it, may be lost without harm to it
        assert np.array_equal(cut, whole)


@pytest.mark.parametrize("number", range(len(MADE)))
def test_made_file_cut_at_every_sixteenth_gives_no_other_picture(tmp_path, number):
    for at in range(16):
        check_cut(MADE[number], at, tmp_path / "cut")


@pytest.mark.parametrize("number", range(len(MADE)))
def test_made_file_without_its_last_bytes_gives_no_other_picture(tmp_path, number):
    path = tmp_path / "cut"
    path.write_bytes(MADE[number])
    whole, _ = pixels_or_reason(path)
    for lost in (1, 2, 3, 4, 8, 16):
        path.write_bytes(MADE[number][:-lost])
        cut, _ = pixels_or_reason(path)
        assert cut is None or np.array_equal(cut, whole)


@pytest.mark.parametrize("at", range(1, 16))
def test_real_file_cut_at_every_sixteenth_gives_no_other_picture(test_data, tmp_path, at):
    whole = sorted((test_data / "data/dicom/files").iterdir())
    for path in whole[at % 3 :: 3]:
        check_cut(path.read_bytes(), at, tmp_path / "cut")
