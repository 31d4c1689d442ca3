"""Score every image of a folder; what cannot be scored is listed with its reason.

Nothing is dropped: each file ends among the scored or among the rejected.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from medres.data.image_index import ImageFile, ImageIndex, RejectedFile
from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.grayscale import GrayscaleImage, is_constant
from medres.imaging.isolated import ReadRequest, read_ahead
from medres.imaging.read import read_grayscale
from medres.imaging.resampling import Fit
from medres.scoring.predictor import Predictor
from medres.training.dataset import FORWARD_BATCH
from medres.transforms.chains import build_fitting_chain
from medres.transforms.load import as_meta_tensor

CONSTANT = "all pixels are equal, so there is nothing to classify"
ROUNDING = 1e-5  # of resampled pixels that were equal
Follow = Callable[[Iterable[ImageFile]], Iterable[ImageFile]]


@dataclass(frozen=True)
class ImageScore:
    """One scored image.

    Attributes:
        image: address relative to the archive.
        frame: of a multi-frame file or volume.
        study_instance_uid: "" where the file names none.
        probabilities: (F,) in [0, 1].
    """

    image: str
    frame: int
    study_instance_uid: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class StudyScore:
    """One study: the mean over its scored images.

    Attributes:
        study: its UID, or the image's address where a file names no study.
        images: how many were scored.
        probabilities: (F,) in [0, 1].
    """

    study: str
    images: int
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class ArchiveScores:
    """Everything that came of an archive; files = scored files + rejected files."""

    images: tuple[ImageScore, ...]
    rejected: tuple[RejectedFile, ...]

    def studies(self) -> tuple[StudyScore, ...]:
        """Images combined to studies, in the order of their first image."""
        groups: dict[str, list[ImageScore]] = defaultdict(list)
        for score in self.images:
            groups[score.study_instance_uid or score.image].append(score)
        return tuple(
            StudyScore(
                study,
                len(scores),
                tuple(fmean(p) for p in zip(*(s.probabilities for s in scores), strict=True)),
            )
            for study, scores in groups.items()
        )


def score_archive(
    predictor: Predictor, index: ImageIndex, *, follow: Follow = lambda files: files
) -> ArchiveScores:
    """Score the images of an index.

    Args:
        predictor: of the model.
        index: what the archive holds.
        follow: wraps the files, for a progress bar.
    """
    scores: list[ImageScore] = []
    rejected = [*index.rejected]
    batch: list[_Input] = []
    for found in _inputs(predictor, index, follow):
        if isinstance(found, RejectedFile):
            rejected.append(found)
            continue
        batch.append(found)
        if len(batch) == FORWARD_BATCH:
            scores += _score(predictor, batch)
            batch = []
    if batch:
        scores += _score(predictor, batch)
    return ArchiveScores(tuple(scores), tuple(rejected))


@dataclass(frozen=True, eq=False)
class _Input:
    image: str
    frame: int
    study_instance_uid: str
    tensor: torch.Tensor


def _inputs(
    predictor: Predictor, index: ImageIndex, follow: Follow
) -> Iterator[_Input | RejectedFile]:
    """Each image of the index, decoded in another process, or why it cannot be scored."""
    preprocessing = predictor.preprocessing
    finish = build_fitting_chain(preprocessing)
    small = Fit(preprocessing.size, preprocessing.geometry)
    asked, requested = itertools.tee(
        (file, frame) for file in index.images for frame in range(file.record.number_of_frames)
    )
    images = read_ahead(
        ReadRequest(str(index.folder / file.name), frame, preprocessing.intensity, fit=small)
        for file, frame in requested
    )
    files = iter(follow(index.images))
    for (file, frame), image in zip(asked, images, strict=True):
        if frame == 0:
            next(files)
        if isinstance(image, UnreadableImageError):
            yield RejectedFile(file.name, image.reason, f"frame {frame}: {image.message}")
        elif _is_constant(image, index.folder / file.name, frame):
            yield RejectedFile(file.name, RejectReason.CONSTANT_IMAGE, f"frame {frame}: {CONSTANT}")
        else:
            tensor = finish({"image": as_meta_tensor(image)})["image"]
            yield _Input(file.name, frame, image.record.study_instance_uid, tensor)


def _is_constant(image: GrayscaleImage, path: Path, frame: int) -> bool:
    """Whether the image is constant at its own size; asked only where it looks so when small."""
    low, high = float(image.pixels.min()), float(image.pixels.max())
    if high - low > ROUNDING * max(1.0, abs(low), abs(high)):
        return False
    return is_constant(read_grayscale(path, frame, intensity=image.record.intensity))


def _score(predictor: Predictor, batch: Sequence[_Input]) -> Iterator[ImageScore]:
    probabilities = predictor.score_batch(torch.stack([found.tensor for found in batch]))
    for found, values in zip(batch, probabilities.tolist(), strict=True):
        yield ImageScore(found.image, found.frame, found.study_instance_uid, tuple(values))
