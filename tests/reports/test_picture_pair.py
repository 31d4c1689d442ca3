from __future__ import annotations

import io

import numpy as np
from PIL import Image

from medres.reports.picture_pair import as_jpeg, pair_with_map


def test_map_covers_the_right_half_and_no_more() -> None:
    pixels = np.array([[0.0, 0.4], [1.2, -0.5]], np.float32)
    heat = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    drawn = np.asarray(pair_with_map(pixels, heat))
    assert drawn[:, :2].tolist() == [[[0, 0, 0], [102] * 3], [[255] * 3, [0, 0, 0]]]
    # .3 of the image and .7 of (230, 159, 0)
    assert drawn[:, 2:].tolist() == [[[0, 0, 0], [192, 142, 31]], [[238, 188, 76], [0, 0, 0]]]


def test_jpeg_has_the_size_asked_for() -> None:
    picture = pair_with_map(np.zeros((8, 4), np.float32), np.zeros((8, 4), np.float32))
    with Image.open(io.BytesIO(as_jpeg(picture, (20, 10), 80))) as read:
        assert (read.format, read.mode, read.size) == ("JPEG", "RGB", (20, 10))
