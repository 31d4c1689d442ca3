"""Networks whose statistics and weights are not trivial, so that an identity means something."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def randomize_norms(network: nn.Module, seed: int = 5) -> None:
    """Give batch-norm running statistics and affine weights as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            n, dtype = module.num_features, module.running_mean.dtype
            draws = torch.rand(4, n, generator=generator, dtype=torch.float64).to(dtype)
            module.running_mean.copy_(draws[0] - 0.5)
            module.running_var.copy_(draws[1] * 1.5 + 0.5)
            module.weight.data.copy_(draws[2] + 0.5)
            module.bias.data.copy_(draws[3] - 0.5)


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
    """torchvision's own network for three channels, in evaluation mode: the reference."""

    def build(depth: int = 18, num_outputs: int = 3, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        network = torchvision.models.get_model(f"resnet{depth}", num_classes=num_outputs)
        randomize_norms(network)
        return network.eval()

    return build


@pytest.fixture
def with_random_norms() -> Callable[[nn.Module], nn.Module]:
    """The same network with `randomize_norms` applied, in evaluation mode."""

    def apply(network: nn.Module) -> nn.Module:
        randomize_norms(network)
        return network.eval()

    return apply
