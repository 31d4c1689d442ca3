"""The whole way from a fitted image to calibrated probabilities, as one traced program."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from medres.bundle.directory import Model
from medres.models.ensemble import ResNetEnsemble

INPUT, OUTPUT = "image", "probabilities"

Precision = Literal["fp32", "bf16", "int8"]


class InBfloat16(nn.Module):
    """A network whose weights and sums are bfloat16, between float32 images and logits.

    Args:
        network: logits (B, F) from images (B, 1, S, S); becomes bfloat16.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.bfloat16()

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, F) float32."""
        logits: Tensor = self.network(image.bfloat16())
        return logits.float()


class DeployedModel(nn.Module):
    """Calibrated probabilities (B, F) of images (B, 1, S, S) that are fitted, not normalised.

    Normalisation and the temperature are computed in float32 in either precision.

    Args:
        model: a trained model; it stays as it is.
        precision: of the network.
    """

    def __init__(self, model: Model, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        super().__init__()
        record = model.record
        statistics = record.preprocessing.statistics
        self.low, self.high = statistics.low, statistics.high
        self.mean, self.std = statistics.mean, statistics.std
        self.kind, self.calibration = record.kind, record.calibration
        # A copy, on which nothing asks for a gradient: else a program keeps a graph where it runs.
        network = copy.deepcopy(model.network).requires_grad_(False)
        self.network = network if precision == "fp32" else _in_bfloat16(network)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities (B, F) in [0, 1]."""
        normalised = (image.clamp(self.low, self.high) - self.mean) / self.std
        return self.calibration.apply(self.kind, self.network(normalised))


def _in_bfloat16(network: nn.Module) -> nn.Module:
    """Of an ensemble the members: how it scales their inputs needs more than 8 bits."""
    if not isinstance(network, ResNetEnsemble):
        return InBfloat16(network)
    network.members = nn.ModuleList(InBfloat16(member) for member in network.members)
    return network


def trace_program(model: Model, precision: Literal["fp32", "bf16"] = "fp32") -> ExportedProgram:
    """The program of a model, for any number of images.

    Args:
        model: a trained model; it stays as it is.
        precision: of the network.
    """
    size = model.record.preprocessing.size
    return torch.export.export(
        DeployedModel(model, precision).eval(),
        (torch.zeros(2, 1, size, size),),  # of 2, since 1 would be taken for a constant
        dynamic_shapes={INPUT: {0: Dim("batch", min=1)}},
    )
