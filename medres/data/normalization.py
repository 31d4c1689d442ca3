"""Intensity statistics, fitted on training images in one pass and in bounded memory.

The histogram's grid is a power of two, and a bin is half of a bin on the next coarser grid. So the
grid depends on the range of all pixels alone, and the statistics do not depend on the order of the
images, nor on how they were shared out among processes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medres.errors import NormalizationError

# [0, 1] in steps of 2**-16 (an 8-bit step has 257 of them); a 16-bit range in steps of 1; 1 MiB.
MAX_BINS = 2**17
# float32 has 24 significant bits: a finer grid than this share of the largest value adds nothing.
SIGNIFICANT_BITS = 24
# Keeps 2**-exponent a normal float32.
MIN_EXPONENT = -100


@dataclass(frozen=True)
class IntensityStatistics:
    """What normalisation needs: clip to [low, high], subtract mean, divide by std.

    Args:
        low: intensity at the lower clip percentile.
        high: intensity at the upper clip percentile.
        mean: of the clipped pixels.
        std: of the clipped pixels, population (divided by n).
        percentiles: (lower, upper), in percent.
        n_images: images that the pixels come from.
        n_patients: patients that the images come from.
        n_pixels: pixels counted, padding left out.
        resolution: largest error of the four figures: the width of a bin.
    """

    low: float
    high: float
    mean: float
    std: float
    percentiles: tuple[float, float]
    n_images: int
    n_patients: int
    n_pixels: int
    resolution: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "low": self.low,
            "high": self.high,
            "mean": self.mean,
            "std": self.std,
            "percentiles": list(self.percentiles),
            "n_images": self.n_images,
            "n_patients": self.n_patients,
            "n_pixels": self.n_pixels,
            "resolution": self.resolution,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IntensityStatistics:
        """The inverse of `as_json`.

        Raises:
            KeyError: a figure is not there.
        """
        low, high = values["percentiles"]
        return cls(
            low=float(values["low"]),
            high=float(values["high"]),
            mean=float(values["mean"]),
            std=float(values["std"]),
            percentiles=(float(low), float(high)),
            n_images=int(values["n_images"]),
            n_patients=int(values["n_patients"]),
            n_pixels=int(values["n_pixels"]),
            resolution=float(values["resolution"]),
        )


class IntensityHistogram:
    """Counts of pixel intensities over a range that grows with what comes.

    Two histograms add up to the histogram of all their pixels, bit for bit.
    """

    def __init__(self) -> None:
        self._exponent = MIN_EXPONENT  # bin i holds [i, i + 1) * 2**exponent
        self._first = 0
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._low, self._high = math.inf, -math.inf
        self._n_images = 0

    @property
    def bin_width(self) -> float:
        """Width of a bin, in units of intensity."""
        return math.ldexp(1.0, self._exponent)

    @property
    def n_pixels(self) -> int:
        """Pixels counted so far."""
        return int(self._counts.sum())

    def update(
        self, pixels: NDArray[np.floating], *, padding: NDArray[np.bool_] | None = None
    ) -> None:
        """Count the pixels of one image.

        Args:
            pixels: any shape, finite.
            padding: the same shape, true where a pixel is padding and is left out.

        Raises:
            NormalizationError: a NaN or infinite pixel.
        """
        values = np.asarray(pixels, dtype=np.float32)
        values = values.ravel() if padding is None else values[~np.asarray(padding, dtype=bool)]
        self._n_images += 1
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise NormalizationError(
                "a training image has pixels that are NaN or infinite; leave it out or mark them "
                "as padding"
            )
        self._cover(low, high)
        # Exact: a power of two moves the exponent only.
        scaled = values * np.float32(math.ldexp(1.0, -self._exponent))
        bins = np.floor(scaled, out=scaled).astype(np.int64) - self._first
        self._counts += np.bincount(bins, minlength=self._counts.size)

    def __add__(self, other: IntensityHistogram) -> IntensityHistogram:
        total = IntensityHistogram()
        for part in (self, other):
            if part._counts.size:
                total._cover(part._low, part._high)
        for part in (self, other):
            total._n_images += part._n_images
            if part._counts.size:
                total._add(part._counts, part._first, part._exponent)
        return total

    def _cover(self, low: float, high: float) -> None:
        """Grow the range to hold [low, high], and coarsen the grid as far as that needs."""
        low, high = min(low, self._low), max(high, self._high)
        if (low, high) == (self._low, self._high):
            return
        self._low, self._high = low, high
        counts, first, exponent = self._counts, self._first, self._exponent
        self._exponent = _grid_exponent(low, high)
        self._first, last = (_bin(value, self._exponent) for value in (low, high))
        self._counts = np.zeros(last - self._first + 1, np.int64)
        if counts.size:
            self._add(counts, first, exponent)

    def _add(self, counts: NDArray[np.int64], first: int, exponent: int) -> None:
        """Add counts of a finer or equal grid that lies within the range."""
        filled = np.flatnonzero(counts)
        bins = (filled + first) >> min(self._exponent - exponent, 62)
        np.add.at(self._counts, bins - self._first, counts[filled])

    def statistics(
        self, percentiles: tuple[float, float] = (0.1, 99.9), *, n_patients: int = 0
    ) -> IntensityStatistics:
        """Clip limits, and mean and standard deviation of the clipped pixels.

        A percentile is the smallest intensity with at least that share of the pixels at or below
        it (the inverse of the empirical distribution), to the width of a bin.

        Args:
            percentiles: lower and upper, 0 <= lower < upper <= 100.
            n_patients: whose images were counted, for the record.

        Raises:
            NormalizationError: no pixels, or none that differ within the limits.
        """
        lower, upper = percentiles
        if not 0 <= lower < upper <= 100:
            raise NormalizationError(
                f"clip percentiles {lower} and {upper}: accepted are 0 <= lower < upper <= 100"
            )
        if not self.n_pixels:
            raise NormalizationError("no training pixels to fit the normalisation on")
        centres = (np.arange(self._counts.size) + self._first + 0.5) * self.bin_width
        centres = np.clip(centres, self._low, self._high)
        low, high = (self._percentile(centres, share / 100) for share in percentiles)
        clipped = np.clip(centres, low, high)
        mean = float(np.average(clipped, weights=self._counts))
        std = math.sqrt(float(np.average((clipped - mean) ** 2, weights=self._counts)))
        if low == high or std == 0:
            raise NormalizationError(
                f"the training images are constant: all pixels between the {lower:g}th and the "
                f"{upper:g}th percentile are {low:g}; check the images and their window, or widen "
                "the clip percentiles"
            )
        return IntensityStatistics(
            low=low,
            high=high,
            mean=mean,
            std=std,
            percentiles=(float(lower), float(upper)),
            n_images=self._n_images,
            n_patients=n_patients,
            n_pixels=self.n_pixels,
            resolution=self.bin_width,
        )

    def _percentile(self, centres: NDArray[np.float64], share: float) -> float:
        cumulative = np.cumsum(self._counts)
        rank = max(1, math.ceil(share * int(cumulative[-1])))
        return float(centres[np.searchsorted(cumulative, rank)])


def _grid_exponent(low: float, high: float) -> int:
    """The finest grid on which [low, high] takes at most `MAX_BINS` bins; grows with the range."""
    largest = max(abs(low), abs(high))
    exponent = MIN_EXPONENT
    if largest > 0:
        exponent = max(exponent, math.frexp(largest)[1] - SIGNIFICANT_BITS)
    if high > low:
        spread = math.frexp(high - low)[1] - MAX_BINS.bit_length()
        exponent = max(exponent, spread)
    while _bin(high, exponent) - _bin(low, exponent) >= MAX_BINS:
        exponent += 1
    return exponent


def _bin(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent))
