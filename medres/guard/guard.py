"""Flag what is not an image of the model's own kind, at a stated rate of false alarms.

Every image gets thirteen scores: its distance from the training images in six parts, and seven of
orientation. Each is standardised by the scores of training images that were left out of the fit.
The largest is the image's distance, and how rare it is among validation images, which took no part
in the fit, is its p-value: a conformal one, valid whatever the scores' distribution
(Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, prop. 2.8). One number for
all parts, so that the stated rate is that of all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.stats import beta
from torch import Tensor

from medres.errors import GuardError
from medres.guard.distance import Distance
from medres.guard.headers import KnownHeaders
from medres.guard.measurements import PARTS, Measurements
from medres.guard.orientation import TURNS, Orientation, contrast, turned
from medres.imaging.grayscale import ImageRecord

FALSE_ALARMS = 0.02
FEWEST_IMAGES = 10
FOLDS = 5
TAIL = 0.95
TAIL_SIGMA = 1.6448536269514722
"""Standard normal quantile of `TAIL`: what counts is how wide the far side is."""
FARTHEST = 1e6
"""Stands for whatever is not finite."""
COLUMNS = (*PARTS, *("orientation" for _ in TURNS))
"""The reason that each score stands for."""


@dataclass(frozen=True)
class Verdict:
    """What the guard says of one image.

    Attributes:
        flagged: not of the model's own kind, at the stated rate of false alarms.
        distance: largest of its standardised scores; 0 for a typical training image.
        p_value: share of validation images, itself among them, that are at least as distant.
        reason: why it is flagged: an attribute of `medres.guard.headers.ATTRIBUTES`, a part of
            `PARTS`, or orientation; "" where it is not.
    """

    flagged: bool
    distance: float
    p_value: float
    reason: str


@dataclass(frozen=True, eq=False)
class FalseAlarms:
    """How distant validation images are, and which rate of false alarms follows from it.

    Attributes:
        asked: share of the model's own images that may be flagged, all checks together.
        headers: the part of it that header values cause, by estimate.
        distances: (N,) float64 of the validation images, ascending.
        patients: whom they are of.
    """

    asked: float
    headers: float
    distances: Tensor
    patients: int

    @property
    def rate(self) -> float:
        """What is left for distances, but never less than N validation images can tell."""
        return max(self.asked - self.headers, 1 / (len(self.distances) + 1))

    @property
    def promised(self) -> float:
        """Bound of the share flagged: above `asked` where validation is too small for that."""
        return self.headers + self.rate

    @property
    def allowed(self) -> int:
        """Validation images at most as many as which may be as distant as a flagged one."""
        return int(self.rate * (len(self.distances) + 1) + 1e-9) - 1

    @property
    def threshold(self) -> float:
        """Distance above which an image is flagged."""
        return float(self.distances[len(self.distances) - 1 - self.allowed])

    def interval(self) -> tuple[float, float]:
        """Where the rate of this very threshold lies, in 95 of 100 draws of validation images."""
        above = self.allowed + 1
        low, high = beta.ppf((0.025, 0.975), above, len(self.distances) + 1 - above)
        return float(low), float(high)

    def p_values(self, distances: Tensor) -> Tensor:
        """(B,) in (0, 1] of distances (B,)."""
        below = torch.searchsorted(self.distances, distances.contiguous())
        return (len(self.distances) - below + 1) / (len(self.distances) + 1)

    def as_json(self) -> dict[str, Any]:
        """The figures for people; distances are stored as a tensor."""
        return {
            "asked": self.asked,
            "headers": self.headers,
            "promised": self.promised,
            "interval_of_distances": list(self.interval()),
            "threshold": self.threshold,
            "validation_images": len(self.distances),
            "validation_patients": self.patients,
        }


@dataclass(frozen=True, eq=False)
class Guard:
    """A fitted guard; without `false_alarms` it measures, but does not judge.

    Attributes:
        headers: values that the model's own images have.
        parts: distance in each of `PARTS`.
        orientation: against the image's own flipped and turned copies.
        limits: what the network's input was clipped to; see `input_limits`.
        centre: (13,) median of each score over training images left out of its fit.
        unit: (13,) and their standard deviation on the far side.
        false_alarms: from validation images.
    """

    headers: KnownHeaders
    parts: Mapping[str, Distance]
    orientation: Orientation
    limits: tuple[float, float]
    centre: Tensor
    unit: Tensor
    false_alarms: FalseAlarms | None = None

    @classmethod
    def fit(
        cls,
        measured: Measurements,
        patients: Sequence[str],
        headers: KnownHeaders,
        limits: tuple[float, float],
    ) -> Guard:
        """Fit on training images.

        Args:
            measured: N training images.
            patients: (N) ids of their patients, who are left out together.
            headers: of training and validation images.
            limits: that they were measured with.

        Raises:
            GuardError: fewer than 10 images.
        """
        if len(measured) < FEWEST_IMAGES:
            raise GuardError(
                f"{len(measured)} training images are too few to say what such images look like; "
                f"give at least {FEWEST_IMAGES}, or train without a guard (guard.fit: false)"
            )
        fold = assign_folds(patients)
        left_out = torch.empty(len(measured), len(COLUMNS), dtype=torch.float64)
        for number in range(FOLDS):
            out = fold == number
            left_out[out] = _raw_scores(*_fit(measured[~out]), measured[out])
        centre = left_out.median(dim=0).values
        unit = (left_out.quantile(TAIL, dim=0) - centre) / TAIL_SIGMA
        return cls(headers, *_fit(measured), limits, centre, unit.clamp_min(1e-6))

    def calibrate(
        self, measured: Measurements, patients: Sequence[str], false_alarms: float = FALSE_ALARMS
    ) -> Guard:
        """Fix how often an image of the model's own kind is flagged.

        Where validation images and those to come are drawn alike, patient by patient, and each
        patient counts with one image, at most `false_alarms.promised` of the latter are flagged.

        Args:
            measured: N validation images.
            patients: (N) ids of their patients.
            false_alarms: share of own images that may be flagged, all checks together.

        Raises:
            GuardError: fewer than 10 images, or a share that is none.
        """
        if not 0 < false_alarms < 1:
            raise GuardError(
                f"false_alarms: {false_alarms} is not accepted; give a share between 0 and 1"
            )
        if len(measured) < FEWEST_IMAGES:
            raise GuardError(
                f"{len(measured)} validation images are too few to tell a rate of false alarms; "
                f"give at least {FEWEST_IMAGES}, or train without a guard (guard.fit: false)"
            )
        distances = self.scores(measured).max(dim=1).values.sort().values
        return replace(
            self,
            false_alarms=FalseAlarms(
                false_alarms, self.headers.false_alarms, distances, len(set(patients))
            ),
        )

    def scores(self, measured: Measurements) -> Tensor:
        """(N, 13) standardised, in the order of `COLUMNS`; at most `FARTHEST`."""
        raw = _raw_scores(self.parts, self.orientation, measured)
        return ((raw - self.centre) / self.unit).nan_to_num(FARTHEST).clamp_max(FARTHEST)

    def check(self, records: Sequence[ImageRecord], measured: Measurements) -> tuple[Verdict, ...]:
        """Judge images.

        Args:
            records: (N) what their headers say.
            measured: the same N images.

        Raises:
            GuardError: the guard was not calibrated.
        """
        if self.false_alarms is None:
            raise GuardError("the guard was not calibrated; call `calibrate` before `check`")
        scores = self.scores(measured)
        distances = scores.max(dim=1).values
        p_values = self.false_alarms.p_values(distances)
        beyond = scores > self.false_alarms.threshold
        reasons = [self.check_header(record) for record in records]
        for index in beyond.any(dim=1).nonzero().flatten().tolist():
            reasons[index] = reasons[index] or self._reason(beyond[index], measured[[index]])
        return tuple(
            Verdict(bool(reason), distance, p_value, reason)
            for reason, distance, p_value in zip(
                reasons, distances.tolist(), p_values.tolist(), strict=True
            )
        )

    def _reason(self, beyond: Tensor, measured: Measurements) -> str:
        """The first part, in the order of the data, in which one image is too far.

        But where it is one of the training images' kind once it is turned or flipped, that is it.
        """
        assert self.false_alarms is not None
        first = int(beyond.nonzero()[0])
        if beyond[len(PARTS) :].any() and COLUMNS[first] != "pixels":
            copies = contrast(turned(measured.parts["outline"])[:, 0])
            raw = self.parts["outline"].of(copies)
            place = PARTS.index("outline")
            nearest = (raw.min() - self.centre[place]) / self.unit[place]
            if nearest <= self.false_alarms.threshold:
                return "orientation"
        return COLUMNS[first]

    def notes(self) -> list[str]:
        """What its figures have to be read with, as sentences."""
        alarms = self.false_alarms
        if alarms is None or alarms.promised <= alarms.asked + 1e-9:
            return []
        note = (
            f"The guard may flag {alarms.promised:.1%} of the model's own images where "
            f"{alarms.asked:.1%} was asked for: {len(alarms.distances)} validation images tell no "
            "smaller rate."
        )
        return [note]

    def check_header(self, record: ImageRecord) -> str:
        """Before any pixel is read: the attribute that speaks against an image, or ""."""
        return self.headers.mismatch(record)


def assign_folds(patients: Sequence[str]) -> Tensor:
    """(N,) numbers from 0 to 4; a patient's images have one, unless there are too few patients."""
    names = sorted(set(patients))
    if len(names) < FOLDS:
        return torch.arange(len(patients)) % FOLDS
    number = {name: index % FOLDS for index, name in enumerate(names)}
    return torch.tensor([number[patient] for patient in patients])


def _fit(measured: Measurements) -> tuple[dict[str, Distance], Orientation]:
    parts = {name: Distance.fit(_prepared(name, measured)) for name in PARTS}
    return parts, Orientation.fit(measured.parts["outline"])


def _raw_scores(
    parts: Mapping[str, Distance], orientation: Orientation, measured: Measurements
) -> Tensor:
    distances = [parts[name].of(_prepared(name, measured)) for name in PARTS]
    lying = orientation.of(measured.parts["outline"])
    return torch.cat([torch.stack(distances, dim=1), lying], dim=1)


def _prepared(name: str, measured: Measurements) -> Tensor:
    """An outline counts without brightness and contrast, which `pixels` holds."""
    values = measured.parts[name]
    return contrast(values) if name == "outline" else values
