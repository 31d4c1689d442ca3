"""Where in an image a network sees a finding: Grad-CAM, whatever of the network is frozen.

MONAI's `GradCAM` computes the same map and is the oracle of the tests. It does not serve here: on a
frozen trunk it raises IndexError, it clears the gradients that a training holds, leaves its hooks
in the network and its modules in another mode, fails in front of a ReLU that works in place, and
takes one layer, where an ensemble has one a member. Its picture is also drawn half a cell too far
down and right: see `grad_cam`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet

LAST_LAYER = "backbone.layer4"
STRIDE = 32
"""Pixels between the centres of two cells of layer4; the first is at pixel 0, at every depth."""


def grad_cam(network: nn.Module, image: Tensor, finding: int, layers: Sequence[str] = ()) -> Tensor:
    """How much each place of an image speaks for a finding.

    The last feature map, its channels weighted by the mean gradient of the finding's logit, summed,
    and what speaks against it left out. Of an ensemble the channels of all members are summed:
    its logit is the target. The network runs in evaluation mode; its modes, gradients, hooks and
    `requires_grad` are afterwards what they were, and no graph is kept.

    A cell of a ResNet's last map looks at pixels around 32 times its index: at 224 the centre of
    the last of seven cells is pixel 192, not 208 as it would be were the map stretched over the
    image. The map is drawn where the cells look.

    Args:
        network: a `GrayscaleResNet`, a `ResNetEnsemble`, or any other with `layers` given.
        image: (B, 1, H, W), normalised as the network expects.
        finding: index of the output, 0 ≤ finding < F.
        layers: names of the feature maps, (B, C, h, w) each with equal h and w and none behind
            another, of a network that is no ResNet of ours; their cells are taken to be spread
            evenly over the image.

    Returns:
        (B, 1, H, W) in [0, 1], float32, or float64 for such an image: each image's map divided by
        its own largest value, so that two maps do not compare in strength; all 0 where nothing
        speaks for the finding. A `MetaTensor` with the image's metadata where the image is one.

    Raises:
        ConfigError: no such finding or layer, or an image that the network does not take.

    References:
        Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2.
    """
    names = tuple(layers) or _last_layers(network)
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    activations, gradients = _feature_maps(network, plain, finding, names)
    maps = [
        (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1, keepdim=True)
        for activation, gradient in zip(activations, gradients, strict=True)
    ]
    if len({cells.shape for cells in maps}) > 1:
        sizes = ", ".join(f"{tuple(cells.shape[2:])}" for cells in maps)
        raise ConfigError(f"layers: feature maps of {sizes} cells; give layers of equal size")
    cells = torch.stack(maps).sum(dim=0).relu()
    drawn = _draw(cells, (plain.shape[2], plain.shape[3]), None if layers else STRIDE)
    largest = drawn.amax(dim=(2, 3), keepdim=True)
    heat = drawn / torch.where(largest > 0, largest, 1)
    return MetaTensor(heat).copy_meta_from(image) if isinstance(image, MetaTensor) else heat


def _last_layers(network: nn.Module) -> tuple[str, ...]:
    names = [name for name, part in network.named_modules() if isinstance(part, GrayscaleResNet)]
    if not names:
        raise ConfigError(
            f"network: {type(network).__name__} holds no GrayscaleResNet; give the names of its "
            "last feature maps as layers"
        )
    return tuple(f"{name}.{LAST_LAYER}".lstrip(".") for name in names)


def _feature_maps(
    network: nn.Module, image: Tensor, finding: int, layers: Sequence[str]
) -> tuple[list[Tensor], list[Tensor]]:
    """Each layer's output (B, C, h, w), and the gradient of the finding's logit with respect to it.

    The graph begins behind the layers, so that a trunk costs no more than in scoring.
    """
    leaves: list[Tensor] = []

    def begin_graph(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # what follows may change it in place

    with torch.inference_mode(False), torch.enable_grad(), _frozen(network):
        handles = [_layer(network, name).register_forward_hook(begin_graph) for name in layers]
        try:
            logits: Tensor = network(image.detach().clone())
        finally:
            for handle in handles:
                handle.remove()
        if not 0 <= finding < logits.shape[1]:
            raise ConfigError(
                f"finding: {finding} is not accepted; the network has {logits.shape[1]} outputs, "
                "counted from 0"
            )
        gradients = torch.autograd.grad(logits[:, finding].sum(), leaves, allow_unused=True)
    if len(leaves) != len(layers) or None in gradients:
        raise ConfigError(
            f"layers: not each of {', '.join(layers)} runs once and leads to the output; give "
            "feature maps of which none lies behind another"
        )
    return [_widened(leaf.detach()) for leaf in leaves], [_widened(g) for g in gradients]


def _layer(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        raise ConfigError(f"layers: the network has no {name!r}; give a module's name") from error


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter that asks for a gradient, until the block ends."""
    modes = [(module, module.training) for module in network.modules()]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.eval()
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode  # each its own: `train` would set them alike


def _widened(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _draw(cells: Tensor, shape: tuple[int, int], stride: int | None) -> Tensor:
    """(B, 1, h, w) cells to (B, 1, H, W) pixels, linear between the centres of cells.

    Args:
        cells: of a feature map.
        shape: H, W.
        stride: pixels between centres, the first at pixel 0; None spreads the cells evenly.
    """
    rows, columns = (
        _shares(pixels, count, stride).to(cells)
        for pixels, count in zip(shape, cells.shape[2:], strict=True)
    )
    drawn: Tensor = rows @ cells @ columns.T
    return drawn


def _shares(pixels: int, cells: int, stride: int | None) -> Tensor:
    """(pixels, cells) float64: the share of each cell in each pixel; rows sum to 1."""
    index = torch.arange(pixels, dtype=torch.float64)
    place = index / stride if stride else (index + 0.5) * cells / pixels - 0.5
    distance = (place.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()
    return (1 - distance).clamp(min=0)
