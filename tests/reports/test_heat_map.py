"""The picture of a heat map, read back."""

import io

import numpy as np
import pytest
from matplotlib import image as images

from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.reports.heat_map import draw_heat_map
from medres.scoring.explanation import Explanation


def explanation(heat: np.ndarray, aspect: float = 1.0, **changed: object) -> Explanation:
    values = {
        "pixels": np.full(heat.shape, 0.5, np.float32),
        "heat": heat.astype(np.float32),
        "seen": np.ones(heat.shape, bool),
        "finding": "mass $x$",
        "probability": 0.75,
        "threshold": 0.5,
        "pixel_aspect": aspect,
    }
    return Explanation(**{**values, **changed})


def spot() -> np.ndarray:
    heat = np.zeros((60, 90))
    heat[10:20, 60:80] = 1
    return heat


def test_the_words_say_finding_probability_decision_and_place() -> None:
    drawing = draw_heat_map(explanation(spot()))
    assert drawing.title == "Grad-CAM, mass $x$"
    assert drawing.description == (
        "mass $x$: probability 0.750, positive at the threshold 0.500. "
        "The map is largest 17% from the top and 67% from the left."
    )
    assert "negative" in draw_heat_map(explanation(spot(), probability=0.4)).description
    empty = draw_heat_map(explanation(np.zeros((60, 90)), threshold=None))
    assert empty.description.startswith("mass $x$: probability 0.750. Nothing in the image speaks")
    band = Band(Threshold(0.5, "low", 9), Threshold(0.8, "high", 9))
    assert draw_heat_map(explanation(spot(), band=band)).description.startswith(
        "mass $x$: probability 0.750, indeterminate with the band from 0.500 to 0.800. "
    )


@pytest.mark.parametrize("aspect", [1.0, 1.5])
def test_the_map_lies_where_it_is_in_the_image_and_pixels_have_their_shape(aspect: float) -> None:
    figure = draw_heat_map(explanation(spot(), aspect)).figure
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    plain, covered = figure.axes[:2]
    assert plain.get_images()[0].get_extent() == covered.get_images()[1].get_extent()
    box = covered.get_window_extent()
    assert box.height / box.width == pytest.approx(60 * aspect / 90, rel=0.02)
    picture = images.imread(io.BytesIO(stream.getvalue()))
    height = picture.shape[0]
    low, high = covered.transData.transform([(69.5, 14.5), (20.5, 40.5)]) * 100 / figure.dpi
    marked, bare = (picture[int(height - y), int(x), :3] for x, y in (low, high))
    assert marked[0] - marked[2] > 0.3  # yellow
    assert np.ptp(bare) < 0.02  # gray as it was


def test_what_crop_has_cut_off_is_framed() -> None:
    seen = np.zeros((60, 90), bool)
    seen[:, 15:75] = True
    plain = draw_heat_map(explanation(spot(), seen=seen)).figure.axes[0]
    assert len(plain.collections) == 1
    assert not draw_heat_map(explanation(spot())).figure.axes[0].collections
