"""Does an image lie as the training images lie? One linear score for each way to turn and flip it.

A flipped chest is made of the same things as any other, so distances hardly see it. But the
training images themselves, flipped, say what a flip looks like: for each of the seven turned and
flipped copies that a square has, Fisher's discriminant tells image from copy, on an outline of
16 x 16. No image other than the training ones is needed, and no second pass through the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SHRINKAGE = 0.2
"""Toward a multiple of the identity, since neighbouring squares of an outline hardly differ."""
TINY = 1e-9

TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped_left_right": lambda image: image.flip(-1),
    "flipped_top_bottom": lambda image: image.flip(-2),
    "turned_90": lambda image: image.rot90(1, (-2, -1)),
    "turned_180": lambda image: image.rot90(2, (-2, -1)),
    "turned_270": lambda image: image.rot90(3, (-2, -1)),
    "transposed": lambda image: image.transpose(-2, -1),
    "transposed_across": lambda image: image.rot90(2, (-2, -1)).transpose(-2, -1),
}
"""The symmetries of a square but for the identity, turns counter-clockwise."""


@dataclass(frozen=True, eq=False)
class Orientation:
    """Discriminants of image and copy.

    Attributes:
        weights: (7, D) float64 of length 1, in the order of `TURNS`.
    """

    weights: Tensor

    @classmethod
    def fit(cls, outlines: Tensor) -> Orientation:
        """Of the outlines (N, D) of training images, N at least 2."""
        return cls(torch.stack([_discriminant(moved) for moved in _differences(outlines)]))

    def of(self, outlines: Tensor) -> Tensor:
        """(N, 7) how much more each outline (N, D) looks like a turned or flipped one."""
        moved = torch.stack(_differences(outlines))
        scores: Tensor = torch.einsum("tnd,td->nt", moved, self.weights)
        return -scores


def turned(outlines: Tensor) -> Tensor:
    """(7, N, D) turned and flipped copies of outlines (N, D)."""
    square = _as_square(outlines)
    return torch.stack([turn(square).flatten(1) for turn in TURNS.values()])


def contrast(outlines: Tensor) -> Tensor:
    """Outlines (N, D) without brightness and contrast: mean 0 and length 1; 0 of a flat one."""
    centred = outlines - outlines.mean(dim=1, keepdim=True)
    length: Tensor = centred.norm(dim=1, keepdim=True)
    return centred / length.clamp_min(TINY)


def _differences(outlines: Tensor) -> list[Tensor]:
    """Of each image and its seven copies, each (N, D)."""
    square = _as_square(contrast(outlines))
    return [(square - turn(square)).flatten(1) for turn in TURNS.values()]


def _as_square(outlines: Tensor) -> Tensor:
    side = round(outlines.shape[1] ** 0.5)
    return outlines.reshape(-1, side, side)


def _discriminant(difference: Tensor) -> Tensor:
    """Fisher's direction between the differences (N, D) and their negatives."""
    d = difference.shape[1]
    mean = difference.mean(dim=0)
    covariance = torch.cov(difference.T)
    level = SHRINKAGE * covariance.trace() / d + TINY
    within = (1 - SHRINKAGE) * covariance + level * torch.eye(d, dtype=mean.dtype)
    weights: Tensor = torch.linalg.solve(within, mean)
    # Of length 1, since a score's spread over the images of its own fit falls with their number.
    length: Tensor = weights.norm()
    return weights / length.clamp_min(TINY)
