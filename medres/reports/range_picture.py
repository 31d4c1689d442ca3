"""A learning-rate range test as a picture: loss over the rate, and what is read off it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medres.reports.drawing import BLUE, INK, QUIET, STYLE, VERMILLION
from medres.training.range_test import RangeTest


def save_range_picture(found: RangeTest, path: Path) -> None:
    """Write the picture as PNG: each batch's loss, the smoothed loss, the two readings."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = STYLE
    with rc_context(settings):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.semilogx(
            found.learning_rates, found.losses, ".", color=QUIET, ms=4, label="loss of a batch"
        )
        axes.semilogx(found.learning_rates, found.smoothed, color=BLUE, label="smoothed")
        readings = (("steepest descent", found.steepest, "o"), ("valley", found.valley, "s"))
        for name, rate, marker in readings:
            if rate is not None:
                loss = found.smoothed[found.learning_rates.index(rate)]
                label = f"{name}: {rate:.1e}"
                axes.plot([rate], [loss], marker, color=VERMILLION, ms=8, mec="white", label=label)
        if found.suggestion is None:
            axes.text(0.02, 0.05, "the loss never falls", transform=axes.transAxes, color=INK)
        low, first = min(found.smoothed), found.smoothed[0]
        descent = max(first - low, 0.1 * first)  # what lies far above it is beyond reading
        axes.set_ylim(low - descent, first + 3 * descent)
        axes.set_xlabel("learning rate (of stages with share 1)")
        axes.set_ylabel("loss")
        axes.grid(visible=True)
        axes.legend(frameon=False, loc="upper left", fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Software": None})
