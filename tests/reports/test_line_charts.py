from __future__ import annotations

from xml.etree import ElementTree

import pytest

from medres.reports.line_charts import Line, draw_lines, round_ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.61, 0.93, [0.6, 0.7, 0.8, 0.9, 1.0]),
        (0, 87.3, [0, 20, 40, 60, 80, 100]),
        (0.5, 0.5, [0.5, 0.6]),
        (0, 0, [0, 0.2]),
        (-3, 12, [-5, 0, 5, 10, 15]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    ticks = round_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert ticks == expected


def test_chart_places_points_and_names_them() -> None:
    line = Line("a<b", "var(--blue)", ((1.0, 0.0), (3.0, 1.0)))
    text = draw_lines([line], title="Loss & more", y_name="loss", x_max=3, mark=3)
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == "Loss & more"
    (polyline,) = root.iter("polyline")
    assert polyline.get("points") == "52.0,210.0 446.0,12.0"
    assert [title.text for title in root.iter("title")] == ["epoch 1, a<b: 0", "epoch 3, a<b: 1"]
    (mark,) = (path for path in root.iter("path") if path.get("class") == "mark")
    assert mark.get("d") == "M446.0 12V210"


def test_chart_leaves_out_what_is_not_finite() -> None:
    line = Line("loss", "red", ((1.0, float("nan")), (2.0, 0.5)))
    (polyline,) = ElementTree.fromstring(draw_lines([line], title="t", y_name="y", x_max=2)).iter(
        "polyline"
    )
    assert polyline.get("points").count(",") == 1


def test_chart_of_nothing_is_empty() -> None:
    assert draw_lines([Line("loss", "red", ())], title="t", y_name="y", x_max=2) == ""


def test_long_lines_have_no_dots() -> None:
    line = Line("loss", "red", tuple((float(k), 1.0 / k) for k in range(1, 100)))
    assert "<circle" not in draw_lines([line], title="t", y_name="y", x_max=99)
