"""How one gray channel enters a network that was made for three.

A stem decides what may be learned; how it starts (`stem_init`) decides which function of the RGB
network that is. With z = (g - μ)/σ the normalised image, g in [0, 1] as displayed, and μ_c, σ_c
ImageNet's own statistics of colour c, there are three references:

- R1, the default: the RGB network on z in each of its three channels.
- R0: the RGB network on g in three channels, each normalised by ImageNet: a_c·z + b_c, with
  a_c = σ/σ_c and b_c = (μ - μ_c)/σ_c.
- R2: the RGB network on the gray image tinted by luma, 3·(.2989, .5870, .1140)·z.

==========  ===========  =========  ==============================================================
stem        starts as    reference  conv1
==========  ===========  =========  ==============================================================
duplicate   equal        R1         untouched, on three views of z
duplicate   imagenet     R0         untouched, on a_c·z + b_c, which is fixed
port        sum          R1         one channel: Σ W_c
port        mean         R1         the same: three times the mean of W_c
port        luma         R2         one channel: 3·Σ luma_c·W_c
port        imagenet     R0         two channels, z and 1: Σ a_c·W_c and Σ b_c·W_c
adapter     ones         R1         untouched, behind a learnable 1×1 convolution of ones
adapter     imagenet     R0         untouched, behind one of weights a_c and biases b_c
adapter     third        R1         three times W_c, behind one of weights 1/3
port        bare_mean    none       one channel: the mean of W_c, so R1's network on z/3
port        bare_luma    none       one channel: Σ luma_c·W_c, so R2's network on z/3
adapter     bare_third   none       untouched, behind weights 1/3: R1's network on z/3
==========  ===========  =========  ==============================================================

conv1 has no bias and pads with zeros what the stem hands it. So R1 and R2 hold at the image's
border, where z = 0 for both sides; and R0 holds there because the constant is added before the
padding, as an adapter's bias or as a channel of ones that is padded too. A bias behind conv1 would
be wrong at every site that touches the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from medres.config import STEM_INITS, StemInit, StemName
from medres.errors import ConfigError

STEMS: tuple[StemName, ...] = tuple(STEM_INITS)

Reference = Literal["R0", "R1", "R2", "none"]
Colours = tuple[float, float, float]

IMAGENET_MEAN: Colours = (0.485, 0.456, 0.406)
IMAGENET_STD: Colours = (0.229, 0.224, 0.225)
LUMA: Colours = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601, as MATLAB and torchvision round it

COLOUR_WEIGHTS: dict[StemInit, Colours] = {
    "equal": (1.0, 1.0, 1.0),
    "ones": (1.0, 1.0, 1.0),
    "sum": (1.0, 1.0, 1.0),
    "mean": (1.0, 1.0, 1.0),  # a third, three times
    "third": (1 / 3, 1 / 3, 1 / 3),
    "luma": (3 * LUMA[0], 3 * LUMA[1], 3 * LUMA[2]),
    "bare_mean": (1 / 3, 1 / 3, 1 / 3),
    "bare_third": (1 / 3, 1 / 3, 1 / 3),
    "bare_luma": LUMA,
}
"""Weight of z in each colour; `imagenet` takes it from the data."""


@dataclass(frozen=True)
class StemStart:
    """A stem and the function that it starts as.

    Args:
        stem: duplicate, port or adapter.
        init: one of those that `STEM_INITS` lists for it; auto takes the first, which is R1.
        display_mean: μ of the data in display units [0, 1]; for `imagenet` only.
        display_std: σ of the data in the same units, above 0; for `imagenet` only.

    Raises:
        ConfigError: a combination that does not exist.
    """

    stem: StemName
    init: StemInit = "auto"
    display_mean: float | None = None
    display_std: float | None = None

    def __post_init__(self) -> None:
        if self.stem not in STEM_INITS:
            raise ConfigError(
                f"stem: {self.stem!r} is not accepted; give one of {', '.join(STEMS)}"
            )
        accepted = STEM_INITS[self.stem]
        if self.init == "auto":
            object.__setattr__(self, "init", accepted[0])
        if self.init not in accepted:
            raise ConfigError(
                f"stem_init: {self.init!r} is not accepted with stem {self.stem!r}; give one of "
                f"{', '.join(accepted)}, or auto"
            )
        self._check_statistics()

    def _check_statistics(self) -> None:
        mean, std = self.display_mean, self.display_std
        if self.init != "imagenet" and (mean is not None or std is not None):
            raise ConfigError(
                f"stem_init: {self.init!r} takes no display_mean and display_std; leave them out, "
                "or give stem_init 'imagenet'"
            )
        if self.init == "imagenet" and (mean is None or std is None or not std > 0):
            raise ConfigError(
                "stem_init: 'imagenet' needs display_mean and display_std above 0, those of the "
                f"data's normalisation in display units [0, 1]; found {mean} and {std}"
            )

    @property
    def reference(self) -> Reference:
        """Which function of the RGB network this is."""
        if self.init.startswith("bare_"):
            return "none"
        named: dict[StemInit, Reference] = {"imagenet": "R0", "luma": "R2"}
        return named.get(self.init, "R1")

    @property
    def maps_colours(self) -> bool:
        """Whether a module before conv1 gives each colour its own weight."""
        return self.stem == "adapter" or (self.stem == "duplicate" and self.init == "imagenet")

    @property
    def conv1_channels(self) -> int:
        """Input channels of conv1: 3, or of a port 1, or 2 with the channel of ones."""
        if self.stem != "port":
            return 3
        return 2 if self.init == "imagenet" else 1

    def colour_map(self) -> Tensor:
        """Rows a and b of a_c·z + b_c. (2, 3), float64."""
        if self.display_mean is None or self.display_std is None:
            return torch.tensor([COLOUR_WEIGHTS[self.init], (0, 0, 0)], dtype=torch.float64)
        means, stds = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], dtype=torch.float64)
        return torch.stack([self.display_std / stds, (self.display_mean - means) / stds])

    def kernels(self, rgb: Tensor) -> Tensor:
        """conv1 of this stem from an RGB network's. (O, 3, k, k) to (O, C, k, k), float64."""
        rgb = rgb.double()
        if self.stem != "port":
            return rgb * 3 if self.init == "third" else rgb
        colours = self.colour_map().to(rgb)[: self.conv1_channels]
        return torch.cat([weighted_kernels(rgb, weights) for weights in colours], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """What the module before conv1 holds at the start, float64; nothing for most."""
        if not self.maps_colours:
            return {}
        return colour_tensors(self, *self.colour_map())


def weighted_kernels(kernels: Tensor, weights: Tensor) -> Tensor:
    """Σ w_c·W_c: (O, C, k, k) kernels and (C,) weights to (O, 1, k, k)."""
    return (kernels * weights.view(1, -1, 1, 1)).sum(dim=1, keepdim=True)


def colour_tensors(start: StemStart, weights: Tensor, offsets: Tensor) -> dict[str, Tensor]:
    """(3,) weights and offsets as the tensors of the module before conv1, by their names in it."""
    if start.stem == "duplicate":
        return {"scale": weights.view(3, 1, 1), "shift": offsets.view(3, 1, 1)}
    tensors = {"conv.weight": weights.view(3, 1, 1, 1)}
    return {**tensors, "conv.bias": offsets} if start.init == "imagenet" else tensors


class DuplicateChannel(nn.Module):
    """Show one channel as three, without a copy. (B, 1, H, W) to (B, 3, H, W), R1."""

    def forward(self, image: Tensor) -> Tensor:
        """Three equal channels, as a view with stride 0.

        conv1 lays out its own input; a copy to channels-last beforehand only costs time.
        """
        return image.expand(-1, 3, -1, -1)


class ColourNormalization(nn.Module):
    """ImageNet's normalisation of a duplicated image, fixed. (B, 1, H, W) to (B, 3, H, W), R0.

    Args:
        scale: (3, 1, 1), a_c.
        shift: (3, 1, 1), b_c.
    """

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale = nn.Buffer(scale)
        self.shift = nn.Buffer(shift)

    def forward(self, image: Tensor) -> Tensor:
        """Three channels, each a_c · z + b_c."""
        return image * self.scale + self.shift


class OnesChannel(nn.Module):
    """Add a channel of ones, for the constant part of R0. (B, 1, H, W) to (B, 2, H, W)."""

    def forward(self, image: Tensor) -> Tensor:
        """The image, and ones."""
        return torch.cat([image, torch.ones_like(image)], dim=1)


class ChannelAdapter(nn.Module):
    """A learnable 1×1 convolution from one channel to three. (B, 1, H, W) to (B, 3, H, W).

    Args:
        weight: (3, 1, 1, 1), its start.
        bias: (3,), its start, or none.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        # On meta, since drawing weights would shift the random numbers of all that follows.
        self.conv = nn.Conv2d(1, 3, kernel_size=1, bias=bias is not None, device="meta")
        self.conv.weight = nn.Parameter(weight)
        if bias is not None:
            self.conv.bias = nn.Parameter(bias)

    def forward(self, image: Tensor) -> Tensor:
        """Three channels, each w_c · z + b_c."""
        mapped: Tensor = self.conv(image)
        return mapped


def build_stem(start: StemStart) -> nn.Module:
    """The module before conv1; for a port of one channel the identity."""
    tensors = {name: t.to(torch.get_default_dtype()) for name, t in start.tensors().items()}
    if start.stem == "adapter":
        return ChannelAdapter(tensors["conv.weight"], tensors.get("conv.bias"))
    if start.maps_colours:
        return ColourNormalization(tensors["scale"], tensors["shift"])
    if start.stem == "duplicate":
        return DuplicateChannel()
    return nn.Identity() if start.conv1_channels == 1 else OnesChannel()


def build_conv1(conv1: nn.Conv2d, start: StemStart) -> nn.Conv2d:
    """An RGB network's conv1 made ready for a stem, in the same precision."""
    built = nn.Conv2d(
        start.conv1_channels,
        conv1.out_channels,
        kernel_size=conv1.kernel_size,  # type: ignore[arg-type]
        stride=conv1.stride,  # type: ignore[arg-type]
        padding=conv1.padding,  # type: ignore[arg-type]
        bias=False,
        device="meta",
    )
    built.weight = nn.Parameter(start.kernels(conv1.weight.detach()).to(conv1.weight.dtype))
    return built
