"""Images through the network: read apart, batched, scored and kept, one batch after the other.

While the network computes a batch, reading processes prepare the next. Every pass through the
network has the same number of rows, whatever the size of a batch and however full it is. Libraries
choose other kernels, which add up in another order, for other shapes: of a ResNet-50 in passes of
7 and of 16 a probability differs by more than 1e-5. In passes of one shape each image is computed
in the same way whatever stands beside it, and a score depends on nobody's batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from medres.errors import RejectReason, UnreadableImageError
from medres.guard.guard import Guard, Verdict
from medres.guard.measurements import measuring
from medres.imaging.grayscale import Intensity
from medres.imaging.isolated import IsolatedReader, NetworkInput
from medres.imaging.reader_pool import ReaderPool
from medres.imaging.reader_protocol import ReadRequest
from medres.imaging.resampling import Fit
from medres.scoring.inputs import stack_inputs
from medres.scoring.pictures import Planned
from medres.scoring.predictor import Predictor
from medres.scoring.sources import is_as_found
from medres.scoring.streams import Streams

NO_NUMBER = "the model's network gives no number for it"
CONSTANT = "all pixels are equal, so there is nothing to classify"
GONE = "was there when the folder was listed, and is no longer; put it back, or leave it out"
CHANGED = "has changed or gone since the folder was listed; start the same command again"
PATIENCE_SECONDS = 2.0  # after which a batch is scored though it is not full
PASS_ROWS = 16  # as fast as any on a CPU, and within a GPU's reach of its readers
PASS_PIXELS = PASS_ROWS * 512**2  # of larger images fewer, so that a pass needs no more memory


class Prepared(Protocol):
    """An image as a network takes it."""

    @property
    def constant(self) -> bool:
        """Whether all its pixels are equal."""


Image = TypeVar("Image", bound=Prepared)
Batch = Sequence[tuple[Planned, Image]]


@dataclass(frozen=True)
class Engine:
    """How images are scored.

    Args:
        predictor: of the model.
        model: its digest, for the journal.
        readers: of images.
        batch_size: images that are kept together, computed in passes of `pass_rows`, a last
            one that is not full like any other.
        guard: None where there is none.
    """

    predictor: Predictor
    model: str
    readers: ReaderPool
    batch_size: int = 16
    guard: Guard | None = None

    def score(self, images: Iterable[Planned]) -> Iterator[list[dict[str, Any]]]:
        """What came of the images, a batch at a time, as the journal has it."""
        preprocessing = self.predictor.preprocessing
        fit = Fit(preprocessing.size, preprocessing.geometry)
        streams = Streams(self.predictor)
        answers = read_planned(
            self.readers,
            IsolatedReader.read_input,
            images,
            lambda planned, path: request_of(planned, path, preprocessing.intensity, fit),
            ahead=(1 + streams.count) * self.batch_size,
        )
        yield from streams.map(self._forward, in_batches(answers, self.batch_size))

    def close(self) -> None:
        """The readers are the run's, and nothing else is open."""

    @property
    def pass_rows(self) -> int:
        """Of every forward pass; by the model's size alone, since scores depend on it."""
        return count_rows(self.predictor.preprocessing.size**2)

    def seconds_an_image(self) -> float:
        """Of the network's time, by the second of two rounds of nothing; one image warms it up."""
        side = self.predictor.preprocessing.size
        empty = torch.zeros(self.pass_rows, 1, side, side)
        streams = Streams(self.predictor)
        for images in (empty[:1], empty):
            start = time.monotonic()
            for _ in streams.map(Predictor.score_batch, [images] * streams.count):
                pass
        passes = math.ceil(self.batch_size / self.pass_rows)
        return (time.monotonic() - start) / streams.count * passes / self.batch_size

    def _forward(
        self, predictor: Predictor, read: tuple[list[dict[str, Any]], Batch[NetworkInput]]
    ) -> list[dict[str, Any]]:
        refused, batch = read
        rows = self.pass_rows
        passes = (batch[start : start + rows] for start in range(0, len(batch), rows))
        return [*refused, *chain.from_iterable(self._pass(predictor, part) for part in passes)]

    def _pass(self, predictor: Predictor, batch: Batch[NetworkInput]) -> Iterator[dict[str, Any]]:
        images = [image for _, image in batch]
        inputs = stack_inputs(images, predictor.preprocessing, rows=self.pass_rows)
        inputs = inputs.to(predictor.device)
        scores, verdicts = self._score(predictor, images, inputs)
        for (planned, image), values, verdict in zip(
            batch, scores[: len(batch)].tolist(), verdicts, strict=True
        ):
            outcome = outcome_of(planned, image.digest, self.model, values)
            if verdict is not None and outcome["status"] == "scored":
                outcome["guard"] = _as_list(verdict)
            yield outcome

    def _score(
        self, predictor: Predictor, images: Sequence[NetworkInput], inputs: Tensor
    ) -> tuple[Tensor, Sequence[Verdict | None]]:
        if self.guard is None:
            return predictor.score_batch(inputs), [None] * len(images)
        with measuring(predictor.network, self.guard.limits) as measure:
            scores = predictor.score_batch(inputs)
            measured = measure(inputs)
        records = [image.record for image in images]
        return scores, self.guard.check(records, measured[: len(images)])


def count_rows(pixels: int) -> int:
    """Of every forward pass, for images of so many pixels."""
    return min(PASS_ROWS, max(1, PASS_PIXELS // pixels))


def read_planned(
    readers: ReaderPool,
    call: Callable[[IsolatedReader, ReadRequest], Image],
    images: Iterable[Planned],
    request: Callable[[Planned, str], ReadRequest],
    *,
    ahead: int = 0,
) -> Iterator[tuple[Planned, Image | UnreadableImageError]]:
    """Images as they are read, in any order, or why one is not.

    Args:
        readers: that are asked.
        call: what of them.
        images: in the order of asking.
        request: for an image, and the path of its file or archive.
        ahead: images that are read or waiting to be taken.
    """
    gone: list[Planned] = []

    def requests() -> Iterator[tuple[Planned, ReadRequest]]:
        for planned in images:
            if planned.path is None:
                gone.append(planned)
            else:
                yield planned, request(planned, planned.path)

    for planned, answer in readers.read_as_done(call, requests(), ahead=ahead):
        if is_as_found(planned.path or "", planned.stamp):
            yield planned, answer
        else:  # another image than the one of whose header the study was learnt
            yield planned, UnreadableImageError(RejectReason.NOT_FOUND, planned.name, CHANGED)
    for planned in gone:
        yield planned, UnreadableImageError(RejectReason.NOT_FOUND, planned.name, GONE)


def in_batches(
    answers: Iterable[tuple[Planned, Image | UnreadableImageError]], batch_size: int
) -> Iterator[tuple[list[dict[str, Any]], Batch[Image]]]:
    """Images that are to be scored together, and before them what the journal has of refused ones.

    Args:
        answers: images that were read, or why not.
        batch_size: images at once; fewer where they are long in coming, or at the end.
    """
    batch: list[tuple[Planned, Image]] = []
    refused: list[dict[str, Any]] = []
    since = time.monotonic()
    for planned, answer in answers:
        if isinstance(answer, UnreadableImageError):
            refused.append(rejection_of(planned, answer.reason, answer.message))
        elif answer.constant:
            refused.append(rejection_of(planned, RejectReason.CONSTANT_IMAGE, CONSTANT))
        else:
            batch.append((planned, answer))
        late = time.monotonic() - since > PATIENCE_SECONDS
        if len(batch) == batch_size or late:
            yield refused, batch
            batch, refused, since = [], [], time.monotonic()
    if batch or refused:
        yield refused, batch


def head_of(planned: Planned) -> dict[str, Any]:
    """How the journal names an image."""
    return {
        "image": planned.name,
        "part": planned.part,
        "frame": planned.frame,
        "stamp": planned.stamp,
    }


def outcome_of(
    planned: Planned, digest: str, model: str, probabilities: list[float]
) -> dict[str, Any]:
    """What the journal has of an image that the network has seen.

    Args:
        planned: the image.
        digest: of its pixels.
        model: digest of the model.
        probabilities: of the F findings; an image for which one is no number is rejected.
    """
    if not all(map(math.isfinite, probabilities)):
        return rejection_of(planned, RejectReason.DECODE_FAILED, NO_NUMBER)
    return {
        **head_of(planned),
        "status": "scored",
        "sha256": digest,
        "model": model[:16],
        "p": probabilities,
    }


def rejection_of(planned: Planned, reason: RejectReason, message: str) -> dict[str, Any]:
    """What the journal has of an image that is not scored."""
    return {
        **head_of(planned),
        "status": "rejected",
        "reason": reason.value,
        "message": message,
    }


def request_of(
    planned: Planned,
    path: str,
    intensity: Intensity | Literal["auto"] = "auto",
    fit: Fit | None = None,
) -> ReadRequest:
    """Where an image is, for a reader; the path is that of its file or archive."""
    if planned.in_archive:
        return ReadRequest(
            planned.name,
            planned.frame,
            intensity,
            fit=fit,
            archive=path,
            at=planned.at,
            size=planned.size,
            part=planned.part,
        )
    address = f"{path}::{planned.part}" if planned.part else path
    return ReadRequest(address, planned.frame, intensity, fit=fit)


def _as_list(verdict: Verdict) -> list[Any]:
    return [verdict.distance, verdict.flagged, verdict.reason]
