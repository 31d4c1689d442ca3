"""What medres sees, as a file to look at or to compute with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medres.errors import ConfigError
from medres.files import written_whole
from medres.imaging.grayscale import GrayscaleImage

SUFFIXES = (".png", ".npy")


def write_picture(path: Path, image: GrayscaleImage) -> None:
    """Write a PNG or npy file, whole or not at all.

    Args:
        path: `.png` for 8 bits, or 16 where the file stores more than 8, of a display image;
            `.npy` for the (H, W) float32 pixels as they are.
        image: with display values for a PNG; with any for npy.

    Raises:
        ConfigError: another suffix, or modality units for a PNG.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: pictures are written as {' or '.join(SUFFIXES)}, by suffix")
    if path.suffix.lower() == ".npy":
        with written_whole(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, image.pixels, allow_pickle=False)
        return
    if image.record.intensity != "display":
        raise ConfigError(
            f"{path}: a PNG holds display values, these are modality units; write them as .npy"
        )
    with written_whole(path) as temporary:
        Image.fromarray(quantize_display(image)).save(temporary, format="PNG")


def quantize_display(image: GrayscaleImage) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Display values as (H, W) integers of 8 bits, or 16 where the file stores more than 8."""
    if image.record.bits_stored <= 8:
        return np.rint(image.pixels * 255).astype(np.uint8)
    return np.rint(image.pixels.astype(np.float64) * 65535).astype(np.uint16)
