"""An image, and beside it the same under its Grad-CAM map: how a map looks on every page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

ORANGE = np.array([230, 159, 0], np.float32)  # Okabe & Ito's: seen with every colour blindness
OPACITY = 0.7
"""How much of the image the map's largest value covers."""


def pair_with_map(pixels: NDArray[np.float32], heat: NDArray[np.float32]) -> Image:
    """The image on the left, the same under its map on the right, as an RGB picture.

    Args:
        pixels: (H, W) gray; what lies outside [0, 1] is black or white.
        heat: (H, W) in [0, 1].

    Returns:
        A picture of H rows and 2 W columns.
    """
    from PIL import Image

    plain = np.repeat(255 * pixels.clip(0, 1)[..., None], 3, axis=-1)
    share = OPACITY * heat[..., None]
    both = np.concatenate([plain, plain * (1 - share) + ORANGE * share], axis=1)
    return Image.fromarray(both.round().astype(np.uint8))


def as_jpeg(picture: Image, size: tuple[int, int], quality: int) -> bytes:
    """A picture as JPEG, scaled to (columns, rows)."""
    from PIL.Image import Resampling

    stream = io.BytesIO()
    picture.resize(size, Resampling.LANCZOS).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
