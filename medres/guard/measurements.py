"""What the guard looks at in an image: a few numbers at each of several depths.

=============  ====  ========================================================================
pixels           14  brightness quantiles, share of clipped pixels, contrast at three scales
outline         256  the image itself, 16 x 16
layer1..4         C  the mean of each channel behind each block of the network
=============  ====  ========================================================================

All of them come from the tensor that the network sees and from the one pass it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medres.data.normalization import IntensityStatistics
from medres.models.ensemble import ResNetEnsemble

LAYERS = ("layer1", "layer2", "layer3", "layer4")
PARTS = ("pixels", "outline", *LAYERS)
OUTLINE_SIDE = 16
"""A chest's organs are told apart at 2 cm, a sixteenth of a thorax; a finding is not."""
QUANTILES = (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)
SCALES = (1, 2, 4)
GRID = 64
FAINT = 1e-4
"""Contrast, in standard deviations of the training pixels, below which images count as equal."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measured images.

    Attributes:
        parts: (N, D) float64 on the CPU, by name of `PARTS`.
    """

    parts: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.parts["pixels"])

    def __getitem__(self, chosen: Tensor | slice | list[int]) -> Measurements:
        """Those of some of the images, by a mask, by their places, or in a slice."""
        return Measurements({name: values[chosen] for name, values in self.parts.items()})

    @classmethod
    def cat(cls, several: Sequence[Measurements]) -> Measurements:
        """Batches, one after the other."""
        return cls({name: torch.cat([m.parts[name] for m in several]) for name in PARTS})


@contextmanager
def measuring(
    network: nn.Module, limits: tuple[float, float]
) -> Generator[Callable[[Tensor], Measurements], None, None]:
    """Listen to a network's forward passes; each pass itself stays the same, to the bit.

    ::

        with measuring(network, guard.limits) as measure:
            logits = network(images)
            measured = measure(images)

    Of an ensemble the first member is listened to, and its own input is measured.

    Args:
        network: a `GrayscaleResNet`, or an ensemble of them, in evaluation mode.
        limits: see `input_limits`.

    Yields:
        A function of the images (B, 1, S, S) that the network has just seen.
    """
    features: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            features[name] = output.detach().float().mean(dim=(-2, -1))

        return hook

    member = network.members[0] if isinstance(network, ResNetEnsemble) else network
    backbone = member.get_submodule("backbone")
    handles = [backbone.get_submodule(name).register_forward_hook(keep(name)) for name in LAYERS]

    def measure(images: Tensor) -> Measurements:
        own = network.own_inputs(images)[0] if isinstance(network, ResNetEnsemble) else images
        return _measure(own.float(), features, limits)

    try:
        yield measure
    finally:
        for handle in handles:
            handle.remove()


def input_limits(statistics: IntensityStatistics) -> tuple[float, float]:
    """What pixels are clipped to, in units of the network's input."""
    low, high = statistics.low - statistics.mean, statistics.high - statistics.mean
    return low / statistics.std, high / statistics.std


def _measure(
    images: Tensor, features: Mapping[str, Tensor], limits: tuple[float, float]
) -> Measurements:
    parts = {
        "pixels": measure_pixels(images, limits),
        "outline": F.adaptive_avg_pool2d(images, OUTLINE_SIDE).flatten(1),
        **{name: features[name] for name in LAYERS},
    }
    return Measurements({name: values.cpu().double() for name, values in parts.items()})


def measure_pixels(images: Tensor, limits: tuple[float, float]) -> Tensor:
    """(B, 14) of images (B, 1, S, S): quantiles, clipped shares, log contrast at three scales.

    Of large images some 64 rows and columns are looked at: all of them would tell no more, and
    sorting them takes a fifth of the network's own time.
    """
    low, high = limits
    step = max(1, images.shape[-1] // GRID)
    values = images[:, :, ::step, ::step].flatten(1)
    edge = 1e-3 * (high - low)
    places = torch.tensor(QUANTILES, device=values.device)
    return torch.cat(
        [
            torch.quantile(values, places, dim=1).T,
            (values <= low + edge).float().mean(1, keepdim=True),
            (values >= high - edge).float().mean(1, keepdim=True),
            *(_log_contrast(F.avg_pool2d(images, scale)) for scale in SCALES),
        ],
        dim=1,
    )


def _log_contrast(images: Tensor) -> Tensor:
    """(B, 1) log of the mean absolute difference of neighbours: noise and blankness at a scale."""
    step = max(1, images.shape[-1] // GRID)
    down = images[..., ::step].diff(dim=-2).abs()
    right = images[..., ::step, :].diff(dim=-1).abs()
    return ((down.mean((1, 2, 3)) + right.mean((1, 2, 3))) / 2 + FAINT).log()[:, None]
