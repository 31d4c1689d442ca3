"""The frozen stages in front: what they compute needs no graph, and may be computed once.

A prefix is the run of stages, from the image on, in which nothing moves: no parameter trains and
no batch-norm follows the batch. An adapter that trains leaves none, and neither does batch-norm in
training mode: its output depends on the other images of the batch, and its statistics move.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medres.models.stages import STAGES, Stage, StagedNetwork, check_stage, stage_modules


class ResNetParts(StagedNetwork, Protocol):
    """A network with torchvision's ResNet behind a stem."""

    stem: nn.Module
    backbone: nn.Module


def frozen_prefix(network: StagedNetwork, start: str = "adapter") -> tuple[Stage, ...]:
    """The stages from `start` on that nothing moves, up to the first that something does.

    The head is never among them. A stage without parameters, such as the stem of `duplicate` and
    `port`, counts as frozen.

    Raises:
        ConfigError: no such stage.
    """
    prefix: list[Stage] = []
    for stage in STAGES[STAGES.index(check_stage(start)) : -1]:
        if _moves(network, stage):
            break
        prefix.append(stage)
    return tuple(prefix)


def _moves(network: StagedNetwork, stage: Stage) -> bool:
    return any(
        any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        or (module.training and isinstance(module, _BatchNorm))
        for top in stage_modules(network, stage)
        for module in top.modules()
    )


def run_stages(network: ResNetParts, features: Tensor, start: str, stop: str | None) -> Tensor:
    """What the stages from `start` to before `stop` make of what comes before `start`.

    Args:
        network: a `GrayscaleResNet`.
        features: the image (B, 1, H, W) for adapter; (B, C, h, w) for conv1 to layer4; the pooled
            (B, C) for head.
        start: the first stage to run.
        stop: the first not to run; None runs the head too.

    Returns:
        The input of `stop`; logits (B, F) for None.

    Raises:
        ConfigError: no such stage.
    """
    last = len(STAGES) if stop is None else STAGES.index(check_stage(stop))
    for stage in STAGES[STAGES.index(check_stage(start)) : last]:
        features = _run_stage(network, stage, features)
    return features


def _run_stage(network: ResNetParts, stage: Stage, features: Tensor) -> Any:
    """One stage of torchvision's `ResNet`; the pooling, which learns nothing, belongs to layer4."""
    part = network.backbone.get_submodule
    if stage == "adapter":
        return network.stem(features)
    if stage == "conv1":
        return part("maxpool")(part("relu")(part("bn1")(part("conv1")(features))))
    if stage == "head":
        return part("fc")(features)
    output = part(stage)(features)
    return torch.flatten(part("avgpool")(output), 1) if stage == "layer4" else output


def run_from(network: ResNetParts, features: Tensor, start: str = "adapter") -> Tensor:
    """Logits (B, F) of what comes before `start`, the frozen stages in front without a graph.

    Without a graph they keep no activations for a backward pass that never comes. Values are the
    same to the bit. Where the gradient of the input itself is asked for, a graph there is.
    """
    with torch.no_grad():
        prefix = () if features.requires_grad else frozen_prefix(network, start)
        middle = STAGES[STAGES.index(check_stage(start)) + len(prefix)]
        features = run_stages(network, features, start, middle)
    return run_stages(network, features, middle, None)
