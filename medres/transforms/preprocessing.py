"""The whole way from a file to a network input, as one record with a digest.

The record is stored with a model. Whoever uses the model compares the digest, so that no image
is scored with another preprocessing than the one it was trained with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from medres.data.normalization import IntensityStatistics
from medres.errors import BundleError, PreprocessingMismatchError

PREPROCESSING_VERSION = 1
"""Raised whenever the same record would give other network inputs than before."""


@dataclass(frozen=True)
class Preprocessing:
    """From a file to the network's input.

    Attributes:
        intensity: what the pixels mean before normalisation.
        size: side of the square network input, in pixels.
        geometry: how an image of any size is brought to the square.
        statistics: fitted on the training patients, on resized images without their padding.
        version: of medres' pixel path; see `PREPROCESSING_VERSION`.
    """

    intensity: Literal["auto", "display", "modality"]
    size: int
    geometry: Literal["pad", "crop", "squash"]
    statistics: IntensityStatistics
    version: int = PREPROCESSING_VERSION

    def display_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the training pixels in display units [0, 1].

        ImageNet's normalisation is meant for such pixels. In modality units the clipped range
        stands for [0, 1], as a window of that range would show it.
        """
        fitted = self.statistics
        if self.intensity == "display":
            return fitted.mean, fitted.std
        width = fitted.high - fitted.low
        return (fitted.mean - fitted.low) / width, fitted.std / width

    def digest(self) -> str:
        """SHA-256 over everything that changes a network input."""
        statistics = self.statistics
        parts = {
            "version": self.version,
            "intensity": self.intensity,
            "size": self.size,
            "geometry": self.geometry,
            "low": statistics.low,
            "high": statistics.high,
            "mean": statistics.mean,
            "std": statistics.std,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, the digest among them."""
        return {**asdict(self), "statistics": self.statistics.as_json(), "digest": self.digest()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Rebuild the record and check its digest.

        Raises:
            BundleError: a part is missing.
            PreprocessingMismatchError: the digest is not that of the parts, or the record was
                written by a version of the pixel path that this medres does not reproduce.
        """
        try:
            preprocessing = cls(
                intensity=values["intensity"],
                size=int(values["size"]),
                geometry=values["geometry"],
                statistics=IntensityStatistics.from_json(values["statistics"]),
                version=int(values["version"]),
            )
            digest = values["digest"]
        except KeyError as error:
            raise BundleError(
                f"the model's preprocessing lacks {error.args[0]!r}; train the model again"
            ) from error
        if preprocessing.version != PREPROCESSING_VERSION:
            raise PreprocessingMismatchError(
                f"the model's preprocessing has version {preprocessing.version}, this medres "
                f"computes version {PREPROCESSING_VERSION}; use the medres it was trained with"
            )
        if digest != preprocessing.digest():
            raise PreprocessingMismatchError(
                "the model's preprocessing does not match its digest: the file was changed after "
                "training; restore it or train the model again"
            )
        return preprocessing
