"""What a configuration comes to with so many training images, before anything is read or trained.

Imports neither MONAI nor Ignite, so that a dry run answers in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from medres.config import RunConfig
from medres.errors import ConfigError
from medres.training.distributed import world_size
from medres.training.presets import ResolvedPreset, build_schedule, resolve_preset
from medres.training.schedule import Schedule


@dataclass(frozen=True)
class TrainingOutline:
    """A training as it will run.

    Attributes:
        resolved: what preset, batch size and batch-norm policy come to with the weights.
        step_images: images an optimizer step: `accumulate` whole batches of every process.
        steps_per_epoch: whole steps of the training images.
        schedule: of unfreezing and learning rates, in these steps.
    """

    resolved: ResolvedPreset
    step_images: int
    steps_per_epoch: int
    schedule: Schedule

    @property
    def notes(self) -> tuple[str, ...]:
        """What differs from what was asked for, and why; each thing once."""
        return tuple(dict.fromkeys((*self.resolved.notes, *self.schedule.notes)))


def outline_training(
    config: RunConfig, n_train: int, *, weights_are_trained: bool
) -> TrainingOutline:
    """Resolve the preset and lay out its schedule.

    Args:
        config: of the run.
        n_train: training images.
        weights_are_trained: False for random weights.

    Raises:
        ConfigError: too few training images for one batch, or stages that would never open.
    """
    training = config.training
    resolved = resolve_preset(
        training.preset,
        weights_are_trained=weights_are_trained,
        batch_size=training.batch_size,
        batch_norm=config.model.batch_norm,
    )
    step_images = _step_images(n_train, resolved.batch_size, training.accumulate)
    steps = n_train // step_images
    schedule = build_schedule(
        resolved.preset,
        epochs=training.epochs,
        steps_per_epoch=steps,
        base_learning_rate=training.learning_rate,
        warmup_epochs=training.warmup_epochs,
        frozen_epochs=training.frozen_epochs,
        stage_warmup_epochs=training.stage_warmup_epochs,
        adapter_frozen_steps=training.adapter_frozen_steps,
        batch_norm=resolved.batch_norm,
        stem=config.model.stem,
        course=training.course,
        cycle_momentum=training.cycle_momentum,
        stages=training.stages,
        weights_are_trained=weights_are_trained,
    )
    return TrainingOutline(resolved, step_images, steps, schedule)


def _step_images(images: int, batch_size: int, accumulate: int) -> int:
    """Images of an optimizer step; refused where the training images do not suffice for one."""
    parts = [f"training.batch_size {batch_size}"]
    parts += [f"training.accumulate {accumulate}"] if accumulate > 1 else []
    parts += [f"{world_size()} processes"] if world_size() > 1 else []
    step_images = batch_size * accumulate * world_size()
    if images < step_images:
        raise ConfigError(
            f"{' x '.join(parts)}: {step_images} is more than the {images} training images; give "
            "a smaller batch or more images"
        )
    return step_images
