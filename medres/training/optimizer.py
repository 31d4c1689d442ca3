"""One optimizer that holds every tensor from step 0, grouped by stage and by weight decay.

Nothing is added later: a group that joins late breaks most learning-rate schedulers, and another
order of groups on resume silently swaps their moments. A frozen tensor has no gradient, so the
optimizer passes it by: no momentum and no weight decay moves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from medres.errors import ConfigError, WeightsError
from medres.models.stages import (
    StagedNetwork,
    apply_stage_states,
    stage_modules,
    stage_parameters,
    trainable_stages,
)
from medres.training.schedule import Schedule

OptimizerName = Literal["adamw", "adam", "sgd"]
DECAYED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Only the `weight` of these types decays; norms and biases do not. By type: names that contain
`bn` miss the norms called `downsample.1`."""


def build_optimizer(
    network: StagedNetwork,
    weight_decay: float = 1e-4,
    *,
    name: OptimizerName = "adamw",
    learning_rate: float = 1e-3,
) -> Optimizer:
    """An optimizer over every parameter, each once.

    A group is one stage's tensors with or without decay, and says so: `stage`, `name`
    ("layer1.decay", "layer1.no_decay") and `param_names`. Loading a state whose groups differ
    raises.

    Args:
        network: a `GrayscaleResNet`.
        weight_decay: on the weights of convolutions and of the head, 0 or more.
        name: adamw; adam, which adds the decay to the gradient; or sgd with Nesterov momentum 0.9.
        learning_rate: until a schedule sets it.

    Raises:
        ConfigError: no such optimizer.
    """
    groups = _groups(network, weight_decay)
    optimizer: Optimizer
    if name == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    elif name == "adam":
        optimizer = torch.optim.Adam(groups, lr=learning_rate)
    elif name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
    else:
        raise ConfigError(
            f"optimizer: {name!r} is not accepted; give one of {', '.join(get_args(OptimizerName))}"
        )
    optimizer.register_load_state_dict_pre_hook(check_group_names)
    return optimizer


def _groups(network: StagedNetwork, weight_decay: float) -> list[dict[str, Any]]:
    groups = []
    for stage in trainable_stages(network):
        decayed = _decayed_tensors(network, stage)
        parameters = stage_parameters(network, stage)
        for suffix, decay in (("decay", weight_decay), ("no_decay", 0.0)):
            chosen = [
                (name, parameter)
                for name, parameter in parameters.items()
                if (id(parameter) in decayed) == (suffix == "decay")
            ]
            if chosen:
                groups.append(
                    {
                        "params": chosen,
                        "weight_decay": decay,
                        "stage": stage,
                        "name": f"{stage}.{suffix}",
                    }
                )
    return groups


def _decayed_tensors(network: StagedNetwork, stage: str) -> set[int]:
    """Identities of the weights that decay."""
    return {
        id(module.weight)
        for top in stage_modules(network, stage)
        for module in top.modules()
        if isinstance(module, DECAYED)
    }


def check_group_names(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse an optimizer state whose groups hold other tensors, or the same in another order.

    Raises:
        WeightsError: naming the first group that differs.
    """
    saved, own = state["param_groups"], optimizer.param_groups
    for index in range(max(len(saved), len(own))):
        found = saved[index] if index < len(saved) else {}
        expected = own[index] if index < len(own) else {}
        if any(found.get(key) != expected.get(key) for key in ("name", "param_names")):
            raise WeightsError(
                f"optimizer state: group {index} is {found.get('name')!r} with "
                f"{len(found.get('param_names', ()))} tensors, expected {expected.get('name')!r} "
                f"with {len(expected.get('param_names', ()))}; give the state of a run with the "
                "same network and stem"
            )


def apply_schedule(
    network: StagedNetwork, optimizer: Optimizer, schedule: Schedule, step: int
) -> None:
    """Bring network and optimizer to a global step: what trains, batch-norm, rates, momentum.

    Call it before the forward pass. In a loop without MONAI::

        for step, (image, label) in enumerate(batches):
            apply_schedule(network, optimizer, schedule, step)
            optimizer.zero_grad()
            loss(network.train()(image), label).backward()
            optimizer.step()

    Raises:
        ConfigError: the schedule is for another stem, or a negative step.
    """
    states = schedule.at(step)
    own = {group["stage"] for group in optimizer.param_groups}
    if own != set(states):
        raise ConfigError(
            f"schedule: is for the stages {', '.join(states)}, but the optimizer has "
            f"{', '.join(sorted(own))}; build both with the network's own stem"
        )
    apply_stage_states(
        network,
        [stage for stage, state in states.items() if state.active],
        [stage for stage, state in states.items() if state.batch_norm == "eval"],
        [stage for stage, state in states.items() if state.tensors == "batch_norm"],
    )
    momentum = schedule.momentum(step)
    for group in optimizer.param_groups:
        group["lr"] = states[group["stage"]].learning_rate
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif momentum is not None:
            group["momentum"] = momentum
