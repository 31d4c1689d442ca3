"""See where in one image a model sees a finding, and the network that sees it.

    medres explain runs/mine/model study/a.dcm --out explained
    medres explain runs/mine/model ct.nii.gz --frame 40 --finding nodule --out explained

Leaves `explanation.png` (the image, and beside it the same under its Grad-CAM map, in the image's
own geometry), `network.txt` (every layer with its output and parameters) and `network.svg` (the
stages as a graph, with what was frozen in training). Nothing that is written names a patient;
whether names are burned into the picture, medres cannot know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.bundle.directory import Model
    from medres.scoring.explanation import Explanation

PROGRAM = "medres explain"
DOTS_PER_INCH = 150


@dataclass(frozen=True)
class ExplainConfig:
    """Which model and image.

    Attributes:
        model: a model directory, as training leaves it.
        image: a path, or a path and a member of the file: `x.npz::test_images`.
        out: folder of the pictures.
        finding: one of the model's; None takes the most probable.
        frame: index of a frame, slice, page or array item.
    """

    model: Path
    image: str
    out: Path
    finding: str | None = None
    frame: int = 0


def run(config: ExplainConfig) -> Explanation:
    """Explain, and write the pictures."""
    from medres.bundle.directory import load_model
    from medres.files import written_whole
    from medres.reports.heat_map import draw_heat_map
    from medres.scoring.explanation import explain_image

    model = load_model(config.model)
    explanation = explain_image(model, config.image, frame=config.frame, finding=config.finding)
    figure = draw_heat_map(explanation).figure
    with written_whole(config.out / "explanation.png") as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    write_network(config.out, model)
    return explanation


def write_network(out: Path, model: Model) -> None:
    """Write the network as a table and as a graph."""
    from medres.files import write_text
    from medres.models.layers import list_layers
    from medres.reports.drawing import as_vector
    from medres.reports.network_picture import draw_network, format_layers

    record = model.record
    size, trained = record.preprocessing.size, record.training.get("stages") or {}
    layers = list_layers(model.network, size)
    networks = record.members or (record.network,)
    title = f"{' + '.join(f'ResNet-{n.depth}, stem {n.stem}' for n in networks)}, input 1 × {size}"
    title += f" × {size}"
    write_text(out / "network.txt", format_layers(layers, trained, title))
    svg = as_vector(draw_network(layers, trained, size, title), "svg")
    write_text(out / "network.svg", svg.decode())


def describe(config: ExplainConfig) -> None:
    """Explain, and say what came out."""
    found = run(config)
    threshold = "" if found.threshold is None else f" (threshold {found.threshold:.3f})"
    if band := found.band:
        threshold += f", {band.decision(found.probability)} with the model's band"
    print(
        f"{found.finding}: probability {found.probability:.3f}{threshold}\n"
        f"picture  {config.out / 'explanation.png'}\n"
        f"network  {config.out / 'network.txt'}, {config.out / 'network.svg'}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model directory")
    parser.add_argument("image", metavar="IMAGE", help="a path, or path::member")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of the pictures")
    parser.add_argument("--finding", metavar="NAME", help="of the model; default: most probable")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="from 0")
    config = ExplainConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: describe(config))


if __name__ == "__main__":
    sys.exit(main())
