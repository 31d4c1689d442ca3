"""The stages of a ResNet, in the order of the data: what is frozen and opened as one piece.

Every parameter belongs to exactly one stage. conv1 includes bn1, which recipes that list layer1 to
layer4 and the head leave out and so never train.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, Protocol

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medres.errors import ConfigError

Stage = Literal["adapter", "conv1", "layer1", "layer2", "layer3", "layer4", "head"]
Tensors = Literal["all", "batch_norm"]
"""Which tensors of an open stage train: all, or the weights and biases of its batch-norm alone."""
STAGES: tuple[Stage, ...] = ("adapter", "conv1", "layer1", "layer2", "layer3", "layer4", "head")

STAGE_MODULES: dict[Stage, tuple[str, ...]] = {
    "adapter": ("stem",),
    "conv1": ("backbone.conv1", "backbone.bn1"),
    "layer1": ("backbone.layer1",),
    "layer2": ("backbone.layer2",),
    "layer3": ("backbone.layer3",),
    "layer4": ("backbone.layer4",),
    "head": ("backbone.fc",),
}


class StagedNetwork(Protocol):
    """A network whose modules `STAGE_MODULES` names, and which holds its own batch-norm policy."""

    def get_submodule(self, target: str) -> nn.Module:
        """As in `nn.Module`."""
        ...

    def set_batch_norm_eval(self, stages: Collection[str]) -> None:
        """Keep these stages' batch-norm in evaluation mode while training."""
        ...


def stage_modules(network: StagedNetwork, stage: str) -> Iterator[nn.Module]:
    """The top modules of a stage.

    Raises:
        ConfigError: no such stage.
    """
    for name in STAGE_MODULES[check_stage(stage)]:
        yield network.get_submodule(name)


def check_stage(stage: str) -> Stage:
    """A stage's name.

    Raises:
        ConfigError: no such stage.
    """
    for known in STAGES:
        if stage == known:
            return known
    raise ConfigError(f"stage: {stage!r} is not accepted; give some of {', '.join(STAGES)}")


def stage_parameters(network: StagedNetwork, stage: str) -> dict[str, nn.Parameter]:
    """The parameters of a stage by their name in the network; none for the adapter of others."""
    return {
        f"{prefix}.{name}": parameter
        for prefix in STAGE_MODULES[check_stage(stage)]
        for name, parameter in network.get_submodule(prefix).named_parameters()
    }


def trainable_stages(network: StagedNetwork) -> tuple[Stage, ...]:
    """The stages that have parameters: all seven with an adapter, six without."""
    return tuple(stage for stage in STAGES if stage_parameters(network, stage))


def batch_norms(network: StagedNetwork, stages: Collection[str]) -> Iterator[nn.Module]:
    """Every batch-norm layer of these stages, by type: names miss `downsample.1`."""
    for stage in stages:
        for top in stage_modules(network, stage):
            yield from (module for module in top.modules() if isinstance(module, _BatchNorm))


def apply_stage_states(
    network: StagedNetwork,
    active_stages: Collection[str],
    batch_norm_eval: Collection[str] = (),
    affine_only: Collection[str] = (),
) -> None:
    """Open some stages and freeze the rest.

    A frozen stage computes no gradients, keeps none that a step could still apply, and runs its
    batch-norm in evaluation mode, so that neither weights nor running statistics move.

    Args:
        network: a `GrayscaleResNet`.
        active_stages: that train.
        batch_norm_eval: of the active ones, those whose running statistics stay as they are.
        affine_only: of the active ones, those in which batch-norm's weights and biases train alone.

    Raises:
        ConfigError: no such stage.
    """
    active = {check_stage(stage) for stage in active_stages}
    held = {check_stage(stage) for stage in batch_norm_eval}
    affine = {check_stage(stage) for stage in affine_only}
    norms = {id(p) for norm in batch_norms(network, affine) for p in norm.parameters()}
    for stage in STAGES:
        for parameter in stage_parameters(network, stage).values():
            trains = stage in active and (stage not in affine or id(parameter) in norms)
            parameter.requires_grad_(trains)
            if not trains:
                parameter.grad = None  # a stale gradient would still step
    network.set_batch_norm_eval(held | (set(STAGES) - active))
