"""The same function through another stem, for export and for weights that were trained with one.

Whatever the stem, conv1 sees one affine map of the gray image: kernels W_c on channels
a_c·z + b_c, so Σ a_c·W_c on z and Σ b_c·W_c on a channel of ones, padding included. From these two
every other stem is built, in float64, or refused where it cannot hold the part of the ones.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.config import StemInit, StemName
from medres.errors import WeightsError
from medres.models.resnet import GrayscaleResNet
from medres.models.stem import StemStart, colour_tensors, weighted_kernels

KERNELS = "conv1.weight"
COLOUR_MAPS = (
    ("stem.conv.weight", "stem.conv.bias"),  # an adapter
    ("stem.scale", "stem.shift"),  # duplicate with ImageNet's normalisation
)

LIMITS = {torch.float64: 1e-10, torch.float32: 5e-6}
"""Largest relative error of conv1's output and of the logits that counts as exact."""
SIDES = ((28, 28), (45, 38), (64, 64))
"""Of the compared images: small, odd and even, so that many of conv1's sites touch the border."""


@dataclass(frozen=True)
class InputLayer:
    """conv1 and what lies before it: kernels on the channels a_c·z + b_c.

    Attributes:
        kernels: (O, C, k, k), float64.
        weights: (C,), a.
        offsets: (C,), b.
    """

    kernels: Tensor
    weights: Tensor
    offsets: Tensor

    def gray(self) -> Tensor:
        """(O, 1, k, k): what acts on z."""
        return weighted_kernels(self.kernels, self.weights)

    def constant(self) -> Tensor:
        """(O, 1, k, k): what acts on a channel of ones; zero for R1 and R2."""
        return weighted_kernels(self.kernels, self.offsets)


def has_colour_map(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict holds an adapter or a fixed normalisation before conv1."""
    return any(weights in state for weights, _ in COLOUR_MAPS)


def take_input_layer(state: dict[str, Tensor]) -> InputLayer:
    """Take conv1's kernels, of 1 to 3 channels, and the stem's tensors out of a state dict.

    Args:
        state: by torchvision's names, `conv1.weight`, and medres' own, `stem.…`.
    """
    kernels = state.pop(KERNELS).double()
    ones, zeros = kernels.new_ones(kernels.shape[1]), kernels.new_zeros(kernels.shape[1])
    for names in COLOUR_MAPS:
        if names[0] in state:
            weights = state.pop(names[0]).double().flatten()
            offsets = state.pop(names[1], zeros).double().flatten()
            return InputLayer(kernels, weights, offsets)
    if kernels.shape[1] == 2:  # z, and a channel of ones
        return InputLayer(kernels, kernels.new_tensor([1, 0]), kernels.new_tensor([0, 1]))
    return InputLayer(kernels, ones, zeros)


def input_tensors(layer: InputLayer, start: StemStart) -> dict[str, Tensor]:
    """conv1 and stem of another architecture with the same function, by the names of a state dict.

    An adapter keeps its weights where the other stem has a place for them; else they go into
    conv1.

    Raises:
        WeightsError: the function has a constant part, and this stem has no place for it.
    """
    constant = layer.constant()
    holds_constant = start.init == "imagenet"
    if not holds_constant and bool(constant.any()):
        raise WeightsError(
            f"stem {start.stem!r}, stem_init {start.init!r}: cannot take over an adapter's bias "
            "or a channel of ones exactly, since conv1 pads after it and the image's border would "
            "differ; give stem_init 'imagenet', whose port has a channel of ones"
        )
    if start.stem == "port":
        kernels = [layer.gray(), constant] if holds_constant else [layer.gray()]
        return {KERNELS: torch.cat(kernels, dim=1)}
    layer = _on_three_channels(layer)
    if not start.maps_colours:
        return {KERNELS: layer.kernels * layer.weights.view(1, 3, 1, 1)}
    tensors = colour_tensors(start, layer.weights, layer.offsets)
    return {KERNELS: layer.kernels, **{f"stem.{name}": t for name, t in tensors.items()}}


def _on_three_channels(layer: InputLayer) -> InputLayer:
    """A layer of one or two channels on three: gray in equal parts, then what is constant."""
    if layer.kernels.shape[1] == 3:
        return layer
    if bool(layer.constant().any()):
        raise WeightsError(
            "stem: conv1 takes a channel of ones, which three equal channels cannot stand for; "
            "give stem 'port' with stem_init 'imagenet'"
        )
    kernels = (layer.gray() / 3).repeat(1, 3, 1, 1)
    return InputLayer(kernels, kernels.new_ones(3), kernels.new_zeros(3))


def convert_stem(
    network: GrayscaleResNet, stem: StemName, stem_init: StemInit = "auto"
) -> GrayscaleResNet:
    """The same function with another stem; the network itself stays as it is.

    Args:
        network: of any stem, on the CPU.
        stem: of the new network.
        stem_init: decides with `stem` which tensors the new one has, not their values; a network
            with a constant part needs imagenet.

    Returns:
        A new network, in evaluation mode, in the same precision.

    Raises:
        ConfigError: no such stem.
        WeightsError: the other stem cannot compute this function, or does not within 1e-10 in
            float64 and 5e-6 in float32, relative, at every site of conv1 and in the logits.
    """
    start, imagenet = network.stem_start, stem_init == "imagenet"
    converted = GrayscaleResNet(
        network.depth,
        stem,
        network.num_outputs,
        stem_init=stem_init,
        display_mean=start.display_mean if imagenet else None,
        display_std=start.display_std if imagenet else None,
    )
    converted.to(next(network.backbone.parameters()).dtype).eval()
    state = {name.removeprefix("backbone."): t for name, t in network.state_dict().items()}
    layer = take_input_layer(state)
    foreign = [name for name in state if name.startswith("stem.")]
    if foreign:
        raise WeightsError(
            f"stem: {', '.join(foreign)} belong to a stem that medres does not know; use the "
            "network as it is"
        )
    state |= input_tensors(layer, converted.stem_start)
    converted.load_state_dict(
        {n if n.startswith("stem.") else f"backbone.{n}": t for n, t in state.items()}
    )
    check_same_function(network, converted)
    return converted


def fold_stem(network: GrayscaleResNet) -> GrayscaleResNet:
    """A network without anything before conv1 but, where it must be, a channel of ones.

    A duplicated channel or an adapter without bias folds into a conv1 of one channel; ImageNet's
    normalisation or an adapter with a bias into one of two channels, z and 1.

    Raises:
        WeightsError: as `convert_stem`.
    """
    state = {name.removeprefix("backbone."): t for name, t in network.state_dict().items()}
    constant = take_input_layer(state).constant()
    return convert_stem(network, "port", "imagenet" if bool(constant.any()) else "sum")


def check_same_function(network: GrayscaleResNet, other: GrayscaleResNet) -> None:
    """Compare two networks on random images, at every site of conv1 and in the logits.

    Raises:
        WeightsError: they differ by more than `LIMITS`.
    """
    for dtype, limit in LIMITS.items():
        pair = [copy.deepcopy(n).to(dtype).eval() for n in (network, other)]
        error = max(_largest_errors(pair[0], pair[1], side, dtype) for side in SIDES)
        if not error <= limit:  # a NaN is no agreement
            raise WeightsError(
                f"stem: the converted network's output differs from the original's by {error:.1e} "
                f"of its largest value in {str(dtype).removeprefix('torch.')}, more than "
                f"{limit:g}; use the original network"
            )


@torch.no_grad()
def _largest_errors(
    network: GrayscaleResNet, other: GrayscaleResNet, side: tuple[int, int], dtype: torch.dtype
) -> float:
    image = torch.randn((2, 1, *side), generator=torch.Generator().manual_seed(0)).to(dtype)
    conv1 = [n.backbone.get_submodule("conv1")(n.stem(image)) for n in (network, other)]
    logits = [n(image) for n in (network, other)]
    return max(relative_error(conv1[1], conv1[0]), relative_error(logits[1], logits[0]))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected value; 0 where both are zero."""
    difference, largest = (found - expected).abs().max(), expected.abs().max()
    return float(difference / largest) if bool(largest > 0) else float(difference)
