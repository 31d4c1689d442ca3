"""A policy for slices that show nothing: air above the head, padding around a resampled volume.

A slice is empty where all its pixels, padding aside, are equal. Nothing can be learned from such a
slice, and training refuses it; a manifest of slices either keeps all, for a study that counts every
slice, or drops the empty ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from medres.errors import ConfigError, UnreadableImageError
from medres.imaging.isolated import ImageFacts
from medres.imaging.read import count_frames, sniff_format, split_address
from medres.imaging.reader_pool import inspect_ahead
from medres.imaging.reader_protocol import ReadRequest

EmptySlices = Literal["keep", "drop"]


def select_frames(image: str | Path, *, empty_slices: EmptySlices = "keep") -> tuple[int, ...]:
    """Indices of the frames or slices that a manifest should list, ascending.

    Args:
        image: an address, such as `x.nii.gz::coronal`; of any format.
        empty_slices: keep reads the header only; drop reads the pixels of every frame once.

    Raises:
        ConfigError: another policy.
        UnreadableImageError: as `read_grayscale`.
    """
    if empty_slices not in get_args(EmptySlices):
        raise ConfigError(f"empty_slices is {empty_slices!r}; keep and drop are known")
    count = count_frames(image)
    if empty_slices == "keep":
        return tuple(range(count))
    path, plane = split_address(image)
    if sniff_format(path) == "nifti":
        from medres.imaging.nifti import find_empty_slices

        empty = find_empty_slices(path, plane)
        return tuple(frame for frame in range(count) if not empty[frame])
    facts = inspect_ahead(ReadRequest(str(image), frame) for frame in range(count))
    return tuple(frame for frame, found in enumerate(facts) if not _is_empty(found))


def _is_empty(found: ImageFacts | UnreadableImageError) -> bool:
    if isinstance(found, UnreadableImageError):
        raise found
    return found.constant
