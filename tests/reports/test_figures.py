from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from medres.reports.drawing import Drawing, as_svg
from medres.reports.figures import (
    plot_decision_curve,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    plot_scores,
    plot_training,
    reliability_points,
    thin_curve,
)

CURVE = {
    "threshold": [0.1, 0.3, 0.6],
    "model": {"value": [0.38, 0.3, 0.1], "low": [0.2, 0.1, -0.1], "high": [0.6, 0.5, 0.3]},
    "all": {"value": [0.33, 0.14, -0.5], "low": [0.1, -0.1, -0.9], "high": [0.6, 0.4, 0.1]},
}
DRAWINGS = (plot_roc, plot_precision_recall, plot_reliability, plot_scores, plot_decision_curve)
Plot = Callable[..., Drawing | None]


@pytest.fixture
def finding(finding: dict[str, Any]) -> dict[str, Any]:
    return {**finding, "decision_curve": CURVE}


@pytest.mark.parametrize("plot", DRAWINGS)
def test_drawing_is_one_described_element(plot: Plot, finding: dict[str, Any]) -> None:
    root = ElementTree.fromstring(as_svg(plot(finding, name="opacity"), "a1"))
    assert root.tag == "svg"
    assert root.get("role") == "img"
    title, description = root[0], root[1]
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert "opacity" in (title.text or "")
    assert len(description.text or "") > 20


@pytest.mark.parametrize("plot", DRAWINGS)
def test_drawing_is_the_same_each_time(plot: Plot, finding: dict[str, Any]) -> None:
    first, second = (as_svg(plot(finding, name="opacity"), "a1") for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first


@pytest.mark.parametrize("plot", DRAWINGS)
def test_drawing_leaves_global_settings_alone(plot: Plot, finding: dict[str, Any]) -> None:
    before = dict(mpl.rcParams)
    as_svg(plot(finding, name="opacity"), "a1")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("plot", DRAWINGS)
def test_drawing_keeps_its_ids_to_itself(plot: Plot, finding: dict[str, Any]) -> None:
    text = as_svg(plot(finding, name="opacity"), "a1")
    ids = re.findall(r'\bid="([^"]+)"', text)
    targets = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
    assert all(name.startswith("a1-") for name in ids)
    assert len(ids) == len(set(ids))
    assert {a or b for a, b in targets} <= set(ids)


@pytest.mark.parametrize("plot", DRAWINGS)
def test_drawing_escapes_and_never_typesets_a_name(plot: Plot, finding: dict[str, Any]) -> None:
    text = as_svg(plot(finding, name="<script>$\\frac$"), "a1")
    assert "<script>" not in text
    assert "&lt;script&gt;$\\frac$" in text


def test_drawing_of_an_absent_curve_is_empty(finding: dict[str, Any]) -> None:
    for curves in ({}, None, dict.fromkeys(("roc", "precision_recall", "reliability", "scores"))):
        for plot in DRAWINGS:
            absent = {**finding, "curves": curves, "decision_curve": None}
            assert as_svg(plot(absent, name="opacity"), "a") == ""


def test_drawing_text_keeps_its_figures(finding: dict[str, Any]) -> None:
    assert ">AUROC 0.833 (0.500–0.970)</text>" in as_svg(plot_roc(finding, name="opacity"), "a")


def test_roc_marks_the_operating_point_only_where_there_is_one(finding: dict[str, Any]) -> None:
    with_point = as_svg(plot_roc(finding, name="opacity"), "a")
    finding["threshold"] = finding["sensitivity"] = None
    without = as_svg(plot_roc(finding, name="opacity"), "a")
    assert "#c04a00" in with_point
    assert "#c04a00" not in without
    assert "No threshold." in without


def test_reliability_leaves_out_empty_bins(finding: dict[str, Any]) -> None:
    curve = finding["curves"]["reliability"]
    for key in ("mean_score", "observed", "low", "high"):
        curve[key].append(None)
    curve["n"].append(0)
    assert [point[4] for point in reliability_points(finding)] == [6, 4]


def test_precision_recall_is_drawn_in_either_direction(finding: dict[str, Any]) -> None:
    forward = as_svg(plot_precision_recall(finding, name="opacity"), "a")
    curve = finding["curves"]["precision_recall"]
    finding["curves"]["precision_recall"] = {key: curve[key][::-1] for key in curve}
    assert as_svg(plot_precision_recall(finding, name="opacity"), "a") == forward


def test_thinning_keeps_the_ends_and_every_visible_step() -> None:
    assert thin_curve([0, 0.0001, 0.5, 0.5001, 1], [0, 0, 0.5, 0.5, 1]) == (
        [0, 0.5, 1],
        [0, 0.5, 1],
    )
    assert thin_curve([0, 0, 0.0005], [0, 1, 1]) == ([0, 0, 0.0005], [0, 1, 1])


def test_drawing_of_100_000_cases_stays_small(finding: dict[str, Any]) -> None:
    rate = np.linspace(0, 1, 100_000)
    finding["curves"]["roc"] = {
        "false_positive_rate": rate.tolist(),
        "sensitivity": np.sqrt(rate).tolist(),
    }
    assert len(as_svg(plot_roc(finding, name="opacity"), "a")) < 40_000


def test_training_is_drawn_from_two_epochs_on(evaluation: dict[str, Any]) -> None:
    history = evaluation["training"]["history"]
    assert as_svg(plot_training(history), "t").startswith("<svg ")
    assert as_svg(plot_training(history[:1]), "t") == ""
    assert as_svg(plot_training([{"epoch": 1}, {"epoch": 2}]), "t") == ""


def test_decision_curve_says_how_far_it_is_useful(finding: dict[str, Any]) -> None:
    drawing = plot_decision_curve(finding, name="opacity")
    assert drawing is not None
    assert drawing.description == (
        "Net benefit at threshold probabilities of 0.1 to 0.6. "
        "Its interval lies above 0 up to 0.30."
    )
    axes = drawing.figure.axes[0]
    assert axes.get_ylim() == pytest.approx((-0.15 * 0.6, 1.08 * 0.6))
    model, everybody, nobody = axes.lines
    assert list(model.get_ydata()) == CURVE["model"]["value"]
    assert list(everybody.get_ydata()) == CURVE["all"]["value"]
    assert list(nobody.get_ydata()) == [0, 0]
