"""From a configuration and its data to a trained network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from monai.data import DataLoader
from monai.utils import set_determinism

from medres.config import RunConfig, config_as_json
from medres.data.manifest import ManifestRow
from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.weights import WeightsRecord, load_weights
from medres.training.dataset import (
    FORWARD_BATCH,
    EpochSampler,
    as_items,
    build_dataset,
    build_loader,
)
from medres.training.losses import balanced_class_weights
from medres.training.precision import describe_device, resolve_device, resolve_precision
from medres.training.schedule import ResolvedPreset, Schedule, build_schedule, resolve_preset
from medres.training.trainer import TrainingPlan, TrainingResult, TrainingRun, fingerprint
from medres.training.training_data import TrainingData
from medres.transforms.chains import build_evaluation_chain, build_train_chain

FROM_RANDOM = "The model was trained from random weights, without pretraining."


@dataclass(frozen=True)
class FineTuned:
    """A network after training.

    Attributes:
        network: with the best epoch's weights, in evaluation mode.
        weights: what it started from.
        schedule: how it was unfrozen.
        resolved: the preset, batch size and batch-norm policy that it came to.
        result: its epochs.
        device: where it computes.
        precision: of the forward pass.
        notes: what a reader of the results has to know.
    """

    network: GrayscaleResNet
    weights: WeightsRecord
    schedule: Schedule
    resolved: ResolvedPreset
    result: TrainingResult
    device: torch.device
    precision: Literal["fp32", "bf16"]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """How it was trained, as JSON values."""
        return {
            "weights": self.weights.source,
            "initial_weights": self.weights.description,
            "preset": self.resolved.preset,
            "batch_norm": self.resolved.batch_norm,
            "batch_size": self.resolved.batch_size,
            "precision": self.precision,
            "device": describe_device(self.device),
            "epochs": len(self.result.history),
            "best_epoch": self.result.best_epoch,
            "stopped_early": self.result.stopped_early,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class InitialNetwork:
    """A network before training.

    Attributes:
        network: with its initial weights.
        weights: what they are.
        resolved: what the preset, batch size and batch-norm policy come to with them.
        steps_per_epoch: whole batches of the training images.
    """

    network: GrayscaleResNet
    weights: WeightsRecord
    resolved: ResolvedPreset
    steps_per_epoch: int


def initialise(config: RunConfig, data: TrainingData) -> InitialNetwork:
    """Build the network, give it its weights, and let the preset meet them. Writes nothing.

    Raises:
        ConfigError: too few training images for one batch.
        WeightsError: the initial weights cannot be had or do not fit.
    """
    set_determinism(seed=config.seed)
    network = GrayscaleResNet(
        depth=config.model.depth,
        stem=config.model.stem,
        num_outputs=len(data.manifest.schema.findings),
    )
    weights = load_weights(network, config.model.weights)
    resolved = resolve_preset(
        config.training.preset,
        weights_are_trained=weights.trained,
        batch_size=config.training.batch_size,
        batch_norm=config.model.batch_norm,
    )
    n_train = len(data.manifest.split("train"))
    steps = n_train // resolved.batch_size
    if steps == 0:
        raise ConfigError(
            f"training.batch_size: {resolved.batch_size} is more than the {n_train} "
            "training images; give a smaller batch or more images"
        )
    return InitialNetwork(network, weights, resolved, steps)


def fine_tune(
    config: RunConfig, data: TrainingData, initial: InitialNetwork, *, show: bool = True
) -> FineTuned:
    """Train, or go on training, in the run folder.

    Args:
        config: of the run.
        data: checked and normalised.
        initial: the network; trained in place.
        show: whether to show progress.

    Raises:
        ConfigError: a device that is not there, or a run folder with another configuration.
    """
    device = resolve_device(config.device)
    precision = resolve_precision(config.training.precision, device)
    network, weights, resolved = initial.network, initial.weights, initial.resolved
    schedule = _build_schedule(config, initial)
    run = TrainingRun(
        network.to(memory_format=torch.channels_last),
        *_build_loaders(config, data, resolved.batch_size, show=show),
        _build_plan(config, data, schedule, weights, precision),
        config.out,
        device=device,
        batch_size=resolved.batch_size,
        show=show,
    )
    result = run.run()
    start = () if weights.trained else (FROM_RANDOM,)
    notes = (*start, *resolved.notes, *weights.notes)
    return FineTuned(network, weights, schedule, resolved, result, device, precision, notes)


def _build_schedule(config: RunConfig, initial: InitialNetwork) -> Schedule:
    training = config.training
    return build_schedule(
        initial.resolved.preset,
        epochs=training.epochs,
        steps_per_epoch=initial.steps_per_epoch,
        base_learning_rate=training.learning_rate,
        warmup_epochs=training.warmup_epochs,
        frozen_epochs=training.frozen_epochs,
        batch_norm=initial.resolved.batch_norm,
        stem=config.model.stem,
        weights_are_trained=initial.weights.trained,
    )


def _build_loaders(
    config: RunConfig, data: TrainingData, batch_size: int, *, show: bool
) -> tuple[DataLoader, DataLoader]:
    training, manifest, preprocessing = config.training, data.manifest, data.preprocessing
    kept = len(manifest.split("train")) + len(manifest.split("validation"))
    cache = kept * preprocessing.size**2 * 4 <= training.cache_gib * 2**30  # float32
    train = build_dataset(
        as_items(manifest, manifest.split("train")),
        build_train_chain(preprocessing, training.augmentation),
        seed=config.seed,
        cache=cache,
        progress=show and sys.stderr.isatty(),
    )
    validation = build_dataset(
        as_items(manifest, manifest.split("validation")),
        build_evaluation_chain(preprocessing),
        seed=config.seed,
        cache=cache,
        progress=show and sys.stderr.isatty(),
    )
    sampler = EpochSampler(len(train), config.seed)
    return (
        build_loader(train, batch_size, sampler=sampler, workers=training.workers, drop_last=True),
        build_loader(validation, FORWARD_BATCH, workers=training.workers),
    )


def _build_plan(
    config: RunConfig,
    data: TrainingData,
    schedule: Schedule,
    weights: WeightsRecord,
    precision: Literal["fp32", "bf16"],
) -> TrainingPlan:
    training, schema = config.training, data.manifest.schema
    labels = _labels(data.manifest.split("train"))
    positive_weights = (
        balanced_class_weights(schema.kind, labels) if training.class_weights else None
    )
    decisive = config_as_json(config)
    for values, key in (
        *((decisive, key) for key in ("out", "device")),
        *((decisive["training"], key) for key in ("workers", "cache_gib")),
    ):
        del values[key]  # changes where and how fast, not what
    return TrainingPlan(
        kind=schema.kind,
        schedule=schedule,
        epochs=training.epochs,
        optimizer=training.optimizer,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        class_weights=None if positive_weights is None else tuple(positive_weights.tolist()),
        ema_decay=training.ema_decay,
        select_by=training.select_by,
        patience=training.patience,
        precision=precision,
        fingerprint=fingerprint(
            decisive,
            data.preprocessing.digest(),
            weights.sha256,
            sorted(data.survey.digests.values()),
        ),
    )


def _labels(rows: Sequence[ManifestRow]) -> torch.Tensor:
    return torch.tensor([row.labels for row in rows], dtype=torch.float32)
