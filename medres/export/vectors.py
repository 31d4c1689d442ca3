"""Inputs to check an exported program with: drawn, so that no patient's image leaves with it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from medres.transforms.geometry import fit_square
from medres.transforms.preprocessing import Preprocessing

COUNT = 8
PICTURE = (75, 110)
"""Rows and columns of the picture that the geometry is shown on."""


def draw_images(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(8, 1, S, S): all low, all high, values far outside, and smooth fields with some noise.

    Args:
        preprocessing: whose size and range they have.
    """
    low, high = preprocessing.statistics.low, preprocessing.statistics.high
    fields = torch.stack([_field(seed, preprocessing.size) for seed in range(COUNT)])[:, None]
    fields[0], fields[1] = 0, 1
    fields[2] = 3 * fields[2] - 1
    images: NDArray[np.float32] = (low + (high - low) * fields).float().numpy()
    return images


def draw_picture(preprocessing: Preprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A picture (75, 110), and what the geometry makes of it, (1, 1, S, S)."""
    statistics = preprocessing.statistics
    field = _field(COUNT, max(PICTURE))[: PICTURE[0], : PICTURE[1]]
    picture = (statistics.low + (statistics.high - statistics.low) * field).float()
    square = fit_square(picture[None], preprocessing.size, preprocessing.geometry, statistics.low)
    return picture.numpy(), square[None].numpy()


def _field(seed: int, size: int) -> torch.Tensor:
    """(size, size) float64 in [0, 1]."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.random((1, 1, 6, 6)))
    smooth = functional.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    noise = torch.from_numpy(generator.random((size, size)))
    return 0.9 * smooth[0, 0] + 0.1 * noise
