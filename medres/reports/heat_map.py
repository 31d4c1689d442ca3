"""A heat map beside its image, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medres.reports.drawing import INK, QUIET, Drawing, new_figure, styled
from medres.scoring.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = "viridis"
"""From dark blue to yellow with steadily rising lightness: ordered with every colour blindness and
in print without colour."""
STRONGEST = 0.65
"""How much of the image the strongest colour covers."""
WIDTH = 9.6


def draw_heat_map(explanation: Explanation) -> Drawing:
    """The image, and beside it the same under its map, in its own geometry.

    Pixels that are not square are drawn as long and wide as they are. Colour and cover grow with
    the map, whose half is drawn as a line. What crop has cut off lies outside a dashed frame.

    Args:
        explanation: of one image.
    """
    rows, columns = explanation.pixels.shape
    ratio = min(max(rows * explanation.pixel_aspect / columns, 0.3), 2.0)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    with styled():
        figure = new_figure(WIDTH, 0.44 * WIDTH * ratio + 1.2)
        plain, covered = figure.subplots(1, 2)
        for axes in (plain, covered):
            _show(axes, explanation)
        _cover(covered, explanation)
        plain.set_title("image", loc="left", fontsize=9, color=INK)
        covered.set_title("what speaks for the finding", loc="left", fontsize=9, color=INK)
        scale = ScalarMappable(Normalize(0, 1), COLORS)
        bar = figure.colorbar(scale, ax=covered, shrink=0.8, pad=0.02)
        bar.set_label("Grad-CAM, share of the image's largest")
        words = _describe(explanation)
        figure.suptitle(words, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
        figure.supxlabel(
            "For research only; not a medical device. A map shows what the network looked at, "
            "not where a lesion is.",
            fontsize=8,
            color=QUIET,
            x=0.01,
            ha="left",
        )
        return Drawing(figure, f"Grad-CAM, {explanation.finding}", f"{words} {_place(explanation)}")


def _show(axes: Axes, explanation: Explanation) -> None:
    axes.imshow(explanation.pixels, cmap="gray", vmin=0, vmax=1, aspect=explanation.pixel_aspect)
    axes.set_axis_off()
    if not explanation.seen.all():
        axes.contour(explanation.seen, levels=[0.5], colors="white", linestyles="dashed")


def _cover(axes: Axes, explanation: Explanation) -> None:
    heat = explanation.heat
    axes.imshow(
        heat,
        cmap=COLORS,
        vmin=0,
        vmax=1,
        alpha=STRONGEST * np.sqrt(heat),
        aspect=explanation.pixel_aspect,
        interpolation="nearest",
    )
    if heat.max() > 0.5:
        axes.contour(heat, levels=[0.5], colors="white", linewidths=1.0)
    else:
        axes.text(
            *(0.5, 0.04, "nothing in this image speaks for the finding"),
            transform=axes.transAxes,
            ha="center",
            color="white",
            fontsize=9,
        )


def _describe(explanation: Explanation) -> str:
    words = f"{explanation.finding}: probability {explanation.probability:.3f}"
    if band := explanation.band:
        ends = f"{band.lower.value:.3f} to {band.upper.value:.3f}"
        return f"{words}, {band.decision(explanation.probability)} with the band from {ends}."
    if explanation.threshold is None:
        return f"{words}."
    called = "positive" if explanation.probability >= explanation.threshold else "negative"
    return f"{words}, {called} at the threshold {explanation.threshold:.3f}."


def _place(explanation: Explanation) -> str:
    """Where the map is largest, for those who do not see it."""
    heat = explanation.heat
    if heat.max() <= 0:
        return "Nothing in the image speaks for the finding."
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    down, across = row / heat.shape[0], column / heat.shape[1]
    return f"The map is largest {down:.0%} from the top and {across:.0%} from the left."
