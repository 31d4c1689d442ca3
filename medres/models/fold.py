"""The same function through another stem, for export and for weights that were trained with one.

Whatever the stem, conv1 sees one affine map of the gray image: kernels W_c on channels
a_c·z + b_c, so Σ a_c·W_c on z and Σ b_c·W_c on a channel of ones, padding included. From these two
every other stem is built, in float64, or refused where it cannot hold the part of the ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
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

EXACT = 1e-10
"""Largest relative error in float64, of conv1's output and of the logits, that counts as none."""
ROUNDING = 5e-6
"""The same in float32, where the network's own rounding is not larger."""
SIDES = ((28, 28), (45, 38))
"""Of the compared images: small, even and odd, so that many of conv1's sites touch the border."""


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
        WeightsError: the other stem cannot compute this function; or the new network does not, by
            its logits and by conv1's output at every site: within 1e-10 in float64 before it is
            rounded, and, in float32, within 5e-6 or ten times the original's own
            rounding error.
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
    exact = copy.deepcopy(network).double().eval()
    state = _plain_state(exact)
    layer = take_input_layer(state)
    foreign = [name for name in state if name.startswith("stem.")]
    if foreign:
        raise WeightsError(
            f"stem: {', '.join(foreign)} belong to a stem that medres does not know; use the "
            "network as it is"
        )
    state |= input_tensors(layer, converted.stem_start)
    converted.double().eval().load_state_dict(
        {n if n.startswith("stem.") else f"backbone.{n}": t for n, t in state.items()}
    )
    _check_exact(converted, exact)
    converted.to(next(network.backbone.parameters()).dtype)
    _check_rounding(converted, network, exact)
    return converted


def _plain_state(network: GrayscaleResNet) -> dict[str, Tensor]:
    return {name.removeprefix("backbone."): t for name, t in network.state_dict().items()}


def fold_stem(network: GrayscaleResNet) -> GrayscaleResNet:
    """A network without anything before conv1 but, where it must be, a channel of ones.

    A duplicated channel or an adapter without bias folds into a conv1 of one channel; ImageNet's
    normalisation or an adapter with a bias into one of two channels, z and 1.

    Raises:
        WeightsError: as `convert_stem`.
    """
    constant = take_input_layer(_plain_state(network)).constant()
    return convert_stem(network, "port", "imagenet" if bool(constant.any()) else "sum")


def _check_exact(converted: GrayscaleResNet, exact: GrayscaleResNet) -> None:
    """Both in float64, at every site of conv1 and in the logits."""
    for image in _images():
        for found, expected in zip(_outputs(converted, image), _outputs(exact, image), strict=True):
            _refuse_above(EXACT, relative_error(found, expected), "float64")


def _check_rounding(
    converted: GrayscaleResNet, network: GrayscaleResNet, exact: GrayscaleResNet
) -> None:
    """Both in float32 against float64, as each is stored: the new one may not be much worse."""
    pair = [copy.deepcopy(n).float().eval() for n in (converted, network)]
    for image in _images():
        expected = _outputs(exact, image)
        rounded = [_outputs(n, image.float()) for n in pair]
        for truth, found, own in zip(expected, *rounded, strict=True):
            limit = max(ROUNDING, 10 * relative_error(own, truth))
            _refuse_above(limit, relative_error(found, truth), "float32")


def _images() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for side in SIDES:
        yield torch.randn((2, 1, *side), generator=generator, dtype=torch.float64)


@torch.no_grad()
def _outputs(network: GrayscaleResNet, image: Tensor) -> tuple[Tensor, Tensor]:
    """conv1's output and the logits."""
    return network.backbone.get_submodule("conv1")(network.stem(image)), network(image)


def _refuse_above(limit: float, error: float, precision: str) -> None:
    if not error <= limit:  # a NaN is no agreement
        raise WeightsError(
            f"stem: the converted network's output differs from the original's by {error:.1e} of "
            f"its largest value in {precision}, more than {limit:.0e}; use the original network"
        )


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest expected value; 0 where both are zero."""
    difference, largest = (found - expected).abs().max(), expected.abs().max()
    return float(difference / largest) if bool(largest > 0) else float(difference)
