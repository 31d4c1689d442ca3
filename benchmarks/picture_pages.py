"""How the figures of `pictures` are drawn; nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from medres.models.stages import STAGES
from medres.reports.drawing import BLUE, INK, QUIET, STYLE, VERMILLION
from medres.reports.range_picture import save_range_picture
from medres.reports.schedule_picture import draw_schedule, legend_handles
from medres.training.course import COURSES
from medres.training.presets import PRESETS, build_schedule
from medres.training.range_test import RangeTest

GREEN, ORANGE = "#009e73", "#e69f00"
GROUPS = {
    "R1: duplicate, port sum and mean, adapter ones and third": (
        ("duplicate equal", "port sum", "port mean", "adapter ones", "adapter third"),
        (BLUE, "o", "-"),
    ),
    "R0: port and adapter imagenet": (
        ("port imagenet", "adapter imagenet"),
        (GREEN, "^", "--"),
    ),
    "R2: port luma": (("port luma",), (ORANGE, "D", "-.")),
    "none: bare mean, bare third": (
        ("port bare_mean", "adapter bare_third"),
        (VERMILLION, "s", "-"),
    ),
}


def draw_all(figures: dict[str, Any], out: Path) -> None:
    """Draw every picture of the page into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    settings: Any = STYLE
    with rc_context(settings):
        _save(_draw_presets(), out / "presets.png")
        _save(_draw_courses(), out / "courses.png")
        _save(_draw_step0(figures), out / "step0.png")
        _save(_draw_maps(figures["maps"]), out / "maps.png")
        _save(_draw_recipe(figures), out / "recipe.png")
    values = {k: v for k, v in figures["range"].items() if k != "suggestion"}
    save_range_picture(RangeTest(**values), out / "range.png")


def _save(figure: Figure, path: Path) -> None:
    """As PNG with a palette: a third of the size, and the drawings have few colours."""
    stream = BytesIO()
    figure.savefig(stream, dpi=100, format="png", metadata={"Software": None})
    with Image.open(stream) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


def _draw_presets() -> Figure:
    figure = Figure(figsize=(9.6, 9.6), layout="constrained")
    for axes, preset in zip(figure.subplots(4, 2).flat, PRESETS, strict=True):
        schedule = build_schedule(preset, epochs=20, steps_per_epoch=50, stem="adapter")
        draw_schedule(axes, schedule)
        axes.set_title(preset, loc="left", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_visible(axes in figure.axes[-2:])
    figure.legend(
        handles=legend_handles(), loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    return figure


def _draw_courses() -> Figure:
    figure = Figure(figsize=(8.4, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    styles = ((BLUE, "-"), (GREEN, "--"), (VERMILLION, "-"), (INK, ":"))
    for course, (color, style) in zip(COURSES, styles, strict=True):
        schedule = build_schedule("full", epochs=20, steps_per_epoch=50, course=course)
        factors = [schedule.factor(step) for step in range(1000)]
        left.plot(np.arange(1000) / 50, factors, color=color, ls=style, label=course)
    left.legend(frameon=False, fontsize=8)
    left.set_title("share of every stage's rate", loc="left", fontsize=10)
    cycled = build_schedule(
        "full", epochs=20, steps_per_epoch=50, course="one_cycle", cycle_momentum=True
    )
    right.plot(
        np.arange(1000) / 50, [cycled.momentum(s) or 0 for s in range(1000)], color=VERMILLION
    )
    right.set_title("momentum, where it cycles", loc="left", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(visible=True)
    return figure


def _draw_step0(figures: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(8.8, 3.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("batch-norm in evaluation mode", "batch-norm in train mode: hidden")
    for axes, key, title in zip(panels, ("step0_eval", "step0_train"), titles, strict=True):
        for label, (stems, (color, marker, style)) in GROUPS.items():
            for stem in stems:
                spread = figures[key][stem]
                axes.plot(
                    [*spread],
                    [*spread.values()],
                    color=color,
                    marker=marker,
                    ls=style,
                    ms=5,
                    label=label if stem == stems[0] else None,
                )
        axes.axhline(1 / 3, color=QUIET, lw=0.8, ls=(0, (2, 2)))
        axes.set_yscale("log")
        axes.set_yticks([0.2, 1 / 3, 0.5, 1, 2], ["0.2", "1/3", "0.5", "1", "2"])
        axes.minorticks_off()
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(visible=True)
    panels[0].set_ylabel("standard deviation of the output,\nrelative to duplicate")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=8.5,
    )
    return figure


def _draw_maps(maps: dict[str, Any]) -> Figure:
    """The radiograph, and the channel of most contrast under each stem, on one gray scale."""
    figure = Figure(figsize=(9.6, 2.5), layout="constrained")
    image, *stems = maps
    reference = np.asarray(maps[stems[0]])
    channel = int(reference.std(axis=(1, 2)).argmax())
    top = reference[channel].max()
    for axes, name in zip(figure.subplots(1, len(maps)), (image, *stems), strict=True):
        values = np.asarray(maps[name])
        if name == image:
            axes.imshow(values, cmap="gray")
            axes.set_title("scanner B", fontsize=9)
        else:
            axes.imshow(values[channel], cmap="cividis", vmin=0, vmax=top)
            spread = values[channel].std() / reference[channel].std()
            axes.set_title(f"{name}\nspread {spread:.2f}", fontsize=9)
        axes.set_axis_off()
    return figure


def _draw_recipe(figures: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9.6, 6.6), layout="constrained")
    grid = figure.subplots(2, 2, height_ratios=(3, 2))
    pairs = (("as_written", "the recipe as written"), ("medres", "the same schedule in medres"))
    for axes, (key, title) in zip(grid[0], pairs, strict=True):
        _draw_moves(axes, figures[key], title)
    frozen = 3
    for axes, measure, title in (
        (grid[1][0], "drift", "batch-norm means drift (layer4, in standard deviations)"),
        (grid[1][1], "loss", "validation loss"),
    ):
        for (key, name), color, style in zip(pairs, (VERMILLION, BLUE), ("--", "-"), strict=True):
            course = figures[key]
            values = course["drifted"]["layer4"] if measure == "drift" else course["loss"]
            axes.plot(
                range(len(values)), values, color=color, ls=style, marker="o", ms=4, label=name
            )
        axes.axvline(frozen, color=QUIET, lw=0.8, ls=(0, (2, 2)))
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("epochs trained; the trunk opens after 3")
        if measure == "drift":
            axes.set_ylim(bottom=0)
        axes.grid(visible=True)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_moves(axes: Any, course: dict[str, Any], title: str) -> None:
    moved = np.array([course["moved"][stage] for stage in STAGES])[:, 1:] * 100
    shown = np.log10(np.maximum(moved, 1e-2))
    axes.imshow(shown, cmap="Blues", vmin=-2, vmax=2.2, aspect="auto", origin="lower")
    for row, values in enumerate(moved):
        for column, value in enumerate(values):
            text = "0" if value == 0 else f"{value:.2g}" if value < 100 else f"{value:.0f}"
            color = VERMILLION if value == 0 else "white" if value > 5 else INK
            weight = "bold" if value == 0 else "normal"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8, color=color, weight=weight
            )
    axes.axvline(2.5, color=INK, lw=1)
    axes.set_yticks(range(len(STAGES)), _labels(STAGES))
    axes.set_xticks(range(moved.shape[1]), [str(epoch + 1) for epoch in range(moved.shape[1])])
    axes.set_xlabel("after epoch")
    axes.set_title(f"{title}: weights moved, %", loc="left", fontsize=10)
    axes.tick_params(length=0)


def _labels(stages: Sequence[str]) -> list[str]:
    return ["conv1, bn1" if stage == "conv1" else stage for stage in stages]
