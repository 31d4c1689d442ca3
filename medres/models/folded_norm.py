"""A ResNet for inference alone: the same function with fewer passes over memory.

In evaluation mode a batch-norm is a fixed scale and shift of each channel, which the convolution
before it can do itself. The function stays the same but for rounding; it can be trained no longer.

What conv1 gives of 16 images of 224 x 224 is 51 MB, more than an allocator keeps: each pass has it
from the system anew, page by page, which takes longer than computing it. So on a CPU images go
through conv1 and its pooling a few at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import ResNet

PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
"""Of a convolution and the norm behind it, in torchvision's ResNets; the last, of a shortcut."""

FEW = 4  # images, of which conv1's result is kept near the processor


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of a ResNet, or of an ensemble of them, for inference alone.

    Args:
        network: with batch-norm as torchvision's ResNets have it; stays as it is.
    """
    folded = copy.deepcopy(network).eval()
    for holder, convolution, norm in [*_pairs(folded)]:
        fused = fuse_conv_bn_eval(getattr(holder, convolution), getattr(holder, norm))
        setattr(holder, convolution, fused)
        setattr(holder, norm, nn.Identity())
    for holder in [*folded.modules()]:
        if isinstance(holder, ResNet):
            holder.conv1 = FewAtATime(holder.conv1, holder.relu, holder.maxpool)
            holder.relu, holder.maxpool = nn.Identity(), nn.Identity()
    return folded


class FewAtATime(nn.Sequential):
    """Layers one after the other, on a CPU for a few images at a time; each (B, C, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """What the layers give of all images together."""
        parts = images.split(FEW) if images.device.type == "cpu" else (images,)  # type: ignore[no-untyped-call]
        return torch.cat([super(FewAtATime, self).forward(few) for few in parts])  # type: ignore[no-untyped-call]


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    for holder in network.modules():
        for convolution, norm in PAIRS:
            found = getattr(holder, convolution, None), getattr(holder, norm, None)
            if isinstance(found[0], nn.Conv2d) and isinstance(found[1], nn.BatchNorm2d):
                yield holder, convolution, norm
