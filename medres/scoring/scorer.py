"""What a run needs of a model: medres' own, or a bundle of others (`medres.scoring.zoo`).

Sources, plan, journal, lock and tables are the same for all. What differs is who reads an image,
and what makes probabilities of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from medres.bundle.directory import Model
from medres.bundle.record import ModelRecord
from medres.data.image_rule import ImageRule
from medres.errors import PreprocessingMismatchError
from medres.guard.guard import Guard
from medres.guard.storage import guard_digest
from medres.imaging.reader_pool import ReaderPool
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.models.folded_norm import fold_batch_norm
from medres.scoring.engine import Engine
from medres.scoring.pictures import Planned
from medres.scoring.predictor import Predictor

if TYPE_CHECKING:
    from medres.scoring.run import Settings


class Outputs(Protocol):
    """What a model's probabilities stand for."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the F columns."""

    @property
    def kind(self) -> Literal["binary", "multilabel", "multiclass"]:
        """Of the columns: each by itself, or classes that add up to 1."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Of the findings that have one."""

    @property
    def bands(self) -> Mapping[str, Band]:
        """Of the findings that have one: scores that are left undecided."""

    @property
    def image_rule(self) -> ImageRule:
        """Which images of an archive it is meant for."""

    @property
    def weights_sha256(self) -> str:
        """Of its weights."""


class ScoringEngine(Protocol):
    """What makes probabilities of images."""

    @property
    def guard(self) -> Guard | None:
        """That is asked; None where there is none."""

    def score(self, images: Iterable[Planned]) -> Iterator[list[dict[str, Any]]]:
        """What came of the images, a batch at a time, as the journal has it."""

    def seconds_an_image(self) -> float:
        """Of the network's time."""

    def close(self) -> None:
        """End what it has started."""


class Scorer(Protocol):
    """A model as a run takes it."""

    @property
    def record(self) -> Outputs:
        """What its probabilities stand for."""

    @property
    def digest(self) -> str:
        """SHA-256 over all of it that its results depend on."""

    @property
    def preprocessing(self) -> str:
        """SHA-256 over how it prepares images."""

    @property
    def guard(self) -> str:
        """SHA-256 of its guard; "none" where it has none."""

    @property
    def whole_files(self) -> bool:
        """Whether it takes and reads files as a whole, however many frames they have."""

    @property
    def title(self) -> str:
        """By which people know a model that is not medres' own; "" for one that is."""

    def build_engine(self, settings: Settings, readers: ReaderPool) -> ScoringEngine:
        """What scores with it; started, so that it is ready when the headers are read."""


def model_digest(record: ModelRecord) -> str:
    """SHA-256 over all of a model that its results depend on."""
    values = record.as_json()
    for part in ("training", "provenance", "replaced", "image_rule"):
        values.pop(part, None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class OwnScorer:
    """A model of medres, as a run takes it; see `Scorer`."""

    model: Model
    whole_files = False
    title = ""

    @property
    def record(self) -> ModelRecord:
        """Of the model."""
        return self.model.record

    @property
    def digest(self) -> str:
        """Of the record."""
        return model_digest(self.record)

    @property
    def preprocessing(self) -> str:
        """As the record has it."""
        return self.record.preprocessing.digest()

    @property
    def guard(self) -> str:
        """Of the guard beside the record."""
        return guard_digest(self.model.folder) or "none"

    def build_engine(self, settings: Settings, readers: ReaderPool) -> Engine:
        """The network with its normalisation folded in, and the guard where it is asked.

        Raises:
            PreprocessingMismatchError: images would not be prepared as the model expects.
        """
        predictor = replace(
            Predictor.of_model(self.model, settings.device),
            network=fold_batch_norm(self.model.network),
            precision=settings.precision,
        )
        if predictor.preprocessing.digest() != self.preprocessing:
            raise PreprocessingMismatchError("the images are not prepared as the model expects")
        return Engine(
            predictor,
            self.digest,
            readers,
            batch_size=settings.batch_size,
            guard=None if settings.guard == "off" else self.model.guard,
        )
