"""ROC curves of one model on several data sets, over each other: internal and external."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medres.reports.beside import HERE, entries_by_finding
from medres.reports.drawing import BLUE, QUIET, VERMILLION, Drawing, styled, unit_axes
from medres.reports.figure_kinds import format_estimate
from medres.reports.figures import DASHED, curve_points, draw_band, thin_curve

LINES: tuple[tuple[str, Any], ...] = (
    (BLUE, "solid"),
    (VERMILLION, (0, (5, 2))),
    ("#00795a", (0, (1, 1.2))),
    ("#93467a", (0, (6, 1.5, 1, 1.5))),
    ("#6b5900", (0, (3, 1, 1, 1, 1, 1))),
)
"""Colour and dashes of each curve, this evaluation's first: either alone tells them apart.

Okabe & Ito's hues, darkened to 4.5 : 1 against white.
"""
MOST = len(LINES)
ROC = ("roc", "false_positive_rate", "sensitivity")
LONGEST_NAME = 20
"""Of a data set, in the legend; the description has it whole."""


def plot_roc_overlays(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Drawing]]:
    """Yield each finding that has a curve elsewhere, with its drawing.

    Args:
        evaluation: as in `evaluation.json`, with what `medres.reports.beside` has read.
    """
    for finding, entries in entries_by_finding(evaluation):
        drawn = [(name, entry) for name, entry in entries if curve_points(entry, *ROC)]
        if len(drawn) > 1 and drawn[0][0] == HERE:
            yield finding, _draw(finding, drawn)


def _draw(finding: str, entries: list[tuple[str, Mapping[str, Any]]]) -> Drawing:
    words = [f"{name}: AUROC {format_estimate(entry.get('auroc'))}." for name, entry in entries]
    with styled():
        height = 3.1 + 0.17 * min(len(entries), MOST)  # a line of the legend each
        figure, axes = unit_axes("1 − specificity", "Sensitivity", height=height)
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=DASHED)
        draw_band(axes, entries[0][1], "roc")
        for (name, entry), (color, dashes) in zip(entries, LINES, strict=False):
            points = curve_points(entry, *ROC)
            assert points is not None  # only such entries are drawn
            label = f"{_short(name)}: {format_estimate(entry.get('auroc'))}"
            axes.plot(*thin_curve(*points), color=color, linestyle=dashes, label=label)
        legend = axes.legend(
            title="AUROC (interval)",
            title_fontsize=8.5,
            fontsize=8.5,
            frameon=False,
            alignment="left",
            handlelength=3.2,
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.17),
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        left_out = entries[MOST:]
        more = f" Not drawn: {', '.join(name for name, _ in left_out)}." if left_out else ""
        description = "ROC curves on several data sets. " + " ".join(words) + more
        return Drawing(figure, f"ROC curves beside each other, {finding}", description)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
