"""How exactly does each stem start as the RGB network, and what do the usual shortcuts cost?

    python -m benchmarks.stems                          # prints both tables; about 5 minutes
    python -m benchmarks.stems --out benchmarks/RESULTS.md
    python -m benchmarks.stems --depths 18 --weights imagenet   # or a file for that depth

Without weights, the networks are made as if trained: random convolutions, batch-norm with affine
weights far from the identity and running statistics of images that pass through it, a head of
1,000. An identity holds for any weights; the size of what an inexact way in costs does not. Errors
are the largest difference of a logit, relative to the largest logit. Expect at most 1e-10 in
float64, and 5e-6 with z, the stem and conv1 in float32 and the rest of the network in float64.
Behind conv1 a deep network rounds on its own: whole in float32, torchvision's differs from itself
in float64 by as much as a stem from it, which the second table shows.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from benchmarks.results import seen_on, show_section
from medres.config import STEM_INITS, StemInit, StemName
from medres.models.fold import relative_error
from medres.models.resnet import DEPTHS, GrayscaleResNet
from medres.models.stem import IMAGENET_MEAN, IMAGENET_STD, LUMA, StemStart
from medres.models.weights import load_state, load_weights

SIDES = ((28, 28), (45, 38), (64, 64))
LARGE = (224, 224)  # for ResNet-18 alone
MEAN, STD = 0.41, 0.22  # of the data, in display units
GRAY_MEAN, GRAY_STD = 0.449, 0.226  # ImageNet's own, averaged over the colours
CLASSES = 1000
COMMAND = "python -m benchmarks.stems --out benchmarks/RESULTS.md"

Combination = tuple[StemName, StemInit]
COMBINATIONS: tuple[Combination, ...] = tuple(
    (stem, init) for stem, inits in STEM_INITS.items() for init in inits
)


def images(n: int, channels: int, side: tuple[int, int], seed: int) -> Tensor:
    """Images in [0, 1], smooth with some noise. (n, channels, H, W), float64."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 6, 6, generator=generator)
    noise = torch.rand(n, channels, *side, generator=generator)
    smooth = nn.functional.interpolate(coarse, side, mode="bicubic").clamp(0, 1)
    return (0.9 * smooth + 0.1 * noise).double()


def imagenet_normalised(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] with ImageNet's mean and standard deviation of each colour."""
    mean, std = (image.new_tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


def rgb_network(depth: int, weights: str) -> nn.Module:
    """A network of torchvision in float32, with weights or as if trained, in evaluation mode."""
    torch.manual_seed(depth)
    network: nn.Module = torchvision.models.get_model(f"resnet{depth}", num_classes=CLASSES)
    if weights != "none":
        gray = GrayscaleResNet(depth, "duplicate", CLASSES)  # whose backbone is torchvision's own
        load_weights(gray, weights)
        network.load_state_dict(gray.backbone.state_dict())
        return network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average over batches
        nn.init.uniform_(norm.weight, 0.25, 1.25)
        nn.init.uniform_(norm.bias, -0.6, 0.4)
    with torch.no_grad():
        for block in network.modules():
            if isinstance(block, BasicBlock | Bottleneck):
                # Trained residual branches are small; else a deep network amplifies rounding.
                getattr(block, "bn3", block.bn2).weight.mul_(0.2)
        for seed in (2 * depth, 2 * depth + 1):
            network.train()(imagenet_normalised(images(8, 3, (64, 64), seed)).float())
    return network.eval()


def gray_network(
    rgb: nn.Module, depth: int, combination: Combination, mean: float = MEAN, std: float = STD
) -> GrayscaleResNet:
    """The RGB network's weights behind a stem, in their precision."""
    stem, init = combination
    known = {"display_mean": mean, "display_std": std} if init == "imagenet" else {}
    with torch.device("meta"), warnings.catch_warnings():
        network = GrayscaleResNet(depth, stem, CLASSES, stem_init=init, **known)  # type: ignore[arg-type]
    state = rgb.state_dict()
    network = network.to_empty(device="cpu").to(state["fc.weight"].dtype).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the stems that shrink, which are shown here
        load_state(network, state)
    return network


def references(gray: Tensor, mean: float = MEAN, std: float = STD) -> dict[str, Tensor]:
    """What the RGB network is shown by each reference. (B, 1, H, W) in [0, 1] to (B, 3, H, W)."""
    equal = ((gray - mean) / std).repeat(1, 3, 1, 1)
    tint = 3 * gray.new_tensor(LUMA).view(3, 1, 1)
    return {
        "R0": imagenet_normalised(gray.repeat(1, 3, 1, 1)),
        "R1": equal,
        "R2": equal * tint,
    }


@torch.no_grad()
def measure_exactness(rgb: nn.Module, depth: int) -> dict[tuple[Combination, str], float]:
    """Largest error, over the sizes, of each combination that has a reference, by precision."""
    errors: dict[tuple[Combination, str], float] = {}
    grays = [images(2, 1, side, 1) for side in (*SIDES, *([LARGE] if depth == 18 else []))]
    for name, dtype in (("float64", torch.float64), ("float32", torch.float32)):
        network = rgb.to(dtype)
        expected = [logits_by_reference(network, gray.to(dtype)) for gray in grays]
        for combination in COMBINATIONS:
            stem = gray_network(network, depth, combination)
            if (reference := stem.stem_start.reference) != "none":
                errors[combination, name] = max(
                    relative_error(stem((gray.to(dtype) - MEAN) / STD), logits[reference])
                    for gray, logits in zip(grays, expected, strict=True)
                )
    exact = [logits_by_reference(rgb.double(), gray) for gray in grays]
    rgb.float()
    for combination in {combination for combination, _ in errors}:
        stem = gray_network(rgb, depth, combination)
        errors[combination, "stem"] = max(
            relative_error(logits_behind_conv1(stem, gray), logits[stem.stem_start.reference])
            for gray, logits in zip(grays, exact, strict=True)
        )
    return errors


def logits_by_reference(rgb: nn.Module, gray: Tensor) -> dict[str, Tensor]:
    """What the RGB network makes of images (B, 1, H, W) in [0, 1] by each reference."""
    return {reference: rgb(shown) for reference, shown in references(gray).items()}


def logits_behind_conv1(network: GrayscaleResNet, gray: Tensor) -> Tensor:
    """Logits with z, the stem and conv1 in float32 and all behind it in float64."""
    z = (gray.float() - MEAN) / STD
    backbone = copy.deepcopy(network.backbone).double()
    backbone.conv1 = nn.Identity()
    logits: Tensor = backbone(network.backbone.get_submodule("conv1")(network.stem(z)).double())
    return logits


@torch.no_grad()
def measure_own_rounding(rgb: nn.Module) -> dict[str, float]:
    """Of the RGB network itself: float32 against float64, by reference."""
    errors: dict[str, list[float]] = {}
    for side in SIDES:
        gray = images(2, 1, side, 1)
        expected = logits_by_reference(rgb.double(), gray)
        for reference, found in logits_by_reference(rgb.float(), gray.float()).items():
            errors.setdefault(reference, []).append(
                relative_error(found.double(), expected[reference])
            )
    return {reference: max(found) for reference, found in errors.items()}


@torch.no_grad()
def measure_shortcuts(rgb: nn.Module, depth: int, side: tuple[int, int]) -> dict[str, float]:
    """What the ways in cost that are not the reference, in float64."""
    rgb = rgb.double().eval()
    gray = images(8, 1, side, 1)
    z, shown = (gray - MEAN) / STD, references(gray)
    logits = {name: rgb(image) for name, image in shown.items()}

    def error(combination: Combination, reference: str) -> float:
        return relative_error(gray_network(rgb, depth, combination)(z), logits[reference])

    average = gray_network(rgb, depth, ("port", "sum"))
    errors = {
        "port bare_mean, frozen batch-norm, against R1": error(("port", "bare_mean"), "R1"),
        "adapter bare_third, frozen batch-norm, against R1": error(("adapter", "bare_third"), "R1"),
        "port bare_luma, frozen batch-norm, against R1": error(("port", "bare_luma"), "R1"),
        "port luma, against R1": error(("port", "luma"), "R1"),
        "port sum, against R0": error(("port", "sum"), "R0"),
        "port sum on ImageNet's average .449 and .226, against R0": relative_error(
            average((gray - GRAY_MEAN) / GRAY_STD), logits["R0"]
        ),
        "R0's constant as a bias behind conv1, against R0": relative_error(
            _constant_as_bias(rgb, depth, z), logits["R0"]
        ),
    }
    shrunk = gray_network(rgb, depth, ("port", "bare_mean"))
    errors["port bare_mean, batch-norm in train mode, against R1"] = relative_error(
        shrunk.train()(z), rgb.train()(shown["R1"])
    )
    rgb.eval()
    return errors


def _constant_as_bias(rgb: nn.Module, depth: int, z: Tensor) -> Tensor:
    """The two-channel port with its second kernel summed into a bias: wrong at the border."""
    network = gray_network(rgb, depth, ("port", "imagenet"))
    conv1 = network.backbone.get_submodule("conv1")
    kernels = StemStart("port", "imagenet", MEAN, STD).kernels(rgb.get_parameter("conv1.weight"))
    conv1.register_parameter("bias", nn.Parameter(kernels[:, 1].sum(dim=(1, 2))))
    conv1.register_parameter("weight", nn.Parameter(kernels[:, :1]))
    network.stem = nn.Identity()
    logits: Tensor = network(z)
    return logits


def border_share(side: int) -> float:
    """Share of conv1's sites whose 7 × 7 window leaves an image of this side (stride 2, pad 3)."""
    starts = [2 * site - 3 for site in range((side + 1) // 2)]
    inside = sum(start >= 0 and start + 7 <= side for start in starts) / len(starts)
    return 1 - inside**2


def exactness_table(by_depth: Mapping[int, Mapping[tuple[Combination, str], float]]) -> str:
    """Markdown: a row a combination, worst of depths and sizes."""
    names = ("float64", "stem", "float32")
    rows = [
        "| stem | stem_init | reference | float64 | float32 to conv1 | float32 |",
        "|---|---|---|--:|--:|--:|",
    ]
    for combination in COMBINATIONS:
        stem, init = combination
        if init.startswith("bare_"):
            continue
        worst = [max(errors[combination, name] for errors in by_depth.values()) for name in names]
        known = (MEAN, STD) if init == "imagenet" else ()
        reference = StemStart(stem, init, *known).reference
        rows.append(f"| {stem} | {init} | {reference} | {' | '.join(f'{e:.1e}' for e in worst)} |")
    return "\n".join(rows)


def rounding_table(
    exactness: Mapping[int, Mapping[tuple[Combination, str], float]],
    rounding: Mapping[int, Mapping[str, float]],
) -> str:
    """Markdown: a row a depth, a stem's worst float32 error beside the RGB network's own."""
    rows = ["| ResNet | R0, a stem | R0, RGB | R1, a stem | R1, RGB |", "|--:|--:|--:|--:|--:|"]
    for depth, errors in exactness.items():
        cells = []
        for reference in ("R0", "R1"):
            worst = max(
                error
                for ((stem, init), name), error in errors.items()
                if name == "float32"
                and (init == "imagenet") == (reference == "R0")
                and init != "luma"
            )
            cells += [f"{worst:.1e}", f"{rounding[depth][reference]:.1e}"]
        rows.append(f"| {depth} | {' | '.join(cells)} |")
    return "\n".join(rows)


def shortcut_table(measured: Mapping[str, Iterable[float]]) -> str:
    """Markdown: a row a shortcut, median and range over depths and sizes."""
    rows = ["| way in | error, median | from | to |", "|---|--:|--:|--:|"]
    for name, errors in measured.items():
        values = sorted(errors)
        rows.append(
            f"| {name} | {statistics.median(values):.1e} | {values[0]:.1e} | {values[-1]:.1e} |"
        )
    return "\n".join(rows)


def report(depths: Sequence[int], weights: str) -> str:
    """A section of RESULTS.md."""
    exactness: dict[int, Mapping[tuple[Combination, str], float]] = {}
    shortcuts: dict[str, list[float]] = {}
    rounding: dict[int, Mapping[str, float]] = {}
    for depth in depths:
        print(f"ResNet-{depth}", file=sys.stderr)
        rgb = rgb_network(depth, weights)
        exactness[depth] = measure_exactness(rgb, depth)
        rounding[depth] = measure_own_rounding(rgb)
        for side in ((28, 28), (64, 64)):
            for name, error in measure_shortcuts(rgb, depth, side).items():
                shortcuts.setdefault(name, []).append(error)
    borders = ", ".join(f"{border_share(side):.1%} at {side}" for side in (28, 64, 224))
    kind = "made as if trained" if weights == "none" else Path(weights).name
    return "\n".join(
        [
            "## Stems at step 0",
            "",
            f"    {COMMAND}",
            "",
            f"ResNet-{', '.join(map(str, depths))}, weights {kind}; images of 28 x 28, 45 x 38 and",
            "64 x 64, with ResNet-18 224 x 224 too. Largest difference of a logit from the",
            "reference, relative to the largest logit; the worst of all depths and sizes.",
            "",
            exactness_table(exactness),
            "",
            "The whole in float32 by depth, beside the RGB network's own rounding: itself in",
            "float32 against itself in float64.",
            "",
            rounding_table(exactness, rounding),
            "",
            "What is not the reference it is taken for (28 x 28 and 64 x 64, eight images,",
            "float64), over depths and sizes:",
            "",
            shortcut_table(shortcuts),
            "",
            f"conv1's sites that touch the border: {borders}.",
            "",
            seen_on(("medres", "torch", "torchvision")),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stems", description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", choices=DEPTHS, default=list(DEPTHS))
    parser.add_argument("--weights", default="none", help="imagenet, a file, or none")
    parser.add_argument("--out", type=Path, help="RESULTS.md to write the section into")
    options: Any = parser.parse_args(argv)
    torch.set_num_threads(1)
    section = report(options.depths, options.weights)
    show_section(section, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
