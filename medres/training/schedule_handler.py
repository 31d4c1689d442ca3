"""The schedule inside MONAI's and Ignite's trainers."""

from __future__ import annotations

import math
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
        schedule: of stages and rates, in optimizer steps.
        network: the `GrayscaleResNet` itself, not its DDP or compiled wrapper.
        optimizer: from `build_optimizer`.
        accumulation: iterations whose gradients make one optimizer step, as the trainer has it;
            see `optimizer_step`.

    Raises:
        ConfigError: fewer than one iteration a step.
    """

    def __init__(
        self,
        schedule: Schedule,
        network: StagedNetwork,
        optimizer: Optimizer,
        *,
        accumulation: int = 1,
    ) -> None:
        if accumulation < 1:
            raise ConfigError(f"accumulation: {accumulation} is not accepted; give at least 1")
        self.schedule = schedule
        self.network = network
        self.optimizer = optimizer
        self.accumulation = accumulation

    def attach(self, engine: Engine) -> None:
        """Follow a trainer, such as MONAI's `SupervisedTrainer`."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Bring network and optimizer to the step of the engine's iteration."""
        state = engine.state
        step = optimizer_step(state.iteration, state.epoch_length, self.accumulation)
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


def optimizer_step(iteration: int, epoch_length: int | None, accumulation: int = 1) -> int:
    """The optimizer's step, from 0, to which an iteration adds its gradient.

    Steps never span two epochs: the last one of an epoch takes what is left, as MONAI's
    `SupervisedTrainer` does with `accumulation_steps`. So an epoch has
    ceil(epoch_length / accumulation) steps. Ignite's own `gradient_accumulation_steps` goes on
    into the next epoch: with it, let `accumulation` divide the epoch.

    Args:
        iteration: Ignite's, from 1, over all epochs.
        epoch_length: iterations an epoch; None where it is not known, and then steps go through.
        accumulation: iterations a step, at least 1.
    """
    index = iteration - 1
    if epoch_length is None:
        return index // accumulation
    epoch, within = divmod(index, epoch_length)
    return epoch * math.ceil(epoch_length / accumulation) + within // accumulation
