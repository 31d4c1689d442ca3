from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from medres.reports.figures import (
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_training,
    reliability_points,
    thin_curve,
)

DRAWINGS = (draw_roc, draw_precision_recall, draw_reliability, draw_scores)
Draw = Callable[..., str]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_drawing_is_one_described_element(draw: Draw, finding: dict[str, Any]) -> None:
    root = ElementTree.fromstring(draw(finding, name="opacity", anchor="a1"))
    assert root.tag == "svg"
    assert root.get("role") == "img"
    title, description = root[0], root[1]
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert "opacity" in (title.text or "")
    assert len(description.text or "") > 20


@pytest.mark.parametrize("draw", DRAWINGS)
def test_drawing_is_the_same_each_time(draw: Draw, finding: dict[str, Any]) -> None:
    first, second = (draw(finding, name="opacity", anchor="a1") for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first


@pytest.mark.parametrize("draw", DRAWINGS)
def test_drawing_leaves_global_settings_alone(draw: Draw, finding: dict[str, Any]) -> None:
    before = dict(mpl.rcParams)
    draw(finding, name="opacity", anchor="a1")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("draw", DRAWINGS)
def test_drawing_keeps_its_ids_to_itself(draw: Draw, finding: dict[str, Any]) -> None:
    text = draw(finding, name="opacity", anchor="a1")
    ids = re.findall(r'\bid="([^"]+)"', text)
    targets = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
    assert all(name.startswith("a1-") for name in ids)
    assert len(ids) == len(set(ids))
    assert {a or b for a, b in targets} <= set(ids)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_drawing_escapes_and_never_typesets_a_name(draw: Draw, finding: dict[str, Any]) -> None:
    text = draw(finding, name="<script>$\\frac$", anchor="a1")
    assert "<script>" not in text
    assert "&lt;script&gt;$\\frac$" in text


def test_drawing_of_an_absent_curve_is_empty(finding: dict[str, Any]) -> None:
    for curves in ({}, None, dict.fromkeys(("roc", "precision_recall", "reliability", "scores"))):
        for draw in DRAWINGS:
            assert draw({**finding, "curves": curves}, name="opacity", anchor="a") == ""


def test_drawing_text_keeps_its_figures(finding: dict[str, Any]) -> None:
    assert ">AUROC 0.833 (0.500–0.970)</text>" in draw_roc(finding, name="opacity", anchor="a")


def test_roc_marks_the_operating_point_only_where_there_is_one(finding: dict[str, Any]) -> None:
    with_point = draw_roc(finding, name="opacity", anchor="a")
    finding["threshold"] = finding["sensitivity"] = None
    without = draw_roc(finding, name="opacity", anchor="a")
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
    forward = draw_precision_recall(finding, name="opacity", anchor="a")
    curve = finding["curves"]["precision_recall"]
    finding["curves"]["precision_recall"] = {key: curve[key][::-1] for key in curve}
    assert draw_precision_recall(finding, name="opacity", anchor="a") == forward


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
    assert len(draw_roc(finding, name="opacity", anchor="a")) < 40_000


def test_training_is_drawn_from_two_epochs_on(evaluation: dict[str, Any]) -> None:
    history = evaluation["training"]["history"]
    assert draw_training(history, anchor="t").startswith("<svg ")
    assert draw_training(history[:1], anchor="t") == ""
    assert draw_training([{"epoch": 1}, {"epoch": 2}], anchor="t") == ""
