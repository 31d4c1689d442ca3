"""From a configuration and its data to a trained network."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import DataLoader
from monai.utils import set_determinism

from medres.config import RunConfig
from medres.config_text import config_as_json
from medres.data.uncertain_labels import training_targets
from medres.models.resnet import GrayscaleResNet
from medres.models.weights import WeightsRecord, load_weights
from medres.training.dataset import (
    FORWARD_BATCH,
    EpochSampler,
    ShareSampler,
    as_items,
    build_dataset,
    build_loader,
)
from medres.training.distributed import check_shares, is_first, rank, world_size
from medres.training.feature_plan import FeaturePlan, image_bytes, plan_run_features
from medres.training.features import FeatureCache, FeatureLoader, ValidationFeatureLoader
from medres.training.losses import balanced_class_weights
from medres.training.outline import TrainingOutline, outline_training
from medres.training.plan import TrainingPlan, TrainingResult, fingerprint
from medres.training.precision import (
    AUTOCAST,
    ComputePrecision,
    describe_device,
    resolve_device,
    resolve_precision,
)
from medres.training.presets import ResolvedPreset
from medres.training.schedule import Schedule
from medres.training.trainer import TrainingRun, Watch
from medres.training.training_data import TrainingData
from medres.training.wrapping import check_compiler
from medres.transforms.augmentation import ResolvedAugmentation, resolve_augmentation
from medres.transforms.chains import build_evaluation_chain, build_train_chain

NOT_DECISIVE = (
    "workers",
    "cache_gib",
    "feature_cache",
    "checkpoint_minutes",
    "checkpoint_steps",
)
"""Keys of the training that change where and how fast it runs, not what comes out."""
FROM_RANDOM = "The model was trained from random weights, without pretraining."


@dataclass(frozen=True)
class FineTuned:
    """A network after training.

    Attributes:
        network: with the best epoch's weights, in evaluation mode.
        weights: what it started from.
        schedule: how it was unfrozen.
        features: what of its frozen stages was computed once.
        resolved: the preset, batch size and batch-norm policy that it came to.
        augmentation: of the training images.
        result: its epochs.
        device: where it computes.
        precision: of the forward pass.
        step_images: images an optimizer step: all batches and processes that share it.
        notes: what a reader of the results has to know.
    """

    network: GrayscaleResNet
    weights: WeightsRecord
    schedule: Schedule
    features: FeaturePlan
    resolved: ResolvedPreset
    augmentation: ResolvedAugmentation
    result: TrainingResult
    device: torch.device
    precision: ComputePrecision
    step_images: int
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """How it was trained, as JSON values."""
        return {
            "weights": self.weights.source,
            "initial_weights": self.weights.description,
            "preset": self.resolved.preset,
            "stages": dict(self.schedule.trained),
            "batch_norm": self.resolved.batch_norm,
            "batch_size": self.resolved.batch_size,
            "step_images": self.step_images,
            "precision": self.precision,
            "augmentation": self.augmentation.as_json(),
            "device": describe_device(self.device),
            "epochs": len(self.result.history),
            "best_epoch": self.result.best_epoch,
            "stopped_early": self.result.stopped_early,
            "frozen_features": list(self.features.describe()),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class InitialNetwork:
    """A network before training.

    Attributes:
        network: with its initial weights.
        weights: what they are.
        outline: how they will be trained.
        augmentation: of the training images, by their modality.
        device: where it will compute.
        precision: of the forward pass there.
    """

    network: GrayscaleResNet
    weights: WeightsRecord
    outline: TrainingOutline
    augmentation: ResolvedAugmentation
    device: torch.device
    precision: ComputePrecision

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know."""
        start = () if self.weights.trained else (FROM_RANDOM,)
        return (*start, *self.outline.notes, *self.weights.notes, *self.augmentation.notes)


def initialise(config: RunConfig, data: TrainingData) -> InitialNetwork:
    """Build the network, give it its weights, and let the preset meet them. Writes nothing.

    Raises:
        ConfigError: too few training images for one batch, a device that is not there, or a
            precision that it has not.
        WeightsError: the initial weights cannot be had or do not fit.
    """
    device = resolve_device(config.device)
    precision = resolve_precision(config.training.precision, device)
    if config.training.compile:
        check_compiler(device)
    set_determinism(seed=config.seed)
    mean, std = data.preprocessing.display_statistics()
    imagenet = config.model.stem_init == "imagenet"
    network = GrayscaleResNet(
        depth=config.model.depth,
        stem=config.model.stem,
        num_outputs=len(data.manifest.schema.findings),
        stem_init=config.model.stem_init,
        display_mean=mean if imagenet else None,
        display_std=std if imagenet else None,
    )
    weights = load_weights(network, config.model.weights)
    check_shares(len(data.manifest.split("validation")), "validation")
    return InitialNetwork(
        network=network,
        weights=weights,
        outline=outline_training(
            config, len(data.manifest.split("train")), weights_are_trained=weights.trained
        ),
        augmentation=resolve_augmentation(config.training.augmentation, data.survey.modalities),
        device=device,
        precision=precision,
    )


def fine_tune(
    config: RunConfig,
    data: TrainingData,
    initial: InitialNetwork,
    *,
    show: bool = True,
    watch: Watch | None = None,
) -> FineTuned:
    """Train, or go on training, in the run folder.

    Args:
        config: of the run.
        data: checked and normalised.
        initial: the network; trained in place.
        show: whether to show progress.
        watch: told how the training goes: see `TrainingRun`.

    Raises:
        ConfigError: a run folder with another configuration.
    """
    network, outline = initial.network, initial.outline
    features = _build_feature_cache(config, data, initial, show=show)
    train, validation = _build_loaders(config, data, initial, show=show)
    run = TrainingRun(
        network.to(memory_format=torch.channels_last),
        FeatureLoader(train, features),
        ValidationFeatureLoader(validation, features),
        build_plan(config, data, initial),
        config.out,
        device=initial.device,
        show=show,
        watch=watch,
    )
    features.attach(run.trainer)
    result = run.run()
    return FineTuned(
        network=network,
        weights=initial.weights,
        schedule=outline.schedule,
        features=features.plan,
        resolved=outline.resolved,
        augmentation=initial.augmentation,
        result=result,
        device=initial.device,
        precision=initial.precision,
        step_images=outline.step_images,
        notes=initial.notes,
    )


def _build_feature_cache(
    config: RunConfig, data: TrainingData, initial: InitialNetwork, *, show: bool
) -> FeatureCache:
    return FeatureCache(
        initial.network,
        plan_features(config, data, initial),
        config.out,
        device=initial.device,
        autocast=AUTOCAST.get(initial.precision),
        accumulate=config.training.accumulate,
        show=show and is_first(),
    )


def plan_features(config: RunConfig, data: TrainingData, initial: InitialNetwork) -> FeaturePlan:
    """What of the frozen stages is computed once."""
    autocast = AUTOCAST.get(initial.precision)
    return plan_run_features(
        config,
        initial.outline.schedule,
        train=len(data.manifest.split("train")),
        validation=len(data.manifest.split("validation")),
        random=initial.augmentation.amounts.is_random,
        value_bytes=4 if autocast is None else autocast.itemsize,
    )


def _build_loaders(
    config: RunConfig, data: TrainingData, initial: InitialNetwork, *, show: bool
) -> tuple[DataLoader, DataLoader]:
    training, manifest, preprocessing = config.training, data.manifest, data.preprocessing
    kept = len(manifest.split("train")) + len(manifest.split("validation"))
    progress = show and is_first() and sys.stderr.isatty()
    cache = image_bytes(kept, preprocessing.size) <= training.cache_gib * 2**30
    validation = build_dataset(
        as_items(manifest, manifest.split("validation")),
        build_evaluation_chain(preprocessing),
        seed=config.seed,
        cache=cache,
        progress=progress,
    )
    shown = ShareSampler(len(validation), rank=rank(), processes=world_size())
    return (
        build_train_loader(config, data, initial, cache=cache, progress=progress),
        build_loader(validation, FORWARD_BATCH, sampler=shown, workers=training.workers),
    )


def build_train_loader(
    config: RunConfig, data: TrainingData, initial: InitialNetwork, *, cache: bool, progress: bool
) -> DataLoader:
    """Shuffled, augmented batches of the training images: this process's share, in whole steps.

    Args:
        config: of the run.
        data: checked and normalised.
        initial: how many images a batch and a step have, and how they are augmented.
        cache: keep what precedes the first random step in memory.
        progress: show a bar while the cache fills.
    """
    training, manifest = config.training, data.manifest
    train = build_dataset(
        as_items(manifest, manifest.split("train"), uncertain=config.data.uncertain),
        build_train_chain(data.preprocessing, initial.augmentation.amounts),
        seed=config.seed,
        cache=cache,
        fixed_views=training.augmentation.fixed_views,
        progress=progress,
    )
    outline = initial.outline
    whole_steps = outline.steps_per_epoch * outline.step_images
    sampler = EpochSampler(
        len(train), config.seed, count=whole_steps, rank=rank(), processes=world_size()
    )
    return build_loader(
        train, outline.resolved.batch_size, sampler=sampler, workers=training.workers
    )


def build_plan(config: RunConfig, data: TrainingData, initial: InitialNetwork) -> TrainingPlan:
    """Everything about the training that is neither data nor network."""
    training, schema = config.training, data.manifest.schema
    targets = [training_targets(row, config.data.uncertain) for row in data.manifest.split("train")]
    positive_weights = (
        balanced_class_weights(schema.kind, torch.tensor(targets))
        if training.class_weights
        else None
    )
    decisive = config_as_json(config)
    for values, key in (
        *((decisive, key) for key in ("out", "device", "guard")),
        (decisive["evaluation"], "images"),
        *((decisive["training"], key) for key in NOT_DECISIVE),
    ):
        del values[key]
    return TrainingPlan(
        kind=schema.kind,
        schedule=initial.outline.schedule,
        epochs=training.epochs,
        batch_size=initial.outline.resolved.batch_size,
        accumulate=training.accumulate,
        optimizer=training.optimizer,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        focal_gamma=training.focal_gamma if training.loss == "focal" else 0.0,
        class_weights=None if positive_weights is None else tuple(positive_weights.tolist()),
        ema_decay=training.ema_decay,
        select_by=training.select_by,
        patience=training.patience,
        precision=initial.precision,
        compile=training.compile,
        checkpoint_minutes=training.checkpoint_minutes,
        checkpoint_steps=training.checkpoint_steps,
        fingerprint=fingerprint(
            decisive,
            initial.precision,
            world_size(),
            data.preprocessing.digest(),
            initial.weights.sha256,
            initial.augmentation.as_json(),
            sorted(data.survey.digests.values()),
        ),
    )
