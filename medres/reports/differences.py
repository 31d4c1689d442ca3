"""Differences of two models as a picture: how far from nothing, and how surely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medres.reports.drawing import BLUE, INK, Drawing, new_axes, styled
from medres.reports.figure_kinds import FIGURE_KINDS
from medres.reports.forest import legible

LOWER_IS_BETTER = ("brier_score",)


def plot_differences(evaluation: Mapping[str, Any]) -> Drawing | None:
    """First model less second, a row a finding and figure; None where none were compared.

    Where less is better, the difference is drawn with its sign turned, so that right of the line
    is always better for the first; the table has it as it is.

    Args:
        evaluation: as in `evaluation.json`.
    """
    section = evaluation.get("comparison") or {}
    rows = [
        (finding, key, result["difference"])
        for finding, figures in (section.get("findings") or {}).items()
        for key, result in figures.items()
        if "difference" in result
    ]
    if not rows:
        return None
    names = {kind.key: kind.name for kind in FIGURE_KINDS}
    several = len({finding for finding, _, _ in rows}) > 1
    with styled():
        figure, axes = new_axes(
            "Difference, first less second", "", width=7.2, height=0.7 + 0.27 * len(rows)
        )
        axes.axvline(0, color=INK, linewidth=1)
        labels = []
        for place, (finding, key, difference) in enumerate(rows):
            sign = -1 if key in LOWER_IS_BETTER else 1
            ends = [sign * difference["low"], sign * difference["high"]]
            axes.plot(ends, [place, place], color=BLUE, linewidth=1.4)
            axes.plot([sign * difference["value"]], [place], "s", color=BLUE, markersize=4.2)
            turned = ", sign turned" if sign < 0 else ""
            of = f"{legible(finding, f'finding {place}')}: " if several else ""
            labels.append(f"{of}{names[key]}{turned}")
        reach = 1.15 * max(abs(axes.get_xlim()[0]), abs(axes.get_xlim()[1]), 0.01)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), labels)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        for x, words in ((0.0, "second is better"), (1.0, "first is better")):
            side = "left" if x == 0 else "right"
            axes.text(x, 1.01, words, ha=side, va="bottom", fontsize=8, color=INK,
                      transform=axes.transAxes)  # fmt: skip
    described = [
        f"{finding}, {names[key]}: {d['value']:.3f} ({d['low']:.3f} to {d['high']:.3f})."
        for finding, key, d in rows
    ]
    return Drawing(figure, "Differences of two models", " ".join(described))
