"""Batch-norm in evaluation mode, put into the convolutions before it: one pass over memory less.

In evaluation mode a batch-norm is a fixed scale and shift of each channel, which the convolution
can do itself. The function stays the same but for rounding; it can be trained no longer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
"""Of a convolution and the norm behind it, in torchvision's ResNets; the last, of a shortcut."""


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
    return folded


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    for holder in network.modules():
        for convolution, norm in PAIRS:
            found = getattr(holder, convolution, None), getattr(holder, norm, None)
            if isinstance(found[0], nn.Conv2d) and isinstance(found[1], nn.BatchNorm2d):
                yield holder, convolution, norm
