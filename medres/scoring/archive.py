"""Score every image of a folder; what cannot be scored is listed with its reason.

Nothing is dropped: each file ends among the scored or among the rejected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from medres.data.image_index import ImageFile, ImageIndex, RejectedFile
from medres.errors import UnreadableImageError
from medres.imaging.read import read_grayscale
from medres.scoring.predictor import Predictor
from medres.training.dataset import FORWARD_BATCH
from medres.transforms.chains import build_fitting_chain
from medres.transforms.load import as_meta_tensor
from medres.transforms.survey import check_not_constant

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
    fit = build_fitting_chain(predictor.preprocessing)
    for file in follow(index.images):
        for frame in range(file.record.number_of_frames):
            yield _read(fit, predictor, index.folder, file, frame)


def _read(
    fit: Callable[[dict[str, Any]], dict[str, Any]],
    predictor: Predictor,
    folder: Path,
    file: ImageFile,
    frame: int,
) -> _Input | RejectedFile:
    try:
        image = read_grayscale(
            folder / file.name, frame, intensity=predictor.preprocessing.intensity
        )
        check_not_constant(image, file.name)
    except UnreadableImageError as error:
        return RejectedFile(file.name, error.reason, f"frame {frame}: {error.message}")
    tensor = fit({"image": as_meta_tensor(image)})["image"]
    return _Input(file.name, frame, image.record.study_instance_uid, tensor)


def _score(predictor: Predictor, batch: Sequence[_Input]) -> Iterator[ImageScore]:
    probabilities = predictor.score_batch(torch.stack([found.tensor for found in batch]))
    for found, values in zip(batch, probabilities.tolist(), strict=True):
        yield ImageScore(found.image, found.frame, found.study_instance_uid, tuple(values))
