"""Normalise intensities with statistics that were fitted on the training patients."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils.enums import CommonKeys


class NormalizeGrayscaled(MapTransform):
    """Clip to [low, high], subtract the mean, divide by the standard deviation.

    Args:
        keys: of the images, in the intensity that the statistics were fitted in.
        low: smallest value kept; what lies below becomes it.
        high: largest value kept.
        mean: of the clipped training pixels.
        std: of the clipped training pixels, above 0.
        allow_missing_keys: pass by items without the key.

    Raises:
        ValueError: low is not below high, or std is not above 0.
    """

    def __init__(
        self,
        keys: KeysCollection = CommonKeys.IMAGE,
        low: float = 0.0,
        high: float = 1.0,
        mean: float = 0.0,
        std: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not low < high or not std > 0:
            raise ValueError(
                f"normalisation: found low {low}, high {high}, std {std}; "
                "low must be below high and std above 0"
            )
        self.low, self.high, self.mean, self.std = low, high, mean, std

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalise each image of an item."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = (item[key].clamp(self.low, self.high) - self.mean) / self.std
        return item
