"""Forest plots: one row a finding or a subgroup, its AUROC, sensitivity and specificity beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from medres.reports.drawing import BLUE, INK, QUIET, Drawing, new_figure, styled
from medres.reports.figure_kinds import format_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("auroc", "AUROC", False),
    ("sensitivity", "Sensitivity", True),
    ("specificity", "Specificity", True),
)
ROW_INCHES, FRAME_INCHES = 0.27, 0.75
LABEL_LENGTH = 28
"""Characters of a name before it is cut: longer ones would leave no room for the panels."""


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot.

    Attributes:
        name: as the reader knows it.
        size: `n positive of n`, or empty.
        figures: estimates by key; a heading has none.
    """

    name: str
    size: str
    figures: Mapping[str, Mapping[str, Any] | None]


def finding_rows(evaluation: Mapping[str, Any]) -> tuple[ForestRow, ...]:
    """A row a finding, and the macro mean where there is one."""
    rows = [_row(name, finding) for name, finding in evaluation["findings"].items()]
    macro = evaluation.get("macro") or {}
    if macro.get("auroc") and rows[1:]:
        rows.append(ForestRow("Macro mean", "", {"auroc": macro["auroc"]}))
    return tuple(rows)


def subgroup_rows(finding: Mapping[str, Any]) -> tuple[ForestRow, ...]:
    """All cases, then a heading a column with its groups; none where there are no subgroups."""
    columns = finding.get("subgroups") or {}
    rows = [_row("All", finding)] if columns else []
    for column, section in columns.items():
        rows.append(ForestRow(column, "", {}))
        rows += [_row(name, group) for name, group in section["groups"].items()]
    return tuple(rows)


def plot_forest(rows: Sequence[ForestRow], *, title: str) -> Drawing | None:
    """Draw the rows, the first on top; None where there are none.

    Args:
        rows: to draw; what is undefined is left out of its panel, with its row kept.
        title: of the drawing.
    """
    if not rows:
        return None
    with styled():
        figure = new_figure(7.2, ROW_INCHES * len(rows) + FRAME_INCHES)
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (key, name, percent) in zip(panels, PANELS, strict=True):
            _draw_panel(axes, rows, key, percent=percent)
            axes.set_xlabel(name)
        _name_rows(panels[0], rows)
    words = [
        f"{row.name}: AUROC {format_estimate(row.figures['auroc'])}."
        for row in rows[:40]
        if row.figures.get("auroc")
    ]
    return Drawing(figure, title, " ".join(words))


def _row(name: str, source: Mapping[str, Any]) -> ForestRow:
    size = f"{source.get('n_positive', '?')} of {source.get('n', '?')}"
    return ForestRow(name, size, {key: source.get(key) for key, *_ in PANELS})


def _draw_panel(axes: Axes, rows: Sequence[ForestRow], key: str, *, percent: bool) -> None:
    reference = (rows[0].figures.get(key) or {}).get("value")
    if reference is not None:
        axes.axvline(reference, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
    for place, row in enumerate(rows):
        estimate = row.figures.get(key)
        if not estimate:
            continue
        if estimate.get("value") is None:
            middle: dict[str, Any] = {"ha": "center", "va": "center"}
            middle["transform"] = axes.get_yaxis_transform()
            few = str(estimate.get("undefined")).startswith("not shown")
            text = "too few to judge" if few else "undefined"
            axes.text(0.5, place, text, fontsize=7.5, color=INK, **middle)
            continue
        if estimate.get("low") is not None and estimate.get("high") is not None:
            axes.plot(
                [estimate["low"], estimate["high"]], [place, place], color=BLUE, linewidth=1.2
            )
        axes.plot([estimate["value"]], [place], "s", color=BLUE, markersize=4.2, clip_on=False)
    axes.set_xlim(_left_end(rows, key), 1.01)
    axes.locator_params(axis="x", nbins=4)
    if percent:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _left_end(rows: Sequence[ForestRow], key: str) -> float:
    """Where the axis begins: a tenth below all that is drawn, 0 at least."""
    lows = [
        estimate[end]
        for row in rows
        if (estimate := row.figures.get(key))
        for end in ("low", "value")
        if estimate.get(end) is not None
    ]
    return max(-0.01, math.floor(10 * min(lows, default=0.0)) / 10 - 0.01)


def _name_rows(axes: Axes, rows: Sequence[ForestRow]) -> None:
    names = [
        f"{legible(row.name, f'row {place}')}{f'  ({row.size})' if row.size else ''}"
        for place, row in enumerate(rows, start=1)
    ]
    axes.set_yticks(range(len(rows)), names)
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_parse_math(False)
        text.set_fontweight("normal" if row.figures else "bold")
        text.set_color(INK)


def legible(name: str, otherwise: str) -> str:
    """A name as the font can write it, cut where it is long; a number for other scripts."""
    short = name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 1]}…"
    known = _characters()
    return short if all(ord(char) in known for char in short) else otherwise


@cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    return frozenset(
        get_font(fontManager.findfont(FontProperties(family=["sans-serif"]))).get_charmap()
    )
