"""A network as a table of its layers and as a graph of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medres.models.layers import Layer
from medres.reports.drawing import BLUE, INK, QUIET, Drawing, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINED = {
    "all": "trained",
    "batch_norm": "batch-norm alone trained",
    "none": "frozen",
}
"""Of `Schedule.trained`, in words."""
UNKNOWN = "not recorded"
SHOWN = {"adapter": "stem"}
"""What a stage is called here: only one of three stems is an adapter."""
FACES = {"trained": "#d3e8f5", "batch-norm alone trained": "#eef6fb", "frozen": "#e3e7eb"}
STEP, WIDTH, HEIGHT, ROW = 1.5, 1.22, 1.1, 1.4
"""Of the boxes, in inches."""


@dataclass(frozen=True)
class StageSummary:
    """The layers of one stage together.

    Attributes:
        stage: its name; `image` for the input.
        blocks: residual blocks; 0 where it has none.
        output: of its last layer, (C, H, W) or (F,).
        parameters: of all its layers.
        trained: in words.
    """

    stage: str
    blocks: int
    output: tuple[int, ...]
    parameters: int
    trained: str


def summarise_stages(
    layers: Sequence[Layer], trained: Mapping[str, str], member: int = 0
) -> tuple[StageSummary, ...]:
    """The stages of one network, in order.

    Args:
        layers: of `list_layers`.
        trained: of each stage what of it trained, as a model's record says; empty where it doesn't.
        member: of an ensemble.
    """
    stages: dict[str, list[Layer]] = {}
    for layer in layers:
        if layer.member == member:
            stages.setdefault(layer.stage, []).append(layer)
    return tuple(_summarise(stage, own, trained) for stage, own in stages.items())


def _summarise(stage: str, own: Sequence[Layer], trained: Mapping[str, str]) -> StageSummary:
    prefix = f"backbone.{stage}."
    inside = [layer.name.removeprefix(prefix) for layer in own if layer.name.startswith(prefix)]
    blocks = len({name.partition(".")[0] for name in inside if name[0].isdigit()})
    parameters = sum(layer.parameters for layer in own)
    words = TRAINED.get(trained.get(stage, ""), UNKNOWN) if parameters else "nothing to train"
    return StageSummary(SHOWN.get(stage, stage), blocks, own[-1].output, parameters, words)


def format_layers(layers: Sequence[Layer], trained: Mapping[str, str], title: str) -> str:
    """The table: every layer with its output and parameters, and what of its stage trained.

    Args:
        layers: of `list_layers`.
        trained: as in `summarise_stages`.
        title: first line.
    """
    members = max(layer.member for layer in layers) + 1
    total = sum(layer.parameters for layer in layers)
    lines = [title, f"{total:,} parameters in {len(layers)} layers"]
    for member in range(members):
        own = [layer for layer in layers if layer.member == member]
        lines += ["", f"Member {member + 1} of {members}"] if members > 1 else [""]
        lines += _table(own)
        lines += ["", "stage     output               parameters  in training"]
        lines += [
            f"{s.stage:<8}  {_shape(s.output):<18}  {s.parameters:>11,}  {s.trained}"
            for s in summarise_stages(layers, trained, member)
        ]
    return "\n".join(lines) + "\n"


def _table(layers: Sequence[Layer]) -> list[str]:
    width = max(len(layer.name) for layer in layers)
    head = f"{'stage':<8}  {'layer':<{width}}  {'kind':<18}  {'output':<18}  {'parameters':>11}"
    rows = [
        f"{SHOWN.get(layer.stage, layer.stage):<8}  {layer.name:<{width}}  {layer.kind:<18}  "
        f"{_shape(layer.output):<18}  {layer.parameters:>11,}"
        + (f"  runs {layer.runs} times" if layer.runs > 1 else "")
        for layer in layers
    ]
    return [head, *rows]


def _shape(output: tuple[int, ...]) -> str:
    return " × ".join(map(str, output))


def draw_network(
    layers: Sequence[Layer], trained: Mapping[str, str], size: int, title: str
) -> Drawing:
    """The graph: a box a stage, from the image to the logits, a row a member.

    Args:
        layers: of `list_layers`.
        trained: as in `summarise_stages`.
        size: side of the input, in pixels.
        title: of the drawing.
    """
    image = StageSummary("image", 0, (1, size, size), 0, "")
    members = max(layer.member for layer in layers) + 1
    rows = [(image, *summarise_stages(layers, trained, member)) for member in range(members)]
    columns = max(map(len, rows))
    with styled():
        figure = new_figure(STEP * columns + 0.2, ROW * members + 0.6)
        axes = figure.add_subplot()
        for row, stages in enumerate(rows):
            for column, stage in enumerate(stages):
                _draw_box(axes, column * STEP, -row * ROW, stage, first=column == 0)
        axes.set_xlim(-0.1, STEP * columns)
        axes.set_ylim(-ROW * (members - 1) - 0.1, HEIGHT + 0.1)
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    words = "; ".join(
        f"{s.stage} gives {_shape(s.output)}, {s.parameters:,} parameters, {s.trained}"
        for s in rows[0][1:]
    )
    return Drawing(figure, title, words)


def _draw_box(axes: Axes, left: float, bottom: float, stage: StageSummary, *, first: bool) -> None:
    from matplotlib.patches import FancyArrowPatch, Rectangle

    frozen = stage.trained == "frozen"
    axes.add_patch(
        Rectangle(
            (left, bottom),
            WIDTH,
            HEIGHT,
            facecolor=FACES.get(stage.trained, "white"),
            edgecolor=BLUE if stage.parameters and not frozen else QUIET,
            linestyle="dashed" if frozen else "solid",
        )
    )
    if not first:
        ends = ((left - STEP + WIDTH, bottom + HEIGHT / 2), (left, bottom + HEIGHT / 2))
        axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", color=QUIET, mutation_scale=8))
    weights = f"{stage.parameters:,} par." if stage.parameters else ""
    note = stage.trained.replace("batch-norm alone trained", "batch-norm trained")
    blocks = f"{stage.blocks} blocks" if stage.blocks else ""
    texts = [stage.stage, blocks, _shape(stage.output), weights, note]
    for line, text in enumerate(filter(None, texts)):
        place = 0.87 - 0.185 * line
        axes.text(
            left + WIDTH / 2,
            bottom + place * HEIGHT,
            text,
            ha="center",
            va="center",
            fontsize=9 if line == 0 else 7.5,
            weight="bold" if line == 0 else "normal",
        )
