"""What a trained model is, beside its weights: one JSON record, `configs/medres.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from medres.bundle.record_check import check_record
from medres.config import StemInit, StemName
from medres.data.image_rule import EVERY_IMAGE, ImageRule
from medres.data.labels import LabelSchema
from medres.errors import BundleError
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import TARGETS, Band
from medres.training.calibrate import NOT_CALIBRATED, Calibration
from medres.transforms.preprocessing import Preprocessing

SCHEMA = "medres.model/1"
PARTS = {
    *("schema", "network", "members", "labels", "preprocessing", "unit", "thresholds"),
    *("calibration", "replaced", "image_rule", "weights_sha256", "training", "provenance"),
    *("figures", "bands"),
}
"""What this medres knows of a record; see `ModelRecord.unknown`."""


@dataclass(frozen=True)
class NetworkRecord:
    """Arguments of `medres.models.resnet.GrayscaleResNet`."""

    depth: Literal[18, 34, 50, 101, 152]
    stem: StemName
    num_outputs: int
    stem_init: StemInit = "auto"
    display_mean: float | None = None
    display_std: float | None = None

    def as_arguments(self) -> dict[str, Any]:
        """For the network's constructor, or `_target_` in a bundle's config."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Replaced:
    """What was in force before a recalibration, so that it can be compared and put back.

    Attributes:
        thresholds: of each finding.
        calibration: of the probabilities.
        replaced_by: when, by which scores, and what changed, as plain JSON values.
        bands: of each finding that had one.
    """

    thresholds: Mapping[str, Threshold]
    calibration: Calibration
    replaced_by: Mapping[str, Any]
    bands: Mapping[str, Band] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "thresholds": {name: t.as_json() for name, t in self.thresholds.items()},
            **_bands_as_json(self.bands),
            "calibration": self.calibration.as_json(),
            "replaced_by": dict(self.replaced_by),
        }


@dataclass(frozen=True)
class ModelRecord:
    """Everything about a trained model but its weights.

    Attributes:
        network: how to build it.
        labels: what the outputs stand for; binary and multilabel end in a sigmoid a finding,
            multiclass in one softmax.
        preprocessing: from a file to the network's input.
        unit: what one case was when the thresholds were chosen.
        thresholds: of each finding, locked at training.
        calibration: of the probabilities, which the thresholds are for.
        bands: of each finding, scores that are left undecided, locked at training; empty where none
            was asked for.
        members: of an ensemble; `network` is the first of them. Empty for a single network.
        replaced: thresholds and calibrations that were in force before, oldest first.
        image_rule: which images of an archive it is meant for; every image for an older model.
        weights_sha256: of `models/model.pt`.
        training: how it was trained, for people.
        provenance: versions, machine, seed.
        figures: of an evaluation, for the model card: `cases` says of whom, `findings` holds
            figures with their intervals as in `evaluation.json`. Empty where none is recorded.
        unknown: parts that another version of medres has written and this one does not know; they
            are kept as they are, and change nothing.
    """

    network: NetworkRecord
    labels: LabelSchema
    preprocessing: Preprocessing
    unit: Literal["patient", "study", "image"]
    thresholds: Mapping[str, Threshold]
    weights_sha256: str
    training: Mapping[str, Any]
    provenance: Mapping[str, Any]
    calibration: Calibration = NOT_CALIBRATED
    bands: Mapping[str, Band] = field(default_factory=dict)
    members: tuple[NetworkRecord, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    image_rule: ImageRule = EVERY_IMAGE
    figures: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> dict[str, Any]:
        """The network as `_target_` and arguments of a bundle's config."""
        if not self.members:
            return {
                "_target_": "medres.models.resnet.GrayscaleResNet",
                **self.network.as_arguments(),
            }
        return {
            "_target_": "medres.models.ensemble.ResNetEnsemble",
            "members": [member.as_arguments() for member in self.members],
            "kind": self.kind,
        }

    @property
    def findings(self) -> tuple[str, ...]:
        """(F,) names of the outputs, in order."""
        return self.labels.findings

    @property
    def kind(self) -> Literal["binary", "multilabel", "multiclass"]:
        """Of the labels."""
        return self.labels.kind

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        members = [member.as_arguments() for member in self.members]
        return {
            "schema": SCHEMA,
            "network": self.network.as_arguments(),
            **({"members": members} if self.members else {}),
            "labels": self.labels.as_json(),
            "preprocessing": self.preprocessing.as_json(),
            "unit": self.unit,
            "thresholds": {name: t.as_json() for name, t in self.thresholds.items()},
            **_bands_as_json(self.bands),
            "calibration": self.calibration.as_json(),
            **({"replaced": [old.as_json() for old in self.replaced]} if self.replaced else {}),
            **({} if self.image_rule == EVERY_IMAGE else {"image_rule": self.image_rule.as_json()}),
            "weights_sha256": self.weights_sha256,
            "training": dict(self.training),
            "provenance": dict(self.provenance),
            **({"figures": dict(self.figures)} if self.figures else {}),
            **self.unknown,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelRecord:
        """Rebuild a record and check its parts.

        Raises:
            BundleError: another schema, a missing part, or a value that is not accepted.
            PreprocessingMismatchError: the preprocessing does not match its digest.
        """
        if values.get("schema") != SCHEMA:
            raise BundleError(
                f"the model's record has schema {values.get('schema')!r}, expected {SCHEMA!r}; "
                "give a model directory that medres wrote"
            )
        try:
            record = cls(
                network=NetworkRecord(**values["network"]),
                members=tuple(NetworkRecord(**member) for member in values.get("members", ())),
                labels=LabelSchema.from_json(values["labels"]),
                preprocessing=Preprocessing.from_json(values["preprocessing"]),
                unit=values["unit"],
                thresholds=_thresholds(values["thresholds"]),
                bands=_bands(values.get("bands", {})),
                calibration=_calibration(values.get("calibration")),
                replaced=tuple(
                    Replaced(
                        _thresholds(old["thresholds"]),
                        _calibration(old["calibration"]),
                        old["replaced_by"],
                        _bands(old.get("bands", {})),
                    )
                    for old in values.get("replaced", ())
                ),
                image_rule=ImageRule.from_json(values.get("image_rule", {})),
                weights_sha256=values["weights_sha256"],
                training=values["training"],
                provenance=values["provenance"],
                figures=values.get("figures", {}),
                unknown={name: values[name] for name in values.keys() - PARTS},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(
                f"the model's record is incomplete ({error}); restore it or train again"
            ) from error
        check_record(record)
        return record


def _thresholds(values: Mapping[str, Any]) -> dict[str, Threshold]:
    return {name: _threshold(t) for name, t in values.items()}


def _threshold(values: Mapping[str, Any]) -> Threshold:
    return Threshold(float(values["value"]), values["rule"], int(values["n"]))


def _bands_as_json(bands: Mapping[str, Band]) -> dict[str, Any]:
    """Nothing where there is none, as models were written before there were bands."""
    return {"bands": {name: band.as_json() for name, band in bands.items()}} if bands else {}


def _bands(values: Mapping[str, Any]) -> dict[str, Band]:
    return {name: _band(band) for name, band in values.items()}


def _band(values: Mapping[str, Any]) -> Band:
    lower, upper = (_threshold(values[end]) for end in ("lower", "upper"))
    if "targets" not in values:
        return Band(lower, upper)
    sensitivity, specificity = (float(values["targets"][name]) for name in TARGETS)
    return Band(lower, upper, (sensitivity, specificity))


def _calibration(values: Mapping[str, Any] | None) -> Calibration:
    try:
        return Calibration.from_json(values)
    except ValueError as error:
        raise BundleError(
            f"the model's calibration is damaged ({error}); restore the record or train again"
        ) from error
