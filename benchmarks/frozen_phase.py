"""Phases with a frozen trunk: medres' runs from cached features against the usual PyTorch loop.

    python -m benchmarks.frozen_phase                  # prints the table; minutes
    python -m benchmarks.frozen_phase --out benchmarks/RESULTS.md

A ResNet-18 at 224 x 224 trains the head alone, then layer4 and the head. Ours is a whole run: the
real trainer, loaders, validation and checkpoints. The usual loop is torchvision's network in fp32
and contiguous layout on the channel repeated three times, `requires_grad_(False)` on all that is
frozen, `.train()` on all of it, a shuffling `DataLoader` over tensors in memory, AdamW over what
trains, and validation under `no_grad` after each epoch. After each epoch of ours it does a few
batches, from which its epoch is extrapolated: its cost goes by the image. Expect a ratio of at
least 100 with the head alone, and of 2.5 with layer4 open.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
import torchvision
from ignite.engine import Engine, Events
from monai.data import Dataset
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.results import seen_on, show_section
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import Stage
from medres.training.dataset import EpochSampler, build_loader
from medres.training.feature_plan import ImageCounts, Room, input_values, plan_features
from medres.training.features import FeatureCache, FeatureLoader, ValidationFeatureLoader
from medres.training.plan import TrainingPlan
from medres.training.precision import AUTOCAST, ComputePrecision, resolve_precision
from medres.training.presets import build_schedule
from medres.training.schedule import Schedule
from medres.training.trainer import TrainingRun

BATCH, SIDE, DISTINCT = 32, 224, 64
PHASES: dict[Stage, tuple[str, ...]] = {"head": ("fc",), "layer4": ("layer4", "fc")}
TARGETS: dict[Stage, float] = {"head": 100.0, "layer4": 2.5}
PACKAGES = ("medres", "monai", "torch", "torchvision")


@dataclass
class Phase:
    """What was seen of one phase.

    Attributes:
        epochs: seconds of each of our epochs, the first with the computing of features.
        steps: seconds of each of our training steps that computed none.
        plain_epochs: seconds of the usual loop's epoch, as extrapolated after each of ours.
        plain_steps: seconds of the usual loop's step, after each of ours.
    """

    epochs: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    plain_epochs: list[float] = field(default_factory=list)
    plain_steps: list[float] = field(default_factory=list)

    @property
    def kept_epoch(self) -> float:
        """Seconds of our epoch where the features are there, median."""
        return statistics.median(self.epochs[1:])

    @property
    def epoch_ratio(self) -> float:
        """The usual epoch's time to ours, median over the epochs that compute no features."""
        pairs = zip(self.plain_epochs[1:], self.epochs[1:], strict=True)
        return statistics.median(plain / own for plain, own in pairs)

    @property
    def step_ratio(self) -> float:
        """The usual step's time to ours, medians."""
        return statistics.median(self.plain_steps) / statistics.median(self.steps)

    @property
    def phase_ratio(self) -> float:
        """The usual loop's time for the whole phase to ours, features included."""
        return sum(self.plain_epochs) / sum(self.epochs)


class PlainLoop:
    """The usual PyTorch loop with a frozen trunk."""

    def __init__(self, open_modules: Sequence[str], images: Tensor, labels: Tensor) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = torchvision.models.resnet18(num_classes=1)
        self.network.requires_grad_(False)
        for name in open_modules:
            self.network.get_submodule(name).requires_grad_(True)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)
        self.loader = DataLoader(TensorDataset(images, labels), BATCH, shuffle=True)

    def train(self, batches: int) -> float:
        """Seconds a training step, over so many."""
        self.network.train()
        start = time.perf_counter()
        for images, labels in self._batches(batches):
            logits = self.network(images.expand(-1, 3, -1, -1))
            loss = F.binary_cross_entropy_with_logits(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return (time.perf_counter() - start) / batches

    @torch.no_grad()
    def validate(self) -> float:
        """Seconds a batch of validation."""
        self.network.eval()
        start = time.perf_counter()
        for images, labels in self._batches(1):
            logits = self.network(images.expand(-1, 3, -1, -1))
            F.binary_cross_entropy_with_logits(logits, labels)
        return time.perf_counter() - start

    def _batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        return islice((batch for _ in range(count) for batch in self.loader), count)


def draw_images() -> tuple[Tensor, Tensor]:
    """(64, 1, 224, 224) of noise with labels (64, 1); sets are made by repeating them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(DISTINCT, 1, SIDE, SIDE, generator=generator)
    return images, torch.rand(DISTINCT, 1, generator=generator).round()


def build_run(
    folder: Path, counts: ImageCounts, schedule: Schedule, epochs: int, precision: ComputePrecision
) -> TrainingRun:
    """A run as `medres train` makes it, on images in memory."""
    images, labels = draw_images()

    def items(count: int) -> Dataset:
        indices = [index % DISTINCT for index in range(count)]
        return Dataset([{"image": images[i], "label": labels[i]} for i in indices])

    torch.manual_seed(0)
    network = GrayscaleResNet(18, "port").to(memory_format=torch.channels_last)
    half = AUTOCAST.get(precision)
    plan = plan_features(
        schedule,
        counts,
        input_values(18, SIDE),
        Room(2**34, 2**34),
        value_bytes=4 if half is None else half.itemsize,
    )
    cache = FeatureCache(network, plan, folder, device=torch.device("cpu"), autocast=half)
    sampler = EpochSampler(counts.train, 0)
    run = TrainingRun(
        network,
        FeatureLoader(build_loader(items(counts.train), BATCH, sampler=sampler), cache),
        ValidationFeatureLoader(build_loader(items(counts.validation), 16), cache),
        TrainingPlan("binary", schedule, epochs, BATCH, precision=precision),
        folder,
        device=torch.device("cpu"),
        show=False,
    )
    cache.attach(run.trainer)
    return run


class Turns:
    """Times the epochs of a run, and lets the usual loop do a few batches after each.

    Args:
        counts: of images; a whole number of batches for training.
        epochs: of each phase.
        batches: of the usual loop after each epoch.
    """

    def __init__(self, counts: ImageCounts, epochs: int, batches: int) -> None:
        self.counts, self.epochs, self.batches = counts, epochs, batches
        self.phases: dict[Stage, Phase] = {name: Phase() for name in PHASES}
        self.plain = {name: PlainLoop(modules, *draw_images()) for name, modules in PHASES.items()}
        for loop in self.plain.values():
            loop.train(1)
        self.epoch_began = self.step_began = 0.0

    def attach(self, trainer: Engine) -> None:
        """Follow a run after its own handlers."""
        trainer.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        trainer.add_event_handler(Events.ITERATION_STARTED, self._start_step)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._end_step)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    def _start_epoch(self, _: Engine) -> None:
        self.epoch_began = time.perf_counter()

    def _start_step(self, _: Engine) -> None:
        self.step_began = time.perf_counter()

    def _end_step(self, engine: Engine) -> None:
        self.phases[self._stage(engine)].steps.append(time.perf_counter() - self.step_began)

    def _end_epoch(self, engine: Engine) -> None:
        stage, counts = self._stage(engine), self.counts
        phase = self.phases[stage]
        phase.epochs.append(time.perf_counter() - self.epoch_began)
        step, validation = self.plain[stage].train(self.batches), self.plain[stage].validate()
        phase.plain_steps.append(step)
        phase.plain_epochs.append((step * counts.train + validation * counts.validation) / BATCH)
        if engine.state.epoch == self.epochs * len(PHASES):
            engine.terminate()

    def _stage(self, engine: Engine) -> Stage:
        epoch: int = engine.state.epoch
        return [*PHASES][(epoch - 1) // self.epochs]


def measure(turns: Turns, precision: ComputePrecision) -> dict[Stage, Phase]:
    """The two phases of our run, and the usual loop beside them."""
    total = 4 * turns.epochs + 1  # of `gradual`, whose first two phases are run
    schedule = build_schedule(
        "gradual",
        epochs=total,
        steps_per_epoch=turns.counts.train // BATCH,
        frozen_epochs=turns.epochs,
        warmup_epochs=0,
        stem="port",
    )
    with tempfile.TemporaryDirectory() as folder:
        run = build_run(Path(folder), turns.counts, schedule, total, precision)
        turns.attach(run.trainer)
        run.run()
    return turns.phases


def report(results: Mapping[str, dict[Stage, Phase]], turns: Turns) -> str:
    """A section of RESULTS.md."""
    rows = [
        f"| {stage} on, {precision} | {1e3 * statistics.median(p.steps):.1f} | {p.step_ratio:.1f} "
        f"| {p.kept_epoch:.2f} | {p.epoch_ratio:.1f} | {sum(p.epochs):.1f} | {p.phase_ratio:.1f} "
        f"| {TARGETS[stage]:g} |"
        for precision, phases in results.items()
        for stage, p in phases.items()
    ]
    counts, threads = turns.counts, torch.get_num_threads()
    return "\n".join(
        [
            "## Phases with a frozen trunk",
            "",
            "    python -m benchmarks.frozen_phase --out benchmarks/RESULTS.md",
            "",
            f"ResNet-18, stem port, {counts.train} training and {counts.validation} validation",
            f"images of {SIDE} x {SIDE}, batches of {BATCH}, {turns.epochs} epochs a phase; one",
            f"process, threads: {threads}. Ours is the whole trainer: the first epoch of a phase",
            "computes the features, each epoch validates and writes its checkpoints. The usual",
            "loop: torchvision's network in fp32, contiguous, on three equal channels; the frozen",
            "part with `requires_grad_(False)` but in the forward pass of every step, all in",
            "`.train()`; a shuffling `DataLoader` over tensors in memory; AdamW; validation under",
            "`no_grad`; no checkpoints. It does a few batches after each of our epochs, and its",
            "epoch follows from its time an image. Steps do not count what feeds them; epochs are",
            "those after the first, and the target is for them; phases count the first too.",
            "",
            (
                "| trains | step, ms | usual/ours | epoch, s | usual/ours | phase, s | usual/ours "
                "| target |"
            ),
            "|---|--:|--:|--:|--:|--:|--:|--:|",
            *rows,
            "",
            seen_on(PACKAGES, threads=threads),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the default precision misses a target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frozen_phase", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="put the table into this file too")
    parser.add_argument("--images", type=int, default=1024, help="for training (default 1024)")
    parser.add_argument("--epochs", type=int, default=4, help="of each phase (default 4)")
    parser.add_argument("--batches", type=int, default=2, help="of the usual loop (default 2)")
    arguments = parser.parse_args(argv)
    counts = ImageCounts(arguments.images // BATCH * BATCH, arguments.images // 4, 1)
    results: dict[str, dict[Stage, Phase]] = {}
    precisions: list[ComputePrecision] = [resolve_precision("auto", torch.device("cpu")), "fp32"]
    for precision in dict.fromkeys(precisions):
        turns = Turns(counts, arguments.epochs, arguments.batches)
        results[precision] = measure(turns, precision)
    text = report(results, turns)
    show_section(text, arguments.out)
    default = next(iter(results.values()))
    return int(any(default[stage].epoch_ratio < target for stage, target in TARGETS.items()))


if __name__ == "__main__":
    sys.exit(main())
