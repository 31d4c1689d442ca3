"""The network as a trainer calls it: compiled, and kept equal in several processes, by phases."""

from __future__ import annotations

import os
import shutil

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.training.distributed import world_size

BACKEND = "inductor"
"""Of `torch.compile`: PyTorch's own, which needs a C++ compiler on a CPU."""


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for a CPU without a C++ compiler, before the training begins.

    Raises:
        ConfigError: none was found.
    """
    names = (os.environ.get("CXX", "g++"), "g++", "clang++", "cl")
    if device.type == "cpu" and not any(map(shutil.which, names)):
        raise ConfigError(
            "training.compile: torch.compile needs a C++ compiler for a CPU, and there is no g++, "
            "clang++ or cl; install one, name it in CXX, or leave training.compile off"
        )


class PhaseWrapping:
    """Wraps a trainer's network anew whenever other tensors train.

    DistributedDataParallel looks once, when it is made, at what requires a gradient: what opens
    later would never be synchronised, and what is frozen later is an error. `torch.compile` keeps
    eight graphs of a function and then runs it eagerly without a word; each phase needs one of its
    own, so those of past phases are thrown away.

    Attach it after the schedule's handler, which decides what trains.

    Args:
        network: itself, on its device.
        compiled: whether to use `torch.compile`.
        accumulate: iterations whose gradients make one optimizer step; the processes exchange
            gradients in the last of them only.
    """

    def __init__(
        self, network: GrayscaleResNet, *, compiled: bool = False, accumulate: int = 1
    ) -> None:
        self.network = network
        self.compiled = compiled
        self.accumulate = accumulate
        self.phase: tuple[frozenset[str], ...] | None = None
        self.synchronised: DistributedDataParallel | None = None

    def attach(self, engine: Engine) -> None:
        """Follow a `SupervisedTrainer`."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._follow)

    def _follow(self, engine: Engine) -> None:
        parameters = self.network.named_parameters()
        trained = frozenset(name for name, tensor in parameters if tensor.requires_grad)
        phase = (trained, self.network.batch_norm_eval)
        if phase != self.phase:
            self.phase = phase
            self.synchronised = engine.network = None  # the old wrapper's hooks go with it
            engine.network = self._wrap()
        if self.synchronised is not None:
            # What `no_sync()` sets; as a context it would have to span two events.
            last = engine.state.iteration % self.accumulate == 0
            self.synchronised.require_backward_grad_sync = last

    def _wrap(self) -> nn.Module:
        network: nn.Module = self.network
        if self.compiled:
            torch.compiler.reset()
        if world_size() > 1:
            device = next(network.parameters()).device
            own_gpu = [device.index] if device.type == "cuda" else None
            self.synchronised = DistributedDataParallel(network, device_ids=own_gpu)
            network = self.synchronised
        if self.compiled:
            network = torch.compile(network, backend=BACKEND)  # type: ignore[assignment]
        return network
