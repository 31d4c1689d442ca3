"""Does training in bf16 cost accuracy? The same trainings in fp32 and bf16, seed by seed.

    python -m benchmarks.precision pneumoniamnist.npz                  # prints the table
    python -m benchmarks.precision pneumoniamnist.npz --out benchmarks/RESULTS.md

A ResNet-18 from random weights by medres' own trainer, on images of an archive in MedMNIST's layout
without augmentation. A seed fixes the training images, their order and the initial weights, so that
nothing but the number format tells its two runs apart. Both are judged in fp32. Expect a difference
within what seeds differ by.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data import Dataset
from torch import Tensor
from torch.nn import functional as F

from benchmarks.results import seen_on, show_section
from medres.models.resnet import GrayscaleResNet
from medres.training.dataset import EpochSampler, build_loader
from medres.training.plan import TrainingPlan
from medres.training.precision import ComputePrecision
from medres.training.presets import build_schedule
from medres.training.trainer import TrainingRun
from medres.training.validation import macro_auroc

PRECISIONS: tuple[ComputePrecision, ...] = ("fp32", "bf16")
BATCH = 32
PACKAGES = ("medres", "torch", "monai")


def read_split(archive: Path, split: str, size: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, size, size) with mean 0 and deviation 1 of the training images; labels (N, 1).

    Labels are 1 where the archive's are not 0.
    """
    with np.load(archive) as arrays:
        train = torch.from_numpy(arrays["train_images"]).float()
        images = torch.from_numpy(arrays[f"{split}_images"]).float()
        labels = torch.from_numpy(arrays[f"{split}_labels"]).reshape(-1, 1)
    images = ((images - train.mean()) / train.std()).unsqueeze(1)
    resized = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return resized, (labels != 0).float()


def train_once(
    archive: Path, precision: ComputePrecision, seed: int, *, images: int, epochs: int, size: int
) -> float:
    """Test AUROC of one training."""
    torch.manual_seed(seed)
    pixels, labels = read_split(archive, "train", size)
    chosen = torch.randperm(len(pixels))[:images]
    network = GrayscaleResNet(18, "port").to(memory_format=torch.channels_last)
    steps = images // BATCH
    train = as_dataset(pixels[chosen], labels[chosen])
    sampler = EpochSampler(images, seed, count=steps * BATCH)
    plan = TrainingPlan(
        kind="binary",
        schedule=build_schedule("full", epochs=epochs, steps_per_epoch=steps, stem="port"),
        epochs=epochs,
        batch_size=BATCH,
        select_by="last",
        precision=precision,
    )
    validation = as_dataset(*(values[:BATCH] for values in read_split(archive, "val", size)))
    with tempfile.TemporaryDirectory() as folder:
        TrainingRun(
            network,
            build_loader(train, BATCH, sampler=sampler),
            build_loader(validation, BATCH),
            plan,
            Path(folder),
            device=torch.device("cpu"),
            show=False,
        ).run()
    pixels, labels = read_split(archive, "test", size)
    with torch.inference_mode():
        logits = torch.cat([network(part) for part in torch.split(pixels, 16)])
    area = macro_auroc(labels, logits)
    assert area is not None, "the test images are of one class"
    return area


def as_dataset(images: Tensor, labels: Tensor) -> Dataset:
    """MONAI items."""
    return Dataset([{"image": i, "label": y} for i, y in zip(images, labels, strict=True)])


def report(areas: dict[ComputePrecision, list[float]], setting: str) -> str:
    """A section of RESULTS.md."""
    rows = [
        f"| {seed} | {fp32:.4f} | {bf16:.4f} | {bf16 - fp32:+.4f} |"
        for seed, (fp32, bf16) in enumerate(zip(*areas.values(), strict=True), start=1)
    ]
    (low, low_spread), (high, high_spread) = (
        (statistics.mean(own), statistics.stdev(own)) for own in areas.values()
    )
    return "\n".join(
        [
            "## Accuracy of bf16 training",
            "",
            "    python -m benchmarks.precision pneumoniamnist.npz --out benchmarks/RESULTS.md",
            "",
            setting,
            "A seed's two runs differ in the number format of the forward pass alone.",
            "",
            "| seed | test AUROC, fp32 | bf16 | difference |",
            "|---|--:|--:|--:|",
            *rows,
            f"| mean | {low:.4f} | {high:.4f} | {high - low:+.4f} |",
            f"| standard deviation of seeds | {low_spread:.4f} | {high_spread:.4f} | |",
            "",
            seen_on(PACKAGES, threads=torch.get_num_threads()),
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Train and print; 1 where the means differ by more than two standard errors of the seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("archive", type=Path, help="an .npz in MedMNIST's layout")
    parser.add_argument("--out", type=Path, help="put the table into this file too")
    parser.add_argument("--seeds", type=int, default=3, help="how many, at least 2 (default 3)")
    parser.add_argument("--images", type=int, default=640, help="to train on (default 640)")
    parser.add_argument("--epochs", type=int, default=5, help="of each training (default 5)")
    parser.add_argument("--size", type=int, default=32, help="of the network's input (default 32)")
    arguments = parser.parse_args(argv)
    areas: dict[ComputePrecision, list[float]] = {name: [] for name in PRECISIONS}
    for seed in range(1, arguments.seeds + 1):
        for precision, found in areas.items():
            found.append(
                train_once(
                    arguments.archive,
                    precision,
                    seed,
                    images=arguments.images,
                    epochs=arguments.epochs,
                    size=arguments.size,
                )
            )
            print(f"seed {seed}, {precision}: {found[-1]:.4f}", file=sys.stderr, flush=True)
    setting = (
        f"ResNet-18 from random weights, {arguments.images} training images at {arguments.size} x "
        f"{arguments.size},\n{arguments.epochs} epochs of batches of {BATCH}, no augmentation."
    )
    text = report(areas, setting)
    show_section(text, arguments.out)
    fp32, bf16 = areas.values()
    noise = (statistics.variance(fp32) + statistics.variance(bf16)) / arguments.seeds
    return int(statistics.mean(fp32) - statistics.mean(bf16) > 2 * noise**0.5)


if __name__ == "__main__":
    sys.exit(main())
