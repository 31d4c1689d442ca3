"""How one gray channel enters a network that was made for three.

Every stem starts as the same function: the RGB network on the gray image in three equal channels
(R1: the same normalised value z in each). What differs is what may be learned.

- duplicate: three views of the channel, conv1 untouched. The reference.
- port: conv1 with one input channel, whose kernels are the sums of the RGB kernels. Convolution is
  linear, so Σ_c W_c ∗ z = (Σ_c W_c) ∗ z, borders included: the zero padding is z = 0 for both.
  A mean in place of the sum is the network on z/3, which frozen batch-norm does not mend.
- adapter: a learnable 1×1 convolution to three channels, before an untouched conv1. Ones and no
  bias start as R1. `imagenet` starts as R0: ImageNet's own mean and standard deviation per channel
  in place of the data's, by w_c = σ/σ_c and b_c = (μ - μ_c)/σ_c. conv1 pads after it, so R0 holds
  at the borders too, which no bias behind conv1 can do.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from medres.errors import ConfigError

StemName = Literal["duplicate", "port", "adapter"]
AdapterInit = Literal["ones", "imagenet"]
STEMS: tuple[StemName, ...] = ("duplicate", "port", "adapter")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DuplicateChannel(nn.Module):
    """Show one channel as three, without a copy. (B, 1, H, W) to (B, 3, H, W), R1."""

    def forward(self, image: Tensor) -> Tensor:
        """Three equal channels, as a view with stride 0.

        conv1 lays out its own input; a copy to channels-last beforehand only costs time.
        """
        return image.expand(-1, 3, -1, -1)


class ChannelAdapter(nn.Module):
    """A learnable 1×1 convolution from one channel to three. (B, 1, H, W) to (B, 3, H, W).

    Args:
        init: ones (R1) or imagenet (R0).
        mean: μ of the data in display units [0, 1]; for imagenet only.
        std: σ of the data in the same unit, above 0; for imagenet only.

    Raises:
        ConfigError: imagenet without the data's mean and standard deviation, or ones with them.
    """

    def __init__(
        self, init: AdapterInit = "ones", mean: float | None = None, std: float | None = None
    ) -> None:
        super().__init__()
        weight, bias = _adapter_values(init, mean, std)
        # On meta, since drawing weights would shift the random numbers of all that follows.
        self.conv = nn.Conv2d(1, 3, kernel_size=1, bias=bias is not None, device="meta")
        self.conv.weight = nn.Parameter(torch.tensor(weight).view(3, 1, 1, 1))
        if bias is not None:
            self.conv.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, image: Tensor) -> Tensor:
        """Three channels, each w_c · z + b_c."""
        mapped: Tensor = self.conv(image)
        return mapped


def _adapter_values(
    init: AdapterInit, mean: float | None, std: float | None
) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    if init == "ones":
        if mean is not None or std is not None:
            raise ConfigError(
                "adapter_init: 'ones' takes no adapter_mean and adapter_std; leave them out, or "
                "give adapter_init 'imagenet'"
            )
        return (1.0, 1.0, 1.0), None
    if init != "imagenet":
        raise ConfigError(f"adapter_init: {init!r} is not accepted; give 'ones' or 'imagenet'")
    if mean is None or std is None or not std > 0:
        raise ConfigError(
            f"adapter_init: 'imagenet' needs adapter_mean and adapter_std above 0, those of the "
            f"data's normalisation in display units [0, 1]; found {mean} and {std}"
        )
    weight = tuple(std / channel_std for channel_std in IMAGENET_STD)
    bias = tuple((mean - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
    return weight, bias


def build_stem(
    name: StemName,
    adapter_init: AdapterInit = "ones",
    adapter_mean: float | None = None,
    adapter_std: float | None = None,
) -> nn.Module:
    """The module before conv1. For `port` it is the identity: conv1 itself is what changes.

    Raises:
        ConfigError: no such stem, or adapter arguments that do not fit it.
    """
    if name == "adapter":
        return ChannelAdapter(adapter_init, adapter_mean, adapter_std)
    if name not in STEMS:
        raise ConfigError(f"stem: {name!r} is not accepted; give one of {', '.join(STEMS)}")
    if adapter_init != "ones" or adapter_mean is not None or adapter_std is not None:
        raise ConfigError(
            f"stem: {name!r} has no adapter; give adapter_init, adapter_mean and adapter_std "
            "with stem 'adapter' only"
        )
    return DuplicateChannel() if name == "duplicate" else nn.Identity()


def port_kernels(kernels: Tensor) -> Tensor:
    """conv1 for one channel: the sum over the colours. (O, 3, k, k) to (O, 1, k, k)."""
    return _rounded(kernels.double().sum(dim=1, keepdim=True), kernels)


def spread_kernels(kernels: Tensor) -> Tensor:
    """conv1 for three equal channels: a third each. (O, 1, k, k) to (O, 3, k, k)."""
    return _rounded(kernels.double() / 3, kernels).repeat(1, 3, 1, 1)


def fold_adapter(kernels: Tensor, weight: Tensor) -> Tensor:
    """Take a bias-free adapter into conv1: W_c · w_c. Exact, borders included.

    Args:
        kernels: (O, 3, k, k) of conv1.
        weight: (3, 1, 1, 1) of the adapter.

    Returns:
        (O, 3, k, k) for three equal channels.
    """
    return _rounded(kernels.double() * weight.double().view(1, 3, 1, 1), kernels)


def _rounded(exact: Tensor, kernels: Tensor) -> Tensor:
    """To the precision of the kernels, float32 at least: half precision would lose the identity."""
    return exact.to(torch.promote_types(kernels.dtype, torch.float32))


def port_conv1(conv1: nn.Conv2d) -> nn.Conv2d:
    """The same convolution for one gray channel, with ported kernels."""
    ported = nn.Conv2d(
        1,
        conv1.out_channels,
        kernel_size=conv1.kernel_size,  # type: ignore[arg-type]
        stride=conv1.stride,  # type: ignore[arg-type]
        padding=conv1.padding,  # type: ignore[arg-type]
        bias=False,
        device="meta",
    )
    ported.weight = nn.Parameter(port_kernels(conv1.weight.detach()))
    return ported
