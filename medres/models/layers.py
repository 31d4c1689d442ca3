"""A network as a list of its layers: what each gives, how many parameters it has."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medres.models.ensemble import ResNetEnsemble
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGE_MODULES


@dataclass(frozen=True)
class Layer:
    """One layer that computes.

    Attributes:
        member: of an ensemble, from 0.
        stage: that it belongs to; `pool` for the pooling between layer4 and the head.
        name: in the network of the member.
        kind: such as Conv2d, with kernel and stride where it has them.
        output: (C, H, W) or (F,), of one image.
        parameters: weights and biases; running statistics are none.
        runs: how often it runs for an image.
    """

    member: int
    stage: str
    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    runs: int


def list_layers(network: GrayscaleResNet | ResNetEnsemble, size: int) -> tuple[Layer, ...]:
    """Every layer, in the order in which they run; of an ensemble those of all members.

    Args:
        network: stays as it is.
        size: side of its square input, in pixels.
    """
    members = network.members if isinstance(network, ResNetEnsemble) else [network]
    return tuple(
        layer
        for number, member in enumerate(members)
        for layer in _layers_of(member, number, size)  # type: ignore[arg-type]
    )


def _layers_of(network: GrayscaleResNet, member: int, size: int) -> Iterator[Layer]:
    network = copy.deepcopy(network).eval()  # hooks and modes are the copy's
    outputs: dict[str, tuple[int, ...]] = {}
    runs: dict[str, int] = {}

    def note(name: str, output: Tensor) -> None:
        outputs[name] = tuple(output.shape[1:])
        runs[name] = runs.get(name, 0) + 1

    leaves = {name: part for name, part in network.named_modules() if not list(part.children())}
    for name, part in leaves.items():
        part.register_forward_hook(lambda _part, _given, output, name=name: note(name, output))
    first = next(network.parameters())
    with torch.no_grad():
        network(torch.zeros(1, 1, size, size, dtype=first.dtype, device=first.device))
    for name, output in outputs.items():
        part = leaves[name]
        parameters = sum(parameter.numel() for parameter in part.parameters())
        yield Layer(member, _stage_of(name), name, _kind(part), output, parameters, runs[name])


def _stage_of(name: str) -> str:
    for stage, tops in STAGE_MODULES.items():
        if any(name == top or name.startswith(f"{top}.") for top in tops):
            return stage
    return "pool" if name == "backbone.avgpool" else "conv1"  # relu and maxpool


def _kind(part: nn.Module) -> str:
    name = type(part).__name__
    kernel, stride = getattr(part, "kernel_size", None), getattr(part, "stride", None)
    if kernel is None or stride is None:
        return name
    side, step = (value[0] if isinstance(value, tuple) else value for value in (kernel, stride))
    return f"{name} {side}×{side}" + (f" / {step}" if step > 1 else "")
