"""Bundles of others in a run: their own chain reads the images, a file an image.

They have no guard, no threshold and no rule which images they are for; everything else is as for
medres' own models.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from medres.bundle.chain_reader import ChainInput, chain_program, read_chain_input
from medres.bundle.zoo import ZooModel
from medres.bundle.zoo_chain import not_taken
from medres.data.image_rule import EVERY_IMAGE, ImageRule
from medres.errors import BundleError, ConfigError, RejectReason
from medres.imaging.reader_pool import ReaderPool
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.scoring.engine import (
    Batch,
    count_rows,
    in_batches,
    outcome_of,
    read_planned,
    rejection_of,
    request_of,
)
from medres.scoring.pictures import Planned

if TYPE_CHECKING:
    from medres.scoring.run import Settings

MOST_NUMBERS = 2**26  # of an image of nothing: metadata may claim any size
FAILED_DEVICE = "CUDA error"  # after which a process computes nothing any more


@dataclass(frozen=True)
class ZooOutputs:
    """What a bundle's probabilities stand for; see `medres.scoring.scorer.Outputs`."""

    findings: tuple[str, ...]
    kind: Literal["binary", "multilabel", "multiclass"]
    weights_sha256: str
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    bands: Mapping[str, Band] = field(default_factory=dict)
    image_rule: ImageRule = EVERY_IMAGE


@dataclass(frozen=True)
class ZooScorer:
    """A bundle of others, as a run takes it; see `medres.scoring.scorer.Scorer`."""

    model: ZooModel
    guard = "none"
    whole_files = True

    @property
    def record(self) -> ZooOutputs:
        """As the bundle's metadata has it."""
        labels = self.model.labels
        return ZooOutputs(labels.findings, labels.kind, self.model.weights_sha256)

    @property
    def digest(self) -> str:
        """Of the bundle's files."""
        return self.model.digest

    @property
    def preprocessing(self) -> str:
        """Of the same files: the chain is described where the network is."""
        return self.model.digest

    @property
    def title(self) -> str:
        """Name and version."""
        return self.model.title

    def build_engine(self, settings: Settings, _: ReaderPool) -> ZooEngine:
        """The bundle's network, and processes with its chain.

        Raises:
            ConfigError: withholding asked for, by a guard that there is not.
        """
        if settings.guard == "withhold":
            raise ConfigError(
                f"guard: {self.model.folder.name} has none by which images could be withheld; "
                "give mark or off, and look at what it is given"
            )
        return start_engine(self.model, settings)


def start_engine(model: ZooModel, settings: Settings) -> ZooEngine:
    """The bundle's network, and processes with its chain, to be closed after use."""
    scratch = tempfile.TemporaryDirectory(prefix="medres-members-")
    program = chain_program(
        model.folder, trust=model.trusted, scratch=Path(scratch.name), limits=settings.limits
    )
    readers = ReaderPool(settings.workers, settings.limits, program)
    readers.start()
    return ZooEngine(model, settings, readers, scratch)


@dataclass(frozen=True)
class ZooEngine:
    """How images are scored with a bundle of others.

    Args:
        model: the bundle.
        settings: device, precision and batch size.
        readers: with the bundle's chain.
        scratch: their folder.
    """

    model: ZooModel
    settings: Settings
    readers: ReaderPool
    scratch: tempfile.TemporaryDirectory[str]
    guard = None

    def close(self) -> None:
        """End the reading processes, and remove what they have left."""
        self.readers.close()
        self.scratch.cleanup()

    def score(self, images: Iterable[Planned]) -> Iterator[list[dict[str, Any]]]:
        """What came of the images, a batch at a time, as the journal has it."""
        size = self.settings.batch_size
        answers = read_planned(self.readers, read_chain_input, images, request_of, ahead=2 * size)
        for refused, batch in in_batches(answers, size):
            yield [*refused, *self._forward(batch)]

    @property
    def pass_rows(self) -> int:
        """Of every forward pass of images of the shape that the metadata names."""
        return count_rows(math.prod(self.model.input_shape[1:]))

    def seconds_an_image(self) -> float:
        """Of the network's time, by the second of two passes of nothing; 0 if it takes none."""
        rows = self.pass_rows
        if math.prod(self.model.input_shape) > MOST_NUMBERS:
            return 0.0
        try:
            empty = torch.zeros(rows, *self.model.input_shape)
            self._predict(empty)
            start = time.monotonic()
            self._predict(empty)
        except BundleError:
            raise
        except Exception:  # of another shape than its metadata says, and its own network's affair
            return 0.0
        return (time.monotonic() - start) / rows

    def _predict(self, images: Tensor) -> Tensor:
        return self.model.predict(images, self.settings.device, self.settings.precision)

    def _forward(self, batch: Batch[ChainInput]) -> Iterator[dict[str, Any]]:
        """Images of the shape that the metadata names together, any other by itself."""
        named = [pair for pair in batch if pair[1].pixels.shape == self.model.input_shape]
        for start in range(0, len(named), self.pass_rows):
            yield from self._pass(named[start : start + self.pass_rows], self.pass_rows)
        for pair in batch:
            if pair[1].pixels.shape != self.model.input_shape:
                yield from self._pass([pair], 1)

    def _pass(self, batch: Batch[ChainInput], rows: int) -> Iterator[dict[str, Any]]:
        """Together; where the network fails, each by itself, to find the one it fails on."""
        images = [torch.from_numpy(image.pixels) for _, image in batch]
        try:
            found = self._predict(torch.stack(images + images[-1:] * (rows - len(images))))
        except BundleError:
            raise
        except Exception as error:  # of the bundle's own network, of which nothing is known
            self._check_device(error, rows)
            if len(batch) == 1:
                yield rejection_of(batch[0][0], _reason(error), not_taken("network", error))
            else:
                for pair in batch:
                    yield from self._pass([pair], rows)
            return
        for (planned, image), values in zip(batch, found.tolist(), strict=False):
            yield outcome_of(planned, image.digest, self.model.digest, values)

    def _check_device(self, error: Exception, rows: int) -> None:
        """Stop where it is not the image's fault."""
        if rows > 1 and isinstance(error, torch.OutOfMemoryError):
            raise ConfigError(
                f"device: {self.settings.device} has no memory for {rows} images at once of "
                f"{self.model.title}; give another"
            ) from error
        if FAILED_DEVICE in str(error):
            raise error


def _reason(error: Exception) -> RejectReason:
    large = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return RejectReason.TOO_LARGE if large else RejectReason.DECODE_FAILED
