"""Look at every image once before training: can it be read, is it unique, how bright is it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from medres.data.manifest import Manifest, ManifestRow
from medres.data.normalization import IntensityHistogram
from medres.errors import ConfigError, ManifestError, RejectReason, UnreadableImageError
from medres.imaging.grayscale import ImageRecord, Intensity
from medres.imaging.read import read_grayscale
from medres.imaging.reader_pool import inspect_ahead
from medres.imaging.reader_protocol import ReadRequest
from medres.imaging.resampling import Fit, Geometry
from medres.transforms.geometry import resize
from medres.transforms.load import as_meta_tensor

CONSTANT = "all pixels are equal, so there is nothing to classify; remove it from the manifest"
SHOWN = 5
"""How many unreadable images an error names."""


@dataclass(frozen=True)
class PixelSurvey:
    """What one pass over the images has found.

    Attributes:
        intensity: what all their pixels mean.
        digests: pixel digest of each (address, frame).
        sop_instance_uids: of each (address, frame) that has one.
        modalities: DICOM codes, each with its count of images; "" for images that name none. Where
            the header does not, the manifest's column `modality` does.
        records: what the header of each (address, frame) says.
    """

    intensity: Intensity
    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    sop_instance_uids: dict[tuple[str, int], str] = field(default_factory=dict)
    modalities: dict[str, int] = field(default_factory=dict)
    records: dict[tuple[str, int], ImageRecord] = field(default_factory=dict)


def survey_images(
    manifest: Manifest,
    *,
    intensity: Literal["auto", "display", "modality"],
    follow: Callable[[Iterable[ManifestRow]], Iterable[ManifestRow]] = lambda rows: rows,
) -> PixelSurvey:
    """Read every image of a manifest once, each in a process that it may take down with it.

    Args:
        manifest: its rows.
        intensity: asked for; with auto, all images must come out alike.
        follow: wraps the rows, for a progress bar.

    Raises:
        ManifestError: images that cannot be read or are constant; the first few are named.
        ConfigError: auto finds display intensity in some images and modality units in others.
    """
    digests: dict[tuple[str, int], str] = {}
    instances: dict[tuple[str, int], str] = {}
    failures: list[UnreadableImageError] = []
    found: set[Intensity] = set()
    modalities: Counter[str] = Counter()
    records: dict[tuple[str, int], ImageRecord] = {}
    asked = (ReadRequest(manifest.address(row), row.frame, intensity) for row in manifest.rows)
    for row, facts in zip(follow(manifest.rows), inspect_ahead(asked), strict=True):
        if isinstance(facts, UnreadableImageError):
            failures.append(UnreadableImageError(facts.reason, row.image, facts.message))
            continue
        if facts.constant:
            failures.append(UnreadableImageError(RejectReason.CONSTANT_IMAGE, row.image, CONSTANT))
            continue
        key = (row.image, row.frame)
        digests[key] = facts.digest
        if facts.record.sop_instance_uid:
            instances[key] = facts.record.sop_instance_uid
        found.add(facts.record.intensity)
        records[key] = facts.record
        modalities[facts.record.modality or row.groups.get("modality", "").upper()] += 1
    _check_readable(manifest, failures)
    if len(found) > 1:
        raise ConfigError(
            "pixels.intensity: auto finds display intensity in some images and modality units in "
            "others; set pixels.intensity to display or modality"
        )
    return PixelSurvey(found.pop(), digests, instances, dict(modalities), records)


def _check_readable(manifest: Manifest, failures: Sequence[UnreadableImageError]) -> None:
    if failures:
        lines = "\n".join(f"  {error}" for error in failures[:SHOWN])
        more = f"\n  and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
        raise ManifestError(
            f"{len(failures)} of {len(manifest.rows)} images cannot be used; mend them or take "
            f"their rows out of the manifest:\n{lines}{more}"
        )


def fit_histogram(
    manifest: Manifest,
    rows: Iterable[ManifestRow],
    *,
    intensity: Intensity,
    size: int,
    geometry: Geometry,
) -> IntensityHistogram:
    """Histogram of training images as the network will see them: resized, without padding.

    Args:
        manifest: where the rows' images lie.
        rows: of the training split alone.
        intensity: of the pixels.
        size: side of the network input.
        geometry: how an image is brought to it; what crop removes still counts.

    Returns:
        The histogram; its `statistics` are the normalisation.
    """
    histogram = IntensityHistogram()
    for row in rows:
        image = read_grayscale(manifest.address(row), row.frame, intensity=intensity)
        tensor = as_meta_tensor(image).as_tensor()
        height, width = tensor.shape[1:]
        shape = Fit(size, geometry).shape(height, width)
        padding = None
        if image.padding is not None and image.padding.any():
            share = torch.from_numpy(image.padding.astype(np.float32))[None]
            padding = resize(share, *shape)[0].numpy() >= 0.5
        histogram.update(resize(tensor, *shape)[0].numpy(), padding=padding)
    return histogram
