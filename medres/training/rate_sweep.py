"""The learning-rate range test of a configured run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from monai.data import DataLoader
from torch import Tensor

from medres.config import RunConfig
from medres.training.feature_plan import image_bytes
from medres.training.features import staged_batch
from medres.training.fine_tuning import InitialNetwork, build_plan, build_train_loader
from medres.training.losses import ClassificationLoss
from medres.training.range_test import RangeTest, find_learning_rate
from medres.training.training_data import TrainingData


def sweep_learning_rates(
    config: RunConfig,
    data: TrainingData,
    initial: InitialNetwork,
    *,
    low: float,
    high: float,
    steps: int,
    progress: bool = False,
) -> RangeTest:
    """Sweep with a run's own images, augmentation, loss, optimizer and preset; see `range_test`.

    A step is one batch, whatever `training.accumulate` says: larger steps bear a higher rate. fp16
    is computed in fp32, since its loss scale would follow the sweep.

    Args:
        config: of the run; its seed decides order and augmentation.
        data: checked and normalised.
        initial: the network; a copy of it trains.
        low: the first rate.
        high: the last.
        steps: from low to high.
        progress: show a bar while images are read.

    Raises:
        ConfigError: no rising range, or too few steps.
    """
    plan, device = build_plan(config, data, initial), initial.device
    images = len(data.manifest.split("train"))
    cache = image_bytes(images, data.preprocessing.size) <= config.training.cache_gib * 2**30
    loader = build_train_loader(config, data, initial, cache=cache, progress=progress)
    loss = ClassificationLoss(
        plan.kind, plan.class_weights, plan.label_smoothing, plan.focal_gamma
    ).to(device)
    return find_learning_rate(
        initial.network.to(device).to(memory_format=torch.channels_last),
        _endless(loader, device),
        loss,
        initial.outline.schedule,
        optimizer=plan.optimizer,
        weight_decay=plan.weight_decay,
        precision="fp32" if plan.precision == "fp16" else plan.precision,
        low=low,
        high=high,
        steps=steps,
        seed=config.seed,
    )


def _endless(loader: DataLoader, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch, as a training would see them."""
    for epoch in itertools.count(1):
        loader.dataset.set_epoch(epoch)
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            image, label, *_ = staged_batch(batch, device)
            yield image, label
