"""Write a model as programs that run where medres is not installed.

    medres export runs/mine/model --out exported
    medres export runs/mine/model --out exported --data runs/mine/manifest.csv --int8
    medres export runs/mine/model --out exported --formats openvino

Normalisation and temperature are inside: an image that is fitted to the network's size goes in,
calibrated probabilities come out (`README.md` and `contract.json` beside the files say exactly
which). Each file is run before it is accepted: with --data on real images of the manifest's test
split, else on drawn ones. A probability may differ from the model's by 1e-4 in float32, .01 in
bfloat16, .02 in 8 bits, an AUROC by .002; a file past that is not kept, and the exit status is 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.bundle.directory import Model
    from medres.export.folder import RealImages

PROGRAM = "medres export"


@dataclass(frozen=True)
class ExportConfig:
    """Which model, where to, and as what.

    Attributes:
        model: a model directory, as training leaves it.
        out: a new folder.
        formats: some of torch-export, onnx, openvino.
        data: the manifest of the training run; its validation images calibrate 8 bits, its test
            images (where it has none: validation) are what files are compared on.
        bf16: a torch.export program in bfloat16 too.
        int8: files in 8 bits too.
        images: at most so many images to compare on.
    """

    model: Path
    out: Path
    formats: tuple[str, ...] = ("onnx", "torch-export")
    data: Path | None = None
    bf16: bool = False
    int8: bool = False
    images: int = 500


def run(config: ExportConfig) -> dict[str, Any]:
    """Write, run and compare; returns what stands in `contract.json`."""
    from medres.bundle.directory import load_model
    from medres.export.folder import export_model
    from medres.export.formats import asked_artifacts
    from pipelines.progress import follow

    artifacts = asked_artifacts(config.formats, bf16=config.bf16, int8=config.int8)
    model = load_model(config.model)
    images = None if config.data is None else read_images(config, config.data, model)
    return export_model(
        model, config.out, artifacts, images, follow=lambda batches: follow(batches, "comparing")
    )


def read_images(config: ExportConfig, data: Path, model: Model) -> RealImages:
    """The manifest's images to calibrate and to compare on."""
    from medres.data.decoders import check_decoders
    from medres.data.manifest import check_files, read_manifest
    from medres.export.folder import select_images

    manifest = read_manifest(data, schema=model.record.labels)
    check_files(manifest)
    check_decoders(manifest)
    return select_images(manifest, config.images)


def describe(config: ExportConfig) -> None:
    """Export, and say what came out."""
    for file in run(config)["files"]:
        for way in file["runs"]:
            changes = [abs(a["model"] - a["file"]) for a in way["auroc"].values()]
            area = f", AUROC changes by {max(changes):.5f}" if changes else ""
            print(
                f"{file['file']:<18} {file['bytes'] / 1e6:6.1f} MB  {way['precision']}: differs by "
                f"{way['largest_difference']:.1e} on {way['images']} {way['images_from']} "
                f"images{area}"
            )
    print(f"exported {config.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model directory")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument(
        "--formats",
        type=lambda text: tuple(text.split(",")),
        default=ExportConfig.formats,
        metavar="A,B",
        help="some of torch-export, onnx, openvino; default: onnx,torch-export",
    )
    parser.add_argument(
        "--data", type=Path, metavar="MANIFEST", help="of the training run: images to compare on"
    )
    parser.add_argument("--bf16", action="store_true", help="torch-export in bfloat16 too")
    parser.add_argument("--int8", action="store_true", help="onnx and openvino in 8 bits too")
    parser.add_argument(
        "--images", type=int, default=500, metavar="N", help="compare on at most so many"
    )
    config = ExportConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: describe(config))


if __name__ == "__main__":
    sys.exit(main())
