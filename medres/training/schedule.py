"""Unfreezing as data: which stages train at a step, and at which learning rate.

A schedule is frozen and pure in the global step. Nothing has to be remembered, so a run resumes
anywhere, and the whole course can be printed before it begins.

The presets' rates are those of the recipes this project grew from, as shares of the base rate:

============================  =======  =====  ======  ======  ======  ======  ====
preset                        adapter  conv1  layer1  layer2  layer3  layer4  head
============================  =======  =====  ======  ======  ======  ======  ====
freeze_then_finetune          1        .5     .5      .25     .125    .125    1
discriminative and gradual    1        .5     .5      .3      .2      .2      1
full                          1        1      1       1       1       1       1
============================  =======  =====  ======  ======  ======  ======  ====

They fall with depth, against the usual order: a gray image of another scanner differs from a
photograph first of all in its low-level features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from medres.errors import ConfigError
from medres.models.stages import STAGES, Stage, check_stage
from medres.models.stem import STEMS, StemName
from medres.training.course import COURSES, Course, course_factor

Preset = Literal["freeze_then_finetune", "discriminative", "gradual", "full"]
BatchNorm = Literal["train", "eval"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

SHARES: Mapping[Preset, Mapping[Stage, float]] = {
    "freeze_then_finetune": dict(
        zip(STAGES, (1.0, 0.5, 0.5, 0.25, 0.125, 0.125, 1.0), strict=True)
    ),
    "discriminative": dict(zip(STAGES, (1.0, 0.5, 0.5, 0.3, 0.2, 0.2, 1.0), strict=True)),
    "gradual": dict(zip(STAGES, (1.0, 0.5, 0.5, 0.3, 0.2, 0.2, 1.0), strict=True)),
    "full": dict.fromkeys(STAGES, 1.0),
}
# After how many frozen periods a stage opens; one that is not named is open from the start.
OPENING: Mapping[Preset, Mapping[Stage, int]] = {
    "freeze_then_finetune": dict.fromkeys(STAGES[1:-1], 1),
    "discriminative": {},
    "gradual": {"layer4": 1, "layer3": 2, "layer2": 3, "layer1": 4, "conv1": 4},
    "full": {},
}
SMALL_BATCH = 16
"""Up to so many images a device, batch statistics are too noisy to train with."""
RANDOM_WEIGHTS_BATCH = 32


@dataclass(frozen=True)
class StageState:
    """One stage at one step.

    Attributes:
        active: whether it trains; otherwise neither its weights nor its statistics move.
        learning_rate: 0 where it does not.
        batch_norm: eval keeps the running statistics as they are; always so for a frozen stage.
    """

    active: bool
    learning_rate: float
    batch_norm: BatchNorm


@dataclass(frozen=True)
class StagePlan:
    """One stage over the whole training.

    Attributes:
        stage: its name.
        opens_at: first global step, from 0, at which it trains.
        learning_rate: before the course's and the warm-up's factors, above 0.
        warmup_steps: from nearly 0 to its rate, once opened.
    """

    stage: Stage
    opens_at: int
    learning_rate: float
    warmup_steps: int = 0

    def warmup(self, step: int) -> float:
        """Factor of this stage's own warm-up, in (0, 1]."""
        return min(1.0, (step - self.opens_at + 1) / max(1, self.warmup_steps))


@dataclass(frozen=True)
class Schedule:
    """Stages and learning rates as a pure function of the global step.

    Attributes:
        preset: that it was built from.
        stages: in the order of the data; no adapter for networks without one.
        total_steps: of the whole training.
        steps_per_epoch: for people: the table counts epochs.
        warmup_steps: of the course.
        course: of the factor that all rates share.
        batch_norm: of the stages that train.
        notes: what differs from what was asked for.
    """

    preset: Preset
    stages: tuple[StagePlan, ...]
    total_steps: int
    steps_per_epoch: int
    warmup_steps: int = 0
    course: Course = "cosine"
    batch_norm: BatchNorm = "train"
    notes: tuple[str, ...] = ()

    def factor(self, step: int) -> float:
        """The factor that all rates share at a step; past the end, that of the last step.

        Raises:
            ConfigError: a negative step.
        """
        if step < 0:
            raise ConfigError(f"step: {step} is not accepted; the first global step is 0")
        return course_factor(self.course, step, self.total_steps, self.warmup_steps)

    def at(self, step: int) -> Mapping[Stage, StageState]:
        """Each stage at a global step, from 0. Past the end, as at the last step.

        Raises:
            ConfigError: a negative step.
        """
        factor = self.factor(step)
        return MappingProxyType(
            {plan.stage: self._state(plan, step, factor) for plan in self.stages}
        )

    def _state(self, plan: StagePlan, step: int, factor: float) -> StageState:
        if step < plan.opens_at:
            return StageState(False, 0.0, "eval")
        return StageState(True, plan.learning_rate * factor * plan.warmup(step), self.batch_norm)

    @property
    def openings(self) -> tuple[int, ...]:
        """The steps at which stages open, ascending; each begins a phase."""
        return tuple(sorted({plan.opens_at for plan in self.stages}))

    def as_table(self) -> list[dict[str, Any]]:
        """One row an epoch, as things stand at its last step.

        `epoch` and `phase` from 1; `learning_rates` of the stages that train; those `frozen`; those
        with batch-norm in evaluation mode, `batch_norm_eval`.
        """
        rows = []
        for epoch in range(1, math.ceil(self.total_steps / self.steps_per_epoch) + 1):
            step = min(epoch * self.steps_per_epoch, self.total_steps) - 1
            states = self.at(step)
            rows.append(
                {
                    "epoch": epoch,
                    "phase": sum(opens_at <= step for opens_at in self.openings),
                    "learning_rates": {n: s.learning_rate for n, s in states.items() if s.active},
                    "frozen": [n for n, s in states.items() if not s.active],
                    "batch_norm_eval": [n for n, s in states.items() if s.batch_norm == "eval"],
                }
            )
        return rows

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        values["stages"] = list(values["stages"])
        values["notes"] = list(values["notes"])
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Schedule:
        """Rebuild what `as_json` gave.

        Raises:
            ConfigError: missing or unknown keys, or stages that do not exist.
        """
        try:
            stages = tuple(
                StagePlan(**{**plan, "stage": check_stage(plan["stage"])})
                for plan in values["stages"]
            )
            return cls(**{**values, "stages": stages, "notes": tuple(values["notes"])})
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"schedule: not one that medres wrote ({error}); its keys are "
                f"{', '.join(f.name for f in fields(cls))}"
            ) from error


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
    batch_norm: BatchNorm = "train",
    stem: StemName = "duplicate",
    course: Course = "cosine",
    weights_are_trained: bool = True,
) -> Schedule:
    """The schedule of a preset, in steps.

    Args:
        preset: freeze_then_finetune (head and adapter first, then all), discriminative (all, each
            stage at its rate), gradual (head and adapter, then layer4, layer3, layer2, and layer1
            with conv1) or full (all at one rate).
        epochs: of the whole training, above 0.
        steps_per_epoch: optimizer steps.
        base_learning_rate: of head and adapter; the table above gives the others' share.
        warmup_epochs: of the course, below `epochs`.
        frozen_epochs: how long freeze_then_finetune keeps the trunk frozen, and how long each
            step of gradual lasts. Every stage must open before the end.
        stage_warmup_epochs: of each stage that opens later: Adam's first step on a tensor is a
            full learning rate long, whatever the gradient.
        batch_norm: of the stages that train.
        stem: only `adapter` has a stage of that name.
        course: of the factor that all rates share.
        weights_are_trained: for random weights every preset becomes full with batch-norm in train
            mode, and the schedule's notes say so (see `resolve_preset`).

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
    preset = resolved.preset
    total = round(epochs * steps_per_epoch)
    _check_lengths(total, steps_per_epoch, base_learning_rate, epochs, warmup_epochs)
    opening, frozen = OPENING[preset], frozen_epochs * steps_per_epoch
    last = round(max(opening.values(), default=0) * frozen)
    if not stage_warmup_epochs >= 0:
        raise ConfigError(
            f"stage_warmup_epochs: {stage_warmup_epochs:g} is not accepted; give 0 or more"
        )
    if frozen_epochs < 0 or last >= total:
        raise ConfigError(
            f"frozen_epochs: {frozen_epochs:g} is not accepted; with {epochs:g} epochs {preset} "
            f"takes 0 or more and less than {epochs / max(opening.values(), default=1):g}, or its "
            "last stage never opens"
        )
    warmup = round(stage_warmup_epochs * steps_per_epoch)
    plans = tuple(
        StagePlan(
            stage=stage,
            opens_at=(opens := round(opening.get(stage, 0) * frozen)),
            learning_rate=base_learning_rate * SHARES[preset][stage],
            warmup_steps=warmup if opens else 0,
        )
        for stage in STAGES
        if stage != "adapter" or stem == "adapter"
    )
    return Schedule(
        preset=preset,
        stages=plans,
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        warmup_steps=round(warmup_epochs * steps_per_epoch),
        course=course,
        batch_norm=resolved.batch_norm,
        notes=resolved.notes,
    )


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
