"""Does a Grad-CAM map lie on the finding? On synthetic radiographs, whose opacities are known.

    medres demo
    python -m benchmarks.grad_cam runs/demo/model runs/demo/manifest.csv

For each test image with an opacity: the AUROC of the map as a score of its pixels, those of the
opacity's mask being positive (.5 is chance), and whether the map's largest pixel lies in the mask
widened by half a cell. The same cells stretched over the image, as is usual, and the same network
with random weights from layer4 on, stand beside it.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import nn
from torch.nn import functional

from benchmarks.results import seen_on, show_section
from medres.bundle.directory import Model, load_model
from medres.data.manifest import Manifest, ManifestRow, read_manifest
from medres.imaging.read import read_grayscale
from medres.metrics.ranking import auroc_tensor
from medres.models.grad_cam import STRIDE, grad_cam
from medres.phantom.sample import read_recipe
from medres.phantom.study import plan_studies, render_study
from medres.transforms.chains import build_evaluation_chain
from medres.transforms.geometry import unfit_square

PLACE = re.compile(r"p(\d+)/s(\d+)/i(\d+)\.dcm$")
PACKAGES = ("medres", "torch")
WAYS = ("where the cells look", "stretched over the image", "random weights from layer4 on")


def masks(manifest: Manifest, rows: Sequence[ManifestRow]) -> Iterator[NDArray[np.bool_]]:
    """The opacity's mask (H, W) of each image, drawn anew from the recipe of the sample data."""
    first = Path(manifest.address(rows[0]))
    recipe = read_recipe(first.parents[3])
    assert recipe is not None, f"{first.parents[3]} is no sample data set"
    plans = {
        (plan.patient, plan.study): plan for plan in plan_studies(recipe.patients, seed=recipe.seed)
    }
    for row in rows:
        found = PLACE.search(row.image)
        assert found is not None, row.image
        patient, study, number = (int(text) - 1 for text in found.groups())
        pictures = render_study(plans[patient, study], seed=recipe.seed)
        yield pictures[number].opacity_mask


def with_random_end(model: Model) -> Model:
    """The same model with new random weights in layer4 and the head."""
    network = copy.deepcopy(model.network)
    torch.manual_seed(0)
    for top in ("backbone.layer4", "backbone.fc"):
        for module in network.get_submodule(top).modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
    return dataclasses.replace(model, network=network)


def draw_maps(model: Model, square: torch.Tensor) -> list[torch.Tensor]:
    """Maps (1, S, S) of one image (1, 1, S, S), in the order of `WAYS`."""
    placed = grad_cam(model.network, square, 0)[0]
    cells = placed[None, :, ::STRIDE, ::STRIDE]
    stretched = functional.interpolate(cells, square.shape[2:], mode="bilinear")[0]
    return [placed, stretched, grad_cam(with_random_end(model).network, square, 0)[0]]


def judge(
    heat: NDArray[np.float32], mask: NDArray[np.bool_], widened: NDArray[np.bool_]
) -> tuple[float, bool]:
    """The AUROC of a map's pixels, and whether its largest lies in the widened mask."""
    area = auroc_tensor(mask.ravel().astype(float), heat.ravel()).value
    return float(area), bool(widened.ravel()[heat.argmax()])


def report(found: NDArray[np.float64], chance: float, images: int) -> str:
    """A section of RESULTS.md; found is (images, ways, 2)."""
    areas, hits = found[..., 0], found[..., 1].mean(axis=0)
    rows = [
        f"| {way} | {np.median(areas[:, k]):.3f} | "
        f"{np.quantile(areas[:, k], 0.25):.3f} to {np.quantile(areas[:, k], 0.75):.3f} | "
        f"{hits[k]:.0%} |"
        for k, way in enumerate(WAYS)
    ]
    return "\n".join(
        [
            "## Grad-CAM on synthetic opacities",
            "",
            "    python -m benchmarks.grad_cam runs/demo/model runs/demo/manifest.csv \\",
            "        --out benchmarks/RESULTS.md",
            "",
            f"{images} test images with an opacity; a place drawn at random lies in the widened",
            f"mask in {chance:.0%}.",
            "",
            "| map | AUROC of its pixels, median | quartiles | largest pixel on the opacity |",
            "|---|--:|--:|--:|",
            *rows,
            "",
            seen_on(PACKAGES, threads=torch.get_num_threads()),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grad_cam", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=Path, help="trained by `medres demo`")
    parser.add_argument("manifest", type=Path, help="of the same run")
    parser.add_argument("--out", type=Path, help="put the table into this file too")
    parser.add_argument("--images", type=int, default=60, help="at most so many (default 60)")
    arguments = parser.parse_args(argv)
    model = load_model(arguments.model)
    preprocessing = model.record.preprocessing
    manifest = read_manifest(arguments.manifest, schema=model.record.labels)
    rows = [row for row in manifest.split("test") if row.labels[0] == 1][: arguments.images]
    chain = build_evaluation_chain(preprocessing)
    found, chances = [], []
    for row, mask in zip(rows, masks(manifest, rows), strict=True):
        address = manifest.address(row)
        shape = read_grayscale(address, row.frame).pixels.shape
        assert mask.shape == shape, f"{row.image}: {mask.shape} is not {shape}"
        half = round(STRIDE / 2 * max(shape) / preprocessing.size)
        small = slice(None, None, 4)
        widened = binary_dilation(mask[small, small], iterations=max(1, half // 4))
        chances.append(widened.mean())
        square = chain({"image": address, "frame": row.frame})["image"][None]
        maps = [
            unfit_square(heat, (shape[0], shape[1]), preprocessing.geometry)[0].numpy()
            for heat in draw_maps(model, square)
        ]
        own = [judge(heat[small, small], mask[small, small], widened) for heat in maps]
        found.append(own)
    text = report(np.array(found, dtype=np.float64), float(np.mean(chances)), len(rows))
    show_section(text, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
