"""An image at another size: bilinear, averaging where it shrinks, a few rows at a time.

Rows go from the source through both passes in blocks that stay in the processor's cache, so that
an image that is wanted small is never written out large. What comes out equals PyTorch's
`interpolate(mode="bilinear", antialias=True)` to rounding.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medres.imaging.grayscale import (
    BLOCK_PIXELS,
    GrayscaleImage,
    Intensity,
    Rendering,
    fill_padding,
    is_tabular,
    look_up_rows,
    padding_mask,
    render,
    value_table,
)

Geometry = Literal["pad", "crop", "squash"]
Pixels: TypeAlias = NDArray[np.float32]
ROUNDING = 2e-7  # of float32
BAND = 8  # outputs a product; their inputs overlap, so that fewer cost repetition


@dataclass(frozen=True)
class Fit:
    """The size that an image of any size is wanted at, to be padded or cropped to a square.

    Args:
        size: side of the square, in pixels.
        geometry: pad lets the longer side fit the square, crop the shorter one, squash both.
    """

    size: int
    geometry: Geometry = "pad"

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """Rows and columns after resizing, before padding or cropping; at least 1 each."""
        if self.geometry == "squash":
            return self.size, self.size
        scale = self.size / (max if self.geometry == "pad" else min)(rows, columns)
        return max(1, round(rows * scale)), max(1, round(columns * scale))


def render_resampled(
    stored: NDArray[Any], rendering: Rendering, intensity: Intensity, wanted: tuple[int, int]
) -> Pixels:
    """Stored pixels (H, W) to display or modality values (h, w), padding filled before.

    The same as `render`, `fill_padding` and `resample` one after the other, to rounding.

    Args:
        stored: (H, W) integers, or floats from a colour conversion.
        rendering: what the file says about them.
        intensity: see `Intensity`.
        wanted: rows and columns, (h, w).
    """
    padding = padding_mask(stored, rendering.padding)
    if padding is None and stored.shape != wanted and is_tabular(stored, rendering):
        shape = (stored.shape[0], stored.shape[1])
        low, high = rendering.stored_low, rendering.stored_high
        table = value_table(rendering, intensity)
        line = _straight_line(table)
        if line is None:
            return resample_rows(look_up_rows(stored, table, low), shape, wanted)
        slope, start = line
        means = resample_rows(_float_rows(stored, low, high), shape, wanted)
        return (means - np.float32(low)) * np.float32(slope) + np.float32(start)
    return resample(fill_padding(*render(stored, rendering, intensity)), wanted)


def _straight_line(table: Pixels) -> tuple[float, float] | None:
    """Step and first value where a table is a straight line, as a rescale or a full window is.

    Such a rendering may as well follow the resampling, whose weights sum to 1: on the few pixels
    that are wanted.
    """
    steps = len(table) - 1
    if steps < 1:
        return None
    first, slope = float(table[0]), (float(table[-1]) - float(table[0])) / steps
    line = first + slope * np.arange(len(table))
    largest = float(np.abs(table).max())
    return (slope, first) if np.abs(table - line).max() <= ROUNDING * largest else None


def _float_rows(
    stored: NDArray[Any], low: int, high: int
) -> Generator[tuple[int, Pixels], None, None]:
    """Stored values within the stored bits' range, as blocks for `resample_rows`."""
    step = max(1, BLOCK_PIXELS // stored.shape[1])
    block = np.empty((step, stored.shape[1]), np.float32)
    for top in range(0, len(stored), step):
        rows = stored[top : top + step]
        values = block[: len(rows)]
        np.copyto(values, rows, casting="unsafe")
        if rows.min() < low or rows.max() > high:
            np.clip(values, low, high, out=values)
        yield top, values


def resample_image(image: GrayscaleImage, fit: Fit) -> GrayscaleImage:
    """An image at the size wanted, padding filled before; its record stays the file's."""
    wanted = fit.shape(image.record.rows, image.record.columns)
    pixels = resample(fill_padding(image.pixels, image.padding), wanted)
    return GrayscaleImage(pixels, None, image.record)


@lru_cache(maxsize=64)
def filter_weights(size: int, wanted: int) -> Pixels:
    """(wanted, size): the share of each input sample in each output sample; rows sum to 1.

    A triangle about the output's centre, as wide as the step between outputs, at least 1 sample.

    Args:
        size: input samples.
        wanted: output samples.
    """
    scale = size / wanted
    width = max(scale, 1.0)
    centers = (np.arange(wanted) + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centers[:, None]) / width
    first = np.maximum((centers - width + 0.5).astype(np.int64), 0)[:, None]
    end = np.minimum((centers + width + 0.5).astype(np.int64), size)[:, None]
    inside = (np.arange(size) >= first) & (np.arange(size) < end)
    weights = np.where(inside, np.clip(1.0 - distance, 0.0, None), 0.0)
    shares: Pixels = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


@lru_cache(maxsize=64)
def _touched(size: int, wanted: int) -> tuple[list[int], list[int]]:
    """Of each input sample, the first output sample that it has a share in, and the last plus 1.

    Both grow with the input's index; where a sample has no share, they are its neighbours'.
    """
    shares = filter_weights(size, wanted) > 0
    first = np.where(shares.any(axis=0), shares.argmax(axis=0), wanted)
    end = np.where(shares.any(axis=0), wanted - shares[::-1].argmax(axis=0), 0)
    first = np.minimum.accumulate(first[::-1])[::-1]
    return first.tolist(), np.maximum.accumulate(end).tolist()


def resample_rows(
    blocks: Iterable[tuple[int, Pixels]], shape: tuple[int, int], wanted: tuple[int, int]
) -> Pixels:
    """Resample an image that comes in blocks of rows.

    Args:
        blocks: first row and (R, W) pixels of each block, in any order, every row once; a block's
            memory may be used again for the next.
        shape: rows and columns of the image, (H, W).
        wanted: rows and columns, (h, w).

    Returns:
        (h, w) float32.
    """
    weights = filter_weights(shape[0], wanted[0])
    first, end = _touched(shape[0], wanted[0])
    narrowed = np.zeros((wanted[0], shape[1]), np.float32)
    for top, block in blocks:
        bottom = top + len(block)
        low, high = first[top], end[bottom - 1]
        narrowed[low:high] += weights[low:high, top:bottom] @ block
    return _resample_columns(narrowed, wanted[1])


def resample(pixels: Pixels, wanted: tuple[int, int]) -> Pixels:
    """Resample an image that is in memory, (H, W) to (h, w); the same array where it fits."""
    if pixels.shape == wanted:
        return pixels
    step = 32
    blocks = ((top, pixels[top : top + step]) for top in range(0, len(pixels), step))
    return resample_rows(blocks, (pixels.shape[0], pixels.shape[1]), wanted)


def _resample_columns(pixels: Pixels, wanted: int) -> Pixels:
    """(h, W) to (h, w), a band of outputs at a time: each needs few of the inputs."""
    resampled = np.empty((len(pixels), wanted), np.float32)
    for left, low, high, weights in _bands(pixels.shape[1], wanted):
        resampled[:, left : left + weights.shape[1]] = pixels[:, low:high] @ weights
    return resampled


@lru_cache(maxsize=64)
def _bands(size: int, wanted: int) -> list[tuple[int, int, int, Pixels]]:
    """First output, first input, end of the inputs, and (inputs, outputs) weights of each band."""
    weights = filter_weights(size, wanted)
    bands = []
    for left in range(0, wanted, BAND):
        share = weights[left : left + BAND]
        touched = np.flatnonzero(share.any(axis=0))
        low, high = int(touched[0]), int(touched[-1]) + 1
        bands.append((left, low, high, np.ascontiguousarray(share[:, low:high].T)))
    return bands
