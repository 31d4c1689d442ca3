"""Unfreezing as data: which stages train at a step, and at which learning rate.

A schedule is frozen and pure in the global step. Nothing has to be remembered, so a run resumes
anywhere, and the whole course can be printed before it begins. A step is one of the optimizer's:
with gradient accumulation it spans several batches. `presets` builds schedules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from medres.errors import ConfigError
from medres.models.stages import Stage, Tensors, check_stage
from medres.training.course import Course, course_factor, one_cycle_momentum

BatchNorm = Literal["train", "eval"]


@dataclass(frozen=True)
class StageState:
    """One stage at one step.

    Attributes:
        active: whether it trains; otherwise neither its weights nor its statistics move.
        learning_rate: 0 where it does not.
        batch_norm: eval keeps the running statistics as they are; always so for a frozen stage.
        tensors: which of its tensors train, where it does.
    """

    active: bool
    learning_rate: float
    batch_norm: BatchNorm
    tensors: Tensors = "all"


@dataclass(frozen=True)
class StagePlan:
    """One stage over the whole training.

    Attributes:
        stage: its name.
        opens_at: first global step, from 0, at which it trains; None for never.
        learning_rate: before the course's and the warm-up's factors, above 0.
        warmup_steps: from nearly 0 to its rate, once opened.
        tensors: which of its tensors train.
    """

    stage: Stage
    opens_at: int | None
    learning_rate: float
    warmup_steps: int = 0
    tensors: Tensors = "all"

    def is_open(self, step: int) -> bool:
        """Whether it trains at a step."""
        return self.opens_at is not None and step >= self.opens_at

    def warmup(self, step: int) -> float:
        """Factor of this stage's own warm-up, in (0, 1]; for steps at which it is open."""
        return min(1.0, (step - (self.opens_at or 0) + 1) / max(1, self.warmup_steps))


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
        cycle_momentum: let the momentum of one_cycle run against the rate.
        notes: what differs from what was asked for.
    """

    preset: str
    stages: tuple[StagePlan, ...]
    total_steps: int
    steps_per_epoch: int
    warmup_steps: int = 0
    course: Course = "cosine"
    batch_norm: BatchNorm = "train"
    cycle_momentum: bool = False
    notes: tuple[str, ...] = ()

    def factor(self, step: int) -> float:
        """The factor that all rates share at a step; past the end, that of the last step.

        Raises:
            ConfigError: a negative step.
        """
        return course_factor(self.course, self._within(step), self.total_steps, self.warmup_steps)

    def momentum(self, step: int) -> float | None:
        """The momentum at a step (Adam's first beta); None leaves the optimizer its own.

        Raises:
            ConfigError: a negative step.
        """
        step = self._within(step)
        return one_cycle_momentum(step, self.total_steps) if self.cycle_momentum else None

    def at(self, step: int) -> Mapping[Stage, StageState]:
        """Each stage at a global step, from 0. Past the end, as at the last step.

        Raises:
            ConfigError: a negative step.
        """
        step, factor = self._within(step), self.factor(step)
        return MappingProxyType(
            {plan.stage: self._state(plan, step, factor) for plan in self.stages}
        )

    def _within(self, step: int) -> int:
        if step < 0:
            raise ConfigError(f"step: {step} is not accepted; the first global step is 0")
        return min(step, self.total_steps - 1)

    def _state(self, plan: StagePlan, step: int, factor: float) -> StageState:
        if not plan.is_open(step):
            return StageState(False, 0.0, "eval", plan.tensors)
        rate = plan.learning_rate * factor * plan.warmup(step)
        return StageState(True, rate, self.batch_norm, plan.tensors)

    @property
    def openings(self) -> tuple[int, ...]:
        """The steps at which stages open, ascending; each begins a phase."""
        return tuple(sorted({p.opens_at for p in self.stages if p.opens_at is not None}))

    @property
    def trained(self) -> dict[Stage, Literal["none", "all", "batch_norm"]]:
        """Of each stage the tensors that trained by the end: none of one that was always frozen."""
        last = self.total_steps - 1
        return {plan.stage: plan.tensors if plan.is_open(last) else "none" for plan in self.stages}

    @property
    def epochs(self) -> int:
        """Epochs, a last partial one counted."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    def as_table(self) -> list[dict[str, Any]]:
        """One row an epoch, as things stand at its last step.

        `epoch` and `phase` from 1; `learning_rates` of the stages that train; those `frozen`; those
        with batch-norm in evaluation mode, `batch_norm_eval`; those in which batch-norm's weights
        and biases train alone, `affine_only`.
        """
        rows = []
        for epoch in range(1, self.epochs + 1):
            step = min(epoch * self.steps_per_epoch, self.total_steps) - 1
            states = self.at(step)
            rows.append(
                {
                    "epoch": epoch,
                    "phase": sum(opens_at <= step for opens_at in self.openings),
                    "learning_rates": {n: s.learning_rate for n, s in states.items() if s.active},
                    "frozen": [n for n, s in states.items() if not s.active],
                    "batch_norm_eval": [n for n, s in states.items() if s.batch_norm == "eval"],
                    "affine_only": [
                        n for n, s in states.items() if s.active and s.tensors == "batch_norm"
                    ],
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
