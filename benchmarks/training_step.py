"""One training step of a ResNet-18: medres' trainer's against eager fp32 and what lies between.

    python -m benchmarks.training_step                  # prints the table; about 2 minutes
    python -m benchmarks.training_step --out benchmarks/RESULTS.md

Forward pass, loss, backward pass and AdamW on 16 images of 224 x 224, batch-norm in training mode,
every tensor open. The steps take turns in one process on the same images, so that whatever else
the machine does burdens all of them. The plain one is what a script does: torchvision's network in
fp32 and contiguous layout on the channel repeated three times. Ours is what a run does by default:
channels-last, and the number format that `training.precision auto` chooses here. Expect a ratio of
at least 1.8 on a CPU that multiplies bf16, and close to 1 on others.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.results import seen_on, show_section
from medres.models.resnet import GrayscaleResNet
from medres.training.losses import ClassificationLoss
from medres.training.optimizer import build_optimizer
from medres.training.precision import AutocastInferer, ComputePrecision, resolve_precision

BATCH, SIDE = 16, 224
TARGET = 1.8
PACKAGES = ("medres", "torch", "torchvision")

Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Timing:
    """Of one kind of step.

    Args:
        name: of it.
        milliseconds: median of its turns.
        fastest: its fastest turn in milliseconds, the least disturbed by other programs.
        ratio: median, over the turns, of the plain step's time to this one's in the same turn.
        faults: page faults an image, median.
    """

    name: str
    milliseconds: float
    fastest: float
    ratio: float
    faults: float


def plain_step() -> Step:
    """The ResNet-18 of torchvision on three channels, eagerly in fp32."""
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.resnet18(num_classes=1).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        logits = network(images.expand(-1, 3, -1, -1))
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def our_step(precision: ComputePrecision, layout: torch.memory_format) -> Step:
    """Network, optimizer, inferer and loss as the trainer runs them."""
    torch.manual_seed(0)
    network = GrayscaleResNet(18).train().to(memory_format=layout)
    optimizer = build_optimizer(network, learning_rate=1e-4)
    inferer, loss = AutocastInferer(precision), ClassificationLoss("binary")

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        loss(inferer(images, network.train()), labels).backward()
        optimizer.step()

    return step


def build_steps() -> dict[str, Step]:
    """The plain step first, ours last."""
    precision = resolve_precision("auto", torch.device("cpu"))
    return {
        "plain: eager fp32, contiguous": plain_step(),
        "channels-last": our_step("fp32", torch.channels_last),
        "bf16, contiguous": our_step("bf16", torch.contiguous_format),
        f"medres: channels-last, {precision} by auto": our_step(precision, torch.channels_last),
    }


def time_steps(steps: Mapping[str, Step], turns: int) -> list[Timing]:
    """Let the steps take turns on the same images, after one turn that does not count."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 1, SIDE, SIDE, generator=generator)
    labels = torch.rand(BATCH, 1, generator=generator).round()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    faults: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        first = turn % len(steps)
        for name in [*steps][first:] + [*steps][:first]:
            faulted, start = _faults(), time.perf_counter()
            steps[name](images, labels)
            seconds[name].append(time.perf_counter() - start)
            faults[name].append((_faults() - faulted) / BATCH)
    plain = next(iter(seconds.values()))
    return [
        Timing(
            name,
            1e3 * statistics.median(own[1:]),
            1e3 * min(own[1:]),
            statistics.median(a / b for a, b in zip(plain[1:], own[1:], strict=True)),
            statistics.median(faults[name][1:]),
        )
        for name, own in seconds.items()
    ]


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def report(timings: Sequence[Timing], turns: int) -> str:
    """A section of RESULTS.md."""
    threads = torch.get_num_threads()
    rows = [
        f"| {t.name} | {t.milliseconds:.0f} | {t.fastest:.0f} | {t.ratio:.2f} | {t.faults:.0f} |"
        for t in timings
    ]
    return "\n".join(
        [
            "## One training step",
            "",
            "    python -m benchmarks.training_step --out benchmarks/RESULTS.md",
            "",
            f"ResNet-18, {BATCH} images of {SIDE} x {SIDE}: forward, loss, backward and",
            f"AdamW, every tensor open; {turns} turns in one process, threads: {threads}.",
            f"The last row is what a run does by default; target: at least {TARGET} on a CPU that",
            "multiplies bf16.",
            "",
            "| step | median, ms | fastest, ms | speed against plain | page faults an image |",
            "|---|--:|--:|--:|--:|",
            *rows,
            "",
            seen_on(PACKAGES, threads=threads),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the target is missed on a CPU with bf16."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_step", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="put the table into this file too")
    parser.add_argument("--turns", type=int, default=10, help="of each step (default 10)")
    arguments = parser.parse_args(argv)
    timings = time_steps(build_steps(), arguments.turns)
    text = report(timings, arguments.turns)
    show_section(text, arguments.out)
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
    return int(bf16 and timings[-1].ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())
