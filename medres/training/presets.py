"""Named schedules: which stages a preset opens, when, and at which share of the base rate.

====================  =======  =====  ======  ======  ======  ======  ====  =====================
preset                adapter  conv1  layer1  layer2  layer3  layer4  head  opens
====================  =======  =====  ======  ======  ======  ======  ====  =====================
freeze_then_finetune  1        .5     .5      .25     .125    .125    1     head, adapter; all
discriminative        1        .5     .5      .3      .2      .2      1     all
gradual               1        .5     .5      .3      .2      .2      1     head down, one by one
layerwise_decay       1        .0084  .022    .057    .15     .38     1     all
surgical              1        .5     .5      –       –       –       1     first block and head
batch_norm_affine     1        1      1       1       1       1       1     norms' weights, biases
linear_probe          1        –      –       –       –       –       1     head and adapter
full                  1        1      1       1       1       1       1     all
====================  =======  =====  ======  ======  ======  ======  ====  =====================

The first three are the recipes that this project grew from. Their rates fall with depth, against
the usual order, which is `layerwise_decay`: each stage 2.6 times slower than the one above it
(Howard & Ruder, ACL 2018, arXiv:1801.06146). `surgical` trains the first block, for a shift at the
level of the input, such as another scanner (Lee et al., ICLR 2023, arXiv:2210.11466).
`batch_norm_affine` follows Frankle et al., ICLR 2021, arXiv:2003.00152. Adapter and head are new
layers, and take the base rate in every preset.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from medres.config import Preset, StageConfig, StagesConfig, StemName
from medres.errors import ConfigError
from medres.models.stages import STAGES, Tensors
from medres.models.stem import STEMS
from medres.training.course import COURSES, Course
from medres.training.schedule import BatchNorm, Schedule, StagePlan

PRESETS: tuple[Preset, ...] = get_args(Preset)

DECAY = 1 / 2.6
NEVER = None
SMALL_BATCH = 16
"""Up to so many images a device, batch statistics are too noisy to train with."""
RANDOM_WEIGHTS_BATCH = 32


@dataclass(frozen=True)
class Recipe:
    """A preset, stage by stage in the order of the data.

    Attributes:
        shares: of the base rate.
        opens: after how many frozen periods a stage opens; None for never.
        trunk: which tensors train between adapter and head.
    """

    shares: tuple[float, ...]
    opens: tuple[int | None, ...] = (0, 0, 0, 0, 0, 0, 0)
    trunk: Tensors = "all"

    @property
    def periods(self) -> int:
        """Frozen periods until the last stage opens."""
        return max(period for period in self.opens if period is not None)


RECIPES: Mapping[Preset, Recipe] = {
    "freeze_then_finetune": Recipe((1, 0.5, 0.5, 0.25, 0.125, 0.125, 1), (0, 1, 1, 1, 1, 1, 0)),
    "discriminative": Recipe((1, 0.5, 0.5, 0.3, 0.2, 0.2, 1)),
    "gradual": Recipe((1, 0.5, 0.5, 0.3, 0.2, 0.2, 1), (0, 4, 4, 3, 2, 1, 0)),
    "layerwise_decay": Recipe((1, DECAY**5, DECAY**4, DECAY**3, DECAY**2, DECAY, 1)),
    "surgical": Recipe((1, 0.5, 0.5, 1, 1, 1, 1), (0, 0, 0, NEVER, NEVER, NEVER, 0)),
    "batch_norm_affine": Recipe((1,) * 7, trunk="batch_norm"),
    "linear_probe": Recipe((1,) * 7, (0, NEVER, NEVER, NEVER, NEVER, NEVER, 0)),
    "full": Recipe((1,) * 7),
}


@dataclass(frozen=True)
class ResolvedPreset:
    """What a preset comes to with given weights and batch size.

    Attributes:
        preset: of unfreezing.
        batch_size: images a step and device.
        batch_norm: of the stages that train.
        notes: what differs from what was asked for, and why.
    """

    preset: Preset
    batch_size: int
    batch_norm: BatchNorm
    notes: tuple[str, ...] = ()


def resolve_preset(
    preset: Preset,
    *,
    weights_are_trained: bool,
    batch_size: int,
    batch_norm: Literal["auto", "train", "eval"] = "auto",
) -> ResolvedPreset:
    """Let a preset meet the weights: freezing and fixed statistics presume trained ones.

    Frozen random layers hold noise, and batch-norm in evaluation mode with statistics 0 and 1 does
    not normalise at all (a ResNet-152 then gives logits of 10^7).

    Args:
        preset: asked for.
        weights_are_trained: False for random weights.
        batch_size: images a step and device.
        batch_norm: auto is eval for trained weights and at most 16 images, else train.

    Returns:
        The same for trained weights. For random ones: full, batch-norm in train mode, and more
        than 16 images a batch; with a note for each change.

    Raises:
        ConfigError: a preset or policy that does not exist, or no images.
    """
    _check_choice("preset", preset, PRESETS)
    _check_choice("batch_norm", batch_norm, ("auto", "train", "eval"))
    if batch_size < 1:
        raise ConfigError(f"batch_size: {batch_size} is not accepted; give at least 1")
    if weights_are_trained:
        if batch_norm == "auto":
            batch_norm = "eval" if batch_size <= SMALL_BATCH else "train"
        return ResolvedPreset(preset, batch_size, batch_norm)
    notes = []
    if preset != "full":
        notes.append(
            f"preset {preset} became full: the weights are random, and freezing random layers "
            "would keep noise"
        )
    if batch_norm == "eval":
        notes.append(
            "batch_norm eval became train: random weights have no running statistics to keep"
        )
    if batch_size <= SMALL_BATCH:
        notes.append(
            f"batch_size {batch_size} became {RANDOM_WEIGHTS_BATCH}: from random weights, "
            "batch-norm learns its statistics from the batch and needs more than "
            f"{SMALL_BATCH} images"
        )
        batch_size = RANDOM_WEIGHTS_BATCH
    return ResolvedPreset("full", batch_size, "train", tuple(notes))


def build_schedule(
    preset: Preset,
    *,
    epochs: float,
    steps_per_epoch: int,
    base_learning_rate: float = 1e-3,
    warmup_epochs: float = 1.0,
    frozen_epochs: float = 3.0,
    stage_warmup_epochs: float = 1.0,
    adapter_frozen_steps: int = 0,
    batch_norm: BatchNorm = "train",
    stem: StemName = "duplicate",
    course: Course = "cosine",
    cycle_momentum: bool = False,
    stages: StagesConfig | None = None,
    weights_are_trained: bool = True,
) -> Schedule:
    """The schedule of a preset, in steps.

    Args:
        preset: see the table above.
        epochs: of the whole training, above 0.
        steps_per_epoch: optimizer steps.
        base_learning_rate: of head and adapter; the table above gives the others' share.
        warmup_epochs: of the course, below `epochs`; one_cycle has its own.
        frozen_epochs: how long freeze_then_finetune keeps the trunk frozen, and how long each
            step of gradual lasts. Every stage must open before the end.
        stage_warmup_epochs: of each stage that opens later: Adam's first step on a tensor is a
            full learning rate long, whatever the gradient.
        adapter_frozen_steps: keep the adapter as it is for so many steps; -1 for good.
        batch_norm: of the stages that train.
        stem: only `adapter` has a stage of that name.
        course: of the factor that all rates share.
        cycle_momentum: with one_cycle, let the momentum run against the rate.
        stages: where single stages differ from the preset.
        weights_are_trained: for random weights every preset becomes full with batch-norm in train
            mode, `stages` are ignored, and the schedule's notes say so (see `resolve_preset`). An
            adapter may still be frozen: its first values are chosen, not random.

    Raises:
        ConfigError: a name that does not exist, a length that is not positive, or stages that
            would never open.
    """
    _check_choice("preset", preset, PRESETS)
    _check_choice("course", course, COURSES)
    _check_choice("stem", stem, STEMS)
    _check_choice("batch_norm", batch_norm, ("train", "eval"))
    resolved = resolve_preset(
        preset,
        weights_are_trained=weights_are_trained,
        batch_size=RANDOM_WEIGHTS_BATCH,
        batch_norm=batch_norm,
    )
    notes, stages = list(resolved.notes), stages or StagesConfig()
    if not weights_are_trained and stages != StagesConfig():
        notes.append("stages were ignored: the weights are random, and all stages train")
        stages = StagesConfig()
    total = round(epochs * steps_per_epoch)
    _check_lengths(total, steps_per_epoch, base_learning_rate, epochs, warmup_epochs)
    if not stage_warmup_epochs >= 0:
        raise ConfigError(
            f"stage_warmup_epochs: {stage_warmup_epochs:g} is not accepted; give 0 or more"
        )
    if cycle_momentum and course != "one_cycle":
        raise ConfigError(
            f"cycle_momentum: needs the course one_cycle, found {course}; leave it out, or give "
            "one_cycle"
        )
    _check_frozen_epochs(resolved.preset, frozen_epochs, epochs, steps_per_epoch, total)
    plans = _plan_stages(
        RECIPES[resolved.preset], stem, base_learning_rate, frozen_epochs * steps_per_epoch
    )
    plans = [_override(plan, getattr(stages, plan.stage), steps_per_epoch) for plan in plans]
    if stem == "adapter":
        plans[0] = _hold_adapter(plans[0], adapter_frozen_steps)
    _check_openings(plans, total, steps_per_epoch)
    warmup = round(stage_warmup_epochs * steps_per_epoch)
    return Schedule(
        preset=resolved.preset,
        stages=tuple(
            dataclasses.replace(p, warmup_steps=warmup if p.opens_at else 0) for p in plans
        ),
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        warmup_steps=round(warmup_epochs * steps_per_epoch),
        course=course,
        batch_norm=resolved.batch_norm,
        cycle_momentum=cycle_momentum,
        notes=tuple(notes),
    )


def _plan_stages(recipe: Recipe, stem: StemName, base: float, period: float) -> list[StagePlan]:
    return [
        StagePlan(
            stage=stage,
            opens_at=None if opens is None else round(opens * period),
            learning_rate=base * share,
            tensors="all" if stage in ("adapter", "head") else recipe.trunk,
        )
        for stage, share, opens in zip(STAGES, recipe.shares, recipe.opens, strict=True)
        if stage != "adapter" or stem == "adapter"
    ]


def _override(plan: StagePlan, config: StageConfig, steps_per_epoch: int) -> StagePlan:
    """The plan of a stage as the configuration changes it."""
    opens_at, rate = plan.opens_at, plan.learning_rate
    if config.opens_at_epoch is not None:
        never = config.opens_at_epoch == "never"
        opens_at = None if never else round(float(config.opens_at_epoch) * steps_per_epoch)
    if config.learning_rate is not None:
        rate = config.learning_rate
    return dataclasses.replace(plan, opens_at=opens_at, learning_rate=rate)


def _hold_adapter(plan: StagePlan, frozen_steps: int) -> StagePlan:
    if frozen_steps < -1:
        raise ConfigError(
            f"adapter_frozen_steps: {frozen_steps} is not accepted; give 0 or more, or -1 to keep "
            "the adapter frozen"
        )
    if frozen_steps == -1 or plan.opens_at is None:
        return dataclasses.replace(plan, opens_at=None)
    return dataclasses.replace(plan, opens_at=max(plan.opens_at, frozen_steps))


def _check_choice(name: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ConfigError(f"{name}: {value!r} is not accepted; give one of {', '.join(accepted)}")


def _check_lengths(
    total: int, steps_per_epoch: int, base_learning_rate: float, epochs: float, warmup: float
) -> None:
    if steps_per_epoch < 1 or total < 1:
        raise ConfigError(
            f"epochs: {epochs:g} of {steps_per_epoch} steps are not accepted; give at least "
            "one step"
        )
    if not base_learning_rate > 0:
        raise ConfigError(
            f"base_learning_rate: {base_learning_rate:g} is not accepted; give a rate above 0"
        )
    if not 0 <= warmup < epochs:
        raise ConfigError(
            f"warmup_epochs: {warmup:g} is not accepted; give 0 or more and less than the "
            f"{epochs:g} epochs"
        )


def _check_frozen_epochs(
    preset: Preset, frozen_epochs: float, epochs: float, steps_per_epoch: int, total: int
) -> None:
    periods = RECIPES[preset].periods
    if frozen_epochs < 0 or round(periods * frozen_epochs * steps_per_epoch) >= total:
        raise ConfigError(
            f"frozen_epochs: {frozen_epochs:g} is not accepted; with {epochs:g} epochs {preset} "
            f"takes 0 or more and less than {epochs / max(1, periods):g}, or its "
            "last stage never opens"
        )


def _check_openings(plans: list[StagePlan], total: int, steps_per_epoch: int) -> None:
    """Refuse stages that are to open after the end, rates that do not train, and a frozen start."""
    for plan in plans:
        if plan.opens_at is not None and not 0 <= plan.opens_at < total:
            raise ConfigError(
                f"stage {plan.stage}: opens at step {plan.opens_at} of {total} "
                f"({steps_per_epoch} an epoch); give an earlier one, or never"
            )
        if not plan.learning_rate > 0:
            raise ConfigError(
                f"stage {plan.stage}: learning_rate {plan.learning_rate:g} is not accepted; give "
                "a rate above 0, or opens_at_epoch never"
            )
    if not any(plan.is_open(0) for plan in plans):
        raise ConfigError(
            "stages: none trains at the first step; let at least one open at epoch 0, such as head"
        )
