"""Synthetic "anatomy" and a guard on it, without training: for tests of the guard and its users."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from model_records import record_of
from torch import Tensor, nn

from medres.bundle.directory import write_bundle, write_weights
from medres.bundle.seen import SeenCases
from medres.guard.guard import Guard
from medres.guard.headers import KnownHeaders
from medres.guard.measurements import Measurements, measuring
from medres.guard.storage import write_guard
from medres.imaging.grayscale import ImageRecord
from medres.models.resnet import GrayscaleResNet

LIMITS = (-2.0, 3.0)
SIDE = 32


def anatomy(count: int, seed: int) -> Tensor:
    """(N, 1, 32, 32): two dark lungs, a bright heart to one side, noise; as the network sees it."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)

    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    image = torch.full((count, SIDE, SIDE), 1.0) * draw(0.8, 1.2)
    for centre in (9, 22):
        lung = ((row - draw(13, 16)) / 9) ** 2 + ((column - centre - draw(-1, 1)) / 5) ** 2 < 1
        image = torch.where(lung, -1.0 * draw(0.8, 1.2), image)
    heart = (row - draw(18, 21)) ** 2 + (column - draw(18, 20)) ** 2 < draw(20, 30)
    image = torch.where(heart, 1.5 * draw(0.9, 1.1), image)
    image = image + 0.1 * torch.randn(image.shape, generator=generator)
    return image.clamp(*LIMITS)[:, None]


def build_network(seed: int = 0) -> GrayscaleResNet:
    """Random weights with running statistics of anatomy, as after training."""
    torch.manual_seed(seed)
    network = GrayscaleResNet(18, "port", 1)
    with torch.no_grad():
        for step in range(4):
            network.train()(anatomy(16, 100 + step))
    return network.eval()


@torch.no_grad()
def measure(network: nn.Module, images: Tensor) -> Measurements:
    with measuring(network, LIMITS) as measured:
        parts = []
        for batch in images.split(16):
            network(batch)
            parts.append(measured(batch))
    return Measurements.cat(parts)


def patients(count: int) -> list[str]:
    """Two images a patient."""
    return [f"patient-{index // 2}" for index in range(count)]


def record(**values: object) -> ImageRecord:
    given = {"format": "dicom", "rows": SIDE, "columns": SIDE, "intensity": "display", "voi": ""}
    return ImageRecord(**{**given, **values})


def larger(images: Tensor) -> Tensor:
    """(N, 1, 64, 64): each pixel twice both ways, the size of `model_records`' models."""
    return images.repeat_interleave(2, -1).repeat_interleave(2, -2)


def fit_guard(
    network: nn.Module,
    *,
    train: int = 120,
    validation: int = 99,
    shown: Callable[[Tensor], Tensor] = lambda images: images,
) -> Guard:
    """Calibrated at 2 %; CR chests in PA or AP view are known."""
    records = [
        record(modality="CR", body_part="CHEST", view_position=("PA", "AP")[k % 2])
        for k in range(train)
    ]
    names = [str(k) for k in range(train)]
    headers = KnownHeaders.of(records, names, most=0.01)
    guard = Guard.fit(measure(network, shown(anatomy(train, 1))), patients(train), headers, LIMITS)
    return guard.calibrate(
        measure(network, shown(anatomy(validation, 2))), patients(validation), 0.02
    )


def write_model(folder: Path) -> None:
    """A model of random weights with a guard, as a directory."""
    network = build_network()
    digest = write_weights(folder, network.state_dict())
    write_guard(folder, fit_guard(network, shown=larger), digest)
    seen = SeenCases(frozenset(), frozenset())
    write_bundle(folder, replace(record_of(""), weights_sha256=digest), seen)
