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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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

CONSTANT = "all pixels are equal, so there is nothing to classify"
GONE = "was there when the folder was listed, and is no longer; put it back, or leave it out"
PATIENCE_SECONDS = 2.0  # after which a batch is scored though it is not full
PASS_ROWS = 16  # as fast as any on a CPU, and within a GPU's reach of its readers
PASS_PIXELS = PASS_ROWS * 512**2  # of larger images fewer, so that a pass needs no more memory


@dataclass(frozen=True)
class Engine:
    """How images are scored.

    Args:
        predictor: of the model.
        model: its digest, for the journal.
        readers: of images.
        batch_size: images that are kept together.
        guard: None where there is none.
    """

    predictor: Predictor
    model: str
    readers: ReaderPool
    batch_size: int = 16
    guard: Guard | None = None

    def score(self, images: Iterable[Planned]) -> Iterator[list[dict[str, Any]]]:
        """What came of the images, a batch at a time, as the journal has it."""
        batch: list[tuple[Planned, NetworkInput]] = []
        outcomes: list[dict[str, Any]] = []
        since = time.monotonic()
        for planned, answer in self._read(images):
            refusal = _refusal(answer)
            if refusal is not None:
                outcomes.append({**_head(planned), **refusal})
            else:
                assert isinstance(answer, NetworkInput)
                batch.append((planned, answer))
            late = time.monotonic() - since > PATIENCE_SECONDS
            if len(batch) == self.batch_size or late:
                yield [*outcomes, *self._forward(batch)]
                batch, outcomes, since = [], [], time.monotonic()
        if batch or outcomes:
            yield [*outcomes, *self._forward(batch)]

    @property
    def pass_rows(self) -> int:
        """Of every forward pass; by the model's size alone, since scores depend on it."""
        return min(PASS_ROWS, max(1, PASS_PIXELS // self.predictor.preprocessing.size**2))

    def seconds_an_image(self) -> float:
        """Of the network's time, by the second of two passes of nothing; it warms up with them."""
        side = self.predictor.preprocessing.size
        empty = torch.zeros(self.pass_rows, 1, side, side)
        self.predictor.score_batch(empty)
        start = time.monotonic()
        self.predictor.score_batch(empty)
        passes = math.ceil(self.batch_size / self.pass_rows)
        return (time.monotonic() - start) * passes / self.batch_size

    def _read(
        self, images: Iterable[Planned]
    ) -> Iterator[tuple[Planned, NetworkInput | UnreadableImageError]]:
        preprocessing = self.predictor.preprocessing
        fit = Fit(preprocessing.size, preprocessing.geometry)
        gone: list[Planned] = []

        def requests() -> Iterator[tuple[Planned, ReadRequest]]:
            for planned in images:
                if planned.path is None:
                    gone.append(planned)
                else:
                    yield planned, _request(planned, planned.path, preprocessing.intensity, fit)

        yield from self.readers.read_as_done(
            IsolatedReader.read_input, requests(), ahead=2 * self.batch_size
        )
        for planned in gone:
            yield planned, UnreadableImageError(RejectReason.NOT_FOUND, planned.name, GONE)

    def _forward(self, batch: Sequence[tuple[Planned, NetworkInput]]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(batch), self.pass_rows):
            yield from self._pass(batch[start : start + self.pass_rows])

    def _pass(self, batch: Sequence[tuple[Planned, NetworkInput]]) -> Iterator[dict[str, Any]]:
        images = [image for _, image in batch]
        inputs = stack_inputs(images, self.predictor.preprocessing, rows=self.pass_rows)
        scores, verdicts = self._score(images, inputs)
        for (planned, image), values, verdict in zip(
            batch, scores[: len(batch)].tolist(), verdicts, strict=True
        ):
            yield {
                **_head(planned),
                "status": "scored",
                "sha256": image.digest,
                "model": self.model[:16],
                "p": values,
                **({} if verdict is None else {"guard": _as_list(verdict)}),
            }

    def _score(
        self, images: Sequence[NetworkInput], inputs: Tensor
    ) -> tuple[Tensor, Sequence[Verdict | None]]:
        if self.guard is None:
            return self.predictor.score_batch(inputs), [None] * len(images)
        with measuring(self.predictor.network, self.guard.limits) as measure:
            scores = self.predictor.score_batch(inputs)
            measured = measure(inputs.to(self.predictor.device))
        records = [image.record for image in images]
        return scores, self.guard.check(records, measured[: len(images)])


def _head(planned: Planned) -> dict[str, Any]:
    return {
        "image": planned.name,
        "part": planned.part,
        "frame": planned.frame,
        "stamp": planned.stamp,
    }


def _refusal(answer: NetworkInput | UnreadableImageError) -> dict[str, Any] | None:
    """Why an image is not scored; None where it is to be."""
    if isinstance(answer, UnreadableImageError):
        reason, message = answer.reason, answer.message
    elif answer.constant:
        reason, message = RejectReason.CONSTANT_IMAGE, CONSTANT
    else:
        return None
    return {"status": "rejected", "reason": reason.value, "message": message}


def _request(
    planned: Planned, path: str, intensity: Intensity | Literal["auto"], fit: Fit
) -> ReadRequest:
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
