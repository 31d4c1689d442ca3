from __future__ import annotations

from typing import Any

import pytest

from medres.reports.drawing import as_svg
from medres.reports.forest import ForestRow, finding_rows, plot_forest, subgroup_rows


@pytest.fixture
def grouped(finding: dict[str, Any]) -> dict[str, Any]:
    groups = {"F": {**finding, "n": 6}, "M": {**finding, "n": 4, "auroc": several_undefined()}}
    return {**finding, "subgroups": {"sex": {"groups": groups}}}


def several_undefined() -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "undefined": "not shown: only 2 positive"}


def names(rows: tuple[ForestRow, ...]) -> list[tuple[str, str]]:
    return [(row.name, row.size) for row in rows]


def test_subgroups_stand_below_all_cases(grouped: dict[str, Any]) -> None:
    assert names(subgroup_rows(grouped)) == [
        ("All", "4 of 10"), ("sex", ""), ("F", "4 of 6"), ("M", "4 of 4"),
    ]  # fmt: skip


def test_findings_stand_above_their_mean(
    several: dict[str, Any], evaluation: dict[str, Any]
) -> None:
    assert [name for name, _ in names(finding_rows(several))] == [
        "opacity", "pneumothorax", "Macro mean",
    ]  # fmt: skip
    assert [name for name, _ in names(finding_rows(evaluation))] == ["opacity"]


def test_forest_draws_each_figure_in_its_row(grouped: dict[str, Any]) -> None:
    drawing = plot_forest(subgroup_rows(grouped), title="Subgroups, opacity")
    assert drawing is not None
    first = drawing.figure.axes[0]
    points = [tuple(line.get_xydata()[0]) for line in first.lines if line.get_marker() == "s"]
    assert points == [(pytest.approx(20 / 24), 0.0), (pytest.approx(20 / 24), 2.0)]
    assert [text.get_text() for text in first.texts] == ["too few to judge"]
    assert first.get_xlim()[0] == pytest.approx(0.49)  # below 0.5, the lowest limit
    assert drawing.description == (
        "All: AUROC 0.833 (0.500–0.970). F: AUROC 0.833 (0.500–0.970). "
        "M: AUROC undefined (not shown: only 2 positive)."
    )


def test_forest_never_typesets_a_name_and_numbers_what_the_font_lacks() -> None:
    rows = (
        ForestRow("$\\frac$ <b>", "1 of 2", {}),
        ForestRow("\N{CJK UNIFIED IDEOGRAPH-80BA}", "", {}),
        ForestRow("x" * 40, "", {}),
    )
    text = as_svg(plot_forest(rows, title="t"), "a")
    assert "$\\frac$ &lt;b&gt; (1 of 2)" in text
    assert ">row 2<" in text
    assert f">{'x' * 27}…<" in text


def test_forest_of_nothing_is_none(finding: dict[str, Any]) -> None:
    assert plot_forest(subgroup_rows(finding), title="none") is None
