"""The schedule inside MONAI's and Ignite's trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from torch.optim import Optimizer

from medres.errors import ConfigError
from medres.models.stages import StagedNetwork
from medres.training.optimizer import apply_schedule
from medres.training.schedule import Schedule


class ScheduleHandler:
    """Apply a schedule before every iteration of a trainer.

    It remembers nothing: the global step follows from the engine's iteration, so a run that resumes
    in the middle of a phase goes on there. What it freezes stays as it is, bit by bit, whatever
    `optim_set_to_none` the trainer has: a frozen tensor's gradient is dropped, not zeroed.

    Args:
        schedule: of stages and rates.
        network: the `GrayscaleResNet` itself, not its DDP or compiled wrapper.
        optimizer: from `build_optimizer`.
        accumulation: iterations whose gradients make one optimizer step, at least 1. A step of the
            schedule is an optimizer step.
    """

    def __init__(
        self,
        schedule: Schedule,
        network: StagedNetwork,
        optimizer: Optimizer,
        *,
        accumulation: int = 1,
    ) -> None:
        self.schedule = schedule
        self.network = network
        self.optimizer = optimizer
        self.accumulation = accumulation

    def attach(self, engine: Engine) -> None:
        """Follow a trainer, such as MONAI's `SupervisedTrainer`."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Bring network and optimizer to the engine's iteration, which counts from 1."""
        step = (engine.state.iteration - 1) // self.accumulation
        apply_schedule(self.network, self.optimizer, self.schedule, step)

    def state_dict(self) -> dict[str, Any]:
        """The schedule, for a checkpoint."""
        return {"schedule": self.schedule.as_json()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that a checkpoint was made with this schedule.

        Raises:
            ConfigError: naming what differs.
        """
        saved, own = state["schedule"], self.schedule.as_json()
        differing = [key for key in own if saved.get(key) != own[key] and key != "notes"]
        if differing:
            raise ConfigError(
                f"schedule: the checkpoint was made with another {', '.join(differing)}; resume "
                "with the same configuration, or start a new run"
            )
