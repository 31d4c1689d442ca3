"""An exponential moving average of the weights, as an Ignite handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage:
    """Keep θ̄ ← d·θ̄ + (1 − d)·θ after each step, with d = min(decay, (1 + t) / (10 + t)).

    The ramp lets the average leave the first weights quickly (as in TensorFlow's
    ExponentialMovingAverage with `num_updates`). Buffers, the running statistics of batch-norm
    among them, are averaged too. A parameter that has never trained is its own average to the bit,
    and is passed by: in a frozen phase the average would cost more than the training.

    Args:
        network: the one that trains.
        decay: d, from 0 to below 1.
        every: iterations whose gradients make one step.
    """

    def __init__(self, network: nn.Module, decay: float, *, every: int = 1) -> None:
        self.network = network
        self.decay = decay
        self.every = every
        self.average = AveragedModel(network, multi_avg_fn=self._blend, use_buffers=True)
        self.trained: set[str] = set()
        self.untouched: set[int] = set()

    def attach(self, engine: Engine) -> None:
        """Update after every step of a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)

    @property
    def averaged_network(self) -> nn.Module:
        """A network of its own with the averaged weights."""
        module: nn.Module = self.average.module
        return module

    def _update(self, engine: Engine) -> None:
        if engine.state.iteration % self.every == 0:
            parameters = dict(self.network.named_parameters())
            self.trained |= {name for name, p in parameters.items() if p.requires_grad}
            self.untouched = {p.data_ptr() for n, p in parameters.items() if n not in self.trained}
            self.average.update_parameters(self.network)

    @torch.no_grad()
    def _blend(
        self,
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        count: Tensor | int,
    ) -> None:
        steps = int(count)
        weight = 1 - min(self.decay, (1 + steps) / (10 + steps))
        for mean, value in zip(averaged, current, strict=True):
            if value.data_ptr() in self.untouched:
                continue
            if mean.is_floating_point():
                mean.lerp_(value.to(mean.dtype), weight)
            else:
                mean.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights and how many steps they have seen."""
        state: dict[str, Any] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved average; the network has its saved weights already."""
        self.average.load_state_dict(state)
        pairs = zip(
            self.network.named_parameters(), self.averaged_network.parameters(), strict=True
        )
        self.trained = {name for (name, p), mean in pairs if not torch.equal(p, mean)}
