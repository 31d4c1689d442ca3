"""The usual recipe for a gray ResNet-18 as it is found written, mistakes and all, to measure it.

What cannot run at all is left out: the string `'models.ResNet18_Weights.IMAGENET1K_V1'` is a
KeyError in torchvision. All else is as written; the comments say what it does.
"""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import Tensor, nn


class GrayToRGB(nn.Module):
    """The recipe's adapter: "start as repeat", but of a third of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(1, 3, kernel_size=1, bias=False)
        nn.init.constant_(self.map.weight, 1 / 3)

    def forward(self, image: Tensor) -> Tensor:
        """Three times a third of the channel. (B, 1, H, W) to (B, 3, H, W)."""
        mapped: Tensor = self.map(image)
        return mapped


def build_network(rgb_state: dict[str, Tensor], outputs: int) -> nn.Sequential:
    """The adapter in front of a pretrained ResNet-18 with a new head."""
    backbone = torchvision.models.resnet18(weights=None)
    head = backbone.fc
    backbone.fc = nn.Identity()
    backbone.load_state_dict({k: v for k, v in rgb_state.items() if not k.startswith("fc.")})
    backbone.fc = nn.Linear(head.in_features, outputs)
    return nn.Sequential(GrayToRGB(), backbone)


def freeze_with_the_typo(backbone: nn.Module) -> int:
    """`requiers_gard` makes a new attribute; returns how many tensors are trainable after it."""
    for params in backbone.parameters():
        params.requiers_gard = False  # type: ignore[attr-defined]
    return sum(p.requires_grad for p in backbone.parameters())


def first_phase(network: nn.Sequential) -> torch.optim.Optimizer:
    """Freeze the backbone, whose new head is in it; train adapter and, it is thought, the head."""
    backbone: Any = network[1]
    for p in backbone.parameters():
        p.requires_grad = False
    params = list(network[0].parameters()) + list(backbone.fc.parameters())
    return torch.optim.Adam(params, lr=1e-3, weight_decay=1e-4)


def second_phase(network: nn.Sequential) -> torch.optim.Optimizer:
    """Unfreeze everything; list every stage but conv1 and bn1."""
    backbone: Any = network[1]
    for p in backbone.parameters():
        p.requires_grad = True
    return torch.optim.Adam(
        [
            {"params": network[0].parameters(), "lr": 1e-3},
            {"params": backbone.layer1.parameters(), "lr": 5e-4},
            {"params": backbone.layer2.parameters(), "lr": 2.5e-4},
            {"params": backbone.layer3.parameters(), "lr": 1.25e-4},
            {"params": backbone.layer4.parameters(), "lr": 1.25e-4},
            {"params": backbone.fc.parameters(), "lr": 1e-3},
        ],
        weight_decay=1e-4,
    )
