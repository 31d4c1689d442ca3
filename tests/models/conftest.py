"""Networks with weights and statistics as training leaves them, so that an identity says something.

Torchvision's own network is the reference. Its convolutions are random, its batch-norm has affine
weights far from the identity, and running statistics of what really passes through it: frozen, it
normalises, and its logits stay finite at every depth.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import BasicBlock, Bottleneck


def smooth_images(n: int, channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    """Images in [0, 1], smooth with some noise, as photographs and radiographs are."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 6, 6, generator=generator, dtype=torch.float32)
    noise = torch.rand(n, channels, height, width, generator=generator, dtype=torch.float32)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return 0.9 * smooth + 0.1 * noise


def train_norms(network: nn.Module, image: torch.Tensor, seed: int = 5) -> nn.Module:
    """Random affine weights, and the running statistics that these images leave."""
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.copy_(torch.rand(norm.num_features, generator=generator) + 0.25)
            norm.bias.copy_(torch.rand(norm.num_features, generator=generator) - 0.6)
            norm.momentum = None  # the plain average over batches
        for block in network.modules():
            if isinstance(block, BasicBlock | Bottleneck):
                # Trained residual branches are small; else a deep network amplifies rounding.
                getattr(block, "bn3", block.bn2).weight.mul_(0.2)
        network.train()
        for batch in image.split(4):
            network(batch)
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()


@functools.cache
def _rgb_network(depth: int, num_outputs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = torchvision.models.get_model(f"resnet{depth}", num_classes=num_outputs).float()
    image = smooth_images(8, 3, 48, 48, seed)
    mean = image.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = image.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return train_norms(network, (image - mean) / std)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The same arithmetic everywhere, and quiet neighbours."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Build everything in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def rgb_network() -> Callable[..., nn.Module]:
    """torchvision's own network for three channels, as if trained, frozen: the reference."""

    def build(depth: int = 18, num_outputs: int = 3, seed: int = 0) -> nn.Module:
        network = copy.deepcopy(_rgb_network(depth, num_outputs, seed))
        return network.to(torch.get_default_dtype())

    return build


@pytest.fixture
def as_if_trained() -> Callable[[nn.Module], nn.Module]:
    """A gray network with `train_norms` applied, in evaluation mode."""

    def apply(network: nn.Module) -> nn.Module:
        image = smooth_images(4, 1, 32, 32, 3).to(next(network.parameters()).dtype)
        return train_norms(network, (image - 0.45) / 0.2)

    return apply


@pytest.fixture
def gray_image() -> Callable[..., torch.Tensor]:
    """Two gray images as displayed, (2, 1, H, W) in [0, 1]."""

    def draw(height: int = 45, width: int = 38) -> torch.Tensor:
        return smooth_images(2, 1, height, width, 1).to(torch.get_default_dtype())

    return draw
