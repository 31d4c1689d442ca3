"""The ROC curve here, and the same model's on other data, in one drawing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medres.reports.beside import read_beside
from medres.reports.page import render_page
from medres.reports.paper import list_drawings
from medres.reports.roc_overlay import LINES, plot_roc_overlays


@pytest.fixture
def both(evaluation: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """An evaluation beside which stand two others: a worse one, and one without a curve."""
    text = json.dumps(evaluation).replace("Infinity", "null")
    for name, curve in (
        ("north", {"false_positive_rate": [0, 0.5, 1], "sensitivity": [0, 0.5, 1]}),
        ("south", None),
    ):
        other = json.loads(text)
        other["findings"]["opacity"]["curves"]["roc"] = curve
        other["findings"]["opacity"]["auroc"]["value"] = 0.5
        (tmp_path / f"{name}.json").write_text(json.dumps(other))
    texts = [f"{name} $x={tmp_path / name}.json" for name in ("north", "south")]
    return evaluation | {"beside": read_beside(texts, ["opacity"])}


def test_each_curve_is_drawn_with_its_auroc_and_interval(both: dict[str, Any]) -> None:
    ((finding, drawing),) = plot_roc_overlays(both)
    assert finding == "opacity"
    (axes,) = drawing.figure.axes
    _, here, north = axes.get_lines()
    assert here.get_xydata()[-2:].tolist() == [[4 / 6, 1], [1, 1]]
    assert north.get_xydata().tolist() == [[0, 0], [0.5, 0.5], [1, 1]]
    assert here.get_color() != north.get_color()
    assert here.get_linestyle() != north.get_linestyle()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "this evaluation: 0.833 (0.500–0.970)",
        "north $x: 0.500 (0.500–0.970)",
    ]
    assert drawing.description == (
        "ROC curves on several data sets. this evaluation: AUROC 0.833 (0.500–0.970). "
        "north $x: AUROC 0.500 (0.500–0.970)."
    )


def test_the_page_and_the_paper_have_the_drawing(both: dict[str, Any]) -> None:
    page = render_page(both)
    assert 'id="beside-roc-1-title"' in page
    assert "roc_beside" in dict(list_drawings(both))


@pytest.mark.parametrize("without", ["here", "there"])
def test_one_curve_alone_is_no_comparison(both: dict[str, Any], without: str) -> None:
    entries = both if without == "here" else both["beside"][0]
    entries["findings"]["opacity"]["curves"]["roc"] = None
    assert list(plot_roc_overlays(both)) == []
    assert "beside-roc" not in render_page(both)
    assert "roc_beside" not in dict(list_drawings(both))


def test_more_sets_than_lines_are_named_and_not_drawn(both: dict[str, Any]) -> None:
    first = both["beside"][0]
    both["beside"] = [{**first, "name": f"a hospital with a long name, {k}"} for k in range(6)]
    ((_, drawing),) = plot_roc_overlays(both)
    labels = [text.get_text() for text in drawing.figure.axes[0].get_legend().get_texts()]
    assert len(labels) == len(LINES)
    assert labels[1] == "a hospital with a l…: 0.500 (0.500–0.970)"
    assert drawing.description.endswith(
        "Not drawn: a hospital with a long name, 4, a hospital with a long name, 5."
    )


def test_a_curve_of_many_cases_is_kept_as_it_can_be_drawn(
    evaluation: dict[str, Any], tmp_path: Path
) -> None:
    rates = np.linspace(0, 1, 20_001).tolist()
    other = json.loads(json.dumps(evaluation).replace("Infinity", "null"))
    curve = {"false_positive_rate": rates, "sensitivity": rates}
    other["findings"]["opacity"]["curves"]["roc"] = curve
    (tmp_path / "many.json").write_text(json.dumps(other))
    (kept,) = read_beside([str(tmp_path / "many.json")], ["opacity"])
    points = kept["findings"]["opacity"]["curves"]["roc"]["sensitivity"]
    assert len(points) <= 501
    assert (points[0], points[-1]) == (0, 1)
