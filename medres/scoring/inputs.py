"""Images as they were read, made into one batch for the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medres.imaging.isolated import NetworkInput
from medres.transforms.geometry import fit_square
from medres.transforms.preprocessing import Preprocessing


def stack_inputs(
    images: Sequence[NetworkInput], preprocessing: Preprocessing, *, rows: int
) -> Tensor:
    """What the evaluation chain gives of each image, bit by bit, without its metadata.

    Args:
        images: B of them, read at the preprocessing's size.
        preprocessing: of the model.
        rows: of the batch; those beyond B are copies of the last.

    Returns:
        (rows, 1, S, S) float32.
    """
    statistics = preprocessing.statistics
    fitted = [
        fit_square(
            torch.from_numpy(image.pixels)[None],
            preprocessing.size,
            preprocessing.geometry,
            statistics.low,
        )
        for image in images
    ]
    batch = torch.stack(fitted + fitted[-1:] * (rows - len(fitted)))
    normalised: Tensor = (
        batch.clamp_(statistics.low, statistics.high) - statistics.mean
    ) / statistics.std
    return normalised
