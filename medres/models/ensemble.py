"""Networks of several folds as one: the mean of their probabilities, given as logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet

STATISTICS = ("low", "high", "mean", "std")
"""What an image is normalised with: clip to [low, high], subtract mean, divide by std."""


class ResNetEnsemble(nn.Module):
    """Takes images (B, 1, H, W) as one network does, and gives logits (B, F).

    The folds were normalised each with its own training patients' statistics. The ensemble's input
    is normalised with one set, whose clip limits hold all of theirs; from it each member's own
    input is computed exactly, since normalisation is affine between the limits. Each member's
    logits are divided by its own temperature. What is averaged are probabilities: the mean of
    predictive distributions, in which one member that is sure and wrong cannot outvote the rest, as
    it can in a mean of logits. A sigmoid (a softmax for multiclass) of the output is that mean.

    Args:
        members: arguments of each `GrayscaleResNet`, with equal `num_outputs`.
        kind: sigmoid a finding, or one softmax.

    Raises:
        ConfigError: no member, or members with different outputs.

    References:
        Lakshminarayanan, Pritzel & Blundell, Simple and scalable predictive uncertainty estimation
        using deep ensembles, NeurIPS 2017, section 2.4.
    """

    if TYPE_CHECKING:  # TorchScript, by which MONAI exports, cannot read these annotations
        low: Tensor
        high: Tensor
        scale: Tensor
        shift: Tensor
        temperature: Tensor

    def __init__(
        self,
        members: Sequence[Mapping[str, Any]],
        kind: Literal["binary", "multilabel", "multiclass"] = "binary",
    ) -> None:
        super().__init__()
        outputs = {member.get("num_outputs", 1) for member in members}
        if len(outputs) != 1:
            raise ConfigError(
                f"members: {len(members)} with {sorted(outputs)} outputs; give one or more, all "
                "with equal outputs"
            )
        self.kind = kind
        self.members = nn.ModuleList(GrayscaleResNet(**member) for member in members)
        for name, value in (
            *(("low", -math.inf), ("high", math.inf)),
            *(("scale", 1.0), ("shift", 0.0), ("temperature", 1.0)),
        ):
            self.register_buffer(name, torch.full((len(members),), value))

    def set_inputs(self, shared: Sequence[float], own: Sequence[Sequence[float]]) -> None:
        """Say how the ensemble's input and each member's were normalised.

        Args:
            shared: low, high, mean, std of the ensemble's input.
            own: the same of each member; within the shared limits.

        Raises:
            ConfigError: a member with wider limits: its input could not be computed.
        """
        low, high, mean, std = shared
        for k, (own_low, own_high, own_mean, own_std) in enumerate(own):
            if own_low < low or own_high > high:
                raise ConfigError(
                    f"member {k + 1}: clips to [{own_low:g}, {own_high:g}], outside the "
                    f"ensemble's [{low:g}, {high:g}]; give shared limits that hold all"
                )
            self.low[k], self.high[k] = (own_low - mean) / std, (own_high - mean) / std
            self.scale[k], self.shift[k] = std / own_std, (mean - own_mean) / own_std

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, F) whose sigmoid or softmax is the mean of the members' probabilities."""
        own = self.own_inputs(image)
        logits = []
        for k, member in enumerate(self.members):
            logits.append(member(own[k]) / self.temperature[k])
        return mean_probability_logits(torch.stack(logits), self.kind)

    def own_inputs(self, image: Tensor) -> Tensor:
        """What each member sees of the ensemble's input (B, 1, H, W): normalised as it was trained.

        Returns:
            (K, B, 1, H, W).
        """
        # All at once: of one clamp a member, onnxscript's optimizer makes an invalid file.
        axes = (-1, 1, 1, 1, 1)
        own = image.clamp(self.low.view(axes), self.high.view(axes))
        return own * self.scale.view(axes) + self.shift.view(axes)


def mean_probability_logits(logits: Tensor, kind: str) -> Tensor:
    """Logits (B, F) of the mean over K members of the probabilities of logits (K, B, F)."""
    if kind == "multiclass":
        return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))
    return F.logsigmoid(logits).logsumexp(dim=0) - F.logsigmoid(-logits).logsumexp(dim=0)
