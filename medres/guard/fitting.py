"""Fit and calibrate a guard on a trained network's own images, in one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.data import Dataset
from torch import nn

from medres.data.manifest import Manifest, ManifestRow
from medres.guard.guard import Guard
from medres.guard.headers import KnownHeaders
from medres.guard.measurements import Measurements, input_limits, measuring
from medres.imaging.grayscale import ImageRecord
from medres.training.dataset import FORWARD_BATCH, as_items, build_loader
from medres.transforms.chains import build_evaluation_chain
from medres.transforms.preprocessing import Preprocessing

MOST_IMAGES = 4000
"""Of a split that are looked at: more tell little, and a pass over all would take its time."""
Follow = Callable[[Iterable[Any]], Iterable[Any]]


def fit_guard(
    network: nn.Module,
    preprocessing: Preprocessing,
    manifest: Manifest,
    records: Mapping[tuple[str, int], ImageRecord],
    *,
    false_alarms: float,
    device: torch.device,
    workers: int = 0,
    follow: Follow = lambda batches: batches,
) -> Guard:
    """Fit on the manifest's training images, calibrate on its validation images.

    Args:
        network: trained; left in evaluation mode.
        preprocessing: that it was trained with.
        manifest: with a split in every row.
        records: what each image's header says, by address and frame.
        false_alarms: share of own images that may be flagged, all checks together.
        device: where the network computes.
        workers: processes that read images.
        follow: wraps the batches, for a progress bar.

    Raises:
        GuardError: too few training or validation images.
    """
    train, validation = (spread(manifest.split(name)) for name in ("train", "validation"))
    rows = [*train, *validation]
    dataset = Dataset(as_items(manifest, rows), build_evaluation_chain(preprocessing))
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    limits = input_limits(preprocessing.statistics)
    parts = []
    with torch.inference_mode(), measuring(network, limits) as measure:
        for batch in follow(build_loader(dataset, FORWARD_BATCH, workers=workers)):
            images = batch["image"].to(device)
            network(images)
            parts.append(measure(images))
    measured = Measurements.cat(parts)
    headers = KnownHeaders.of(
        [records[row.image, row.frame] for row in rows],
        [row.patient_id for row in rows],
        most=false_alarms / 2,
    )
    guard = Guard.fit(measured[: len(train)], [row.patient_id for row in train], headers, limits)
    return guard.calibrate(
        measured[len(train) :], [row.patient_id for row in validation], false_alarms
    )


def spread(rows: Sequence[ManifestRow], most: int = MOST_IMAGES) -> Sequence[ManifestRow]:
    """At most so many rows, from all over."""
    if len(rows) <= most:
        return rows
    return [rows[index * len(rows) // most] for index in range(most)]
