"""Models of several folds as one model directory, which is used like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from medres.bundle.directory import Model, write_bundle, write_weights
from medres.bundle.record import ModelRecord
from medres.bundle.seen import SeenCases
from medres.data.image_rule import ImageRule
from medres.data.normalization import IntensityStatistics
from medres.errors import BundleError
from medres.guard.storage import write_guard
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.models.ensemble import ResNetEnsemble
from medres.models.resnet import GrayscaleResNet
from medres.training.calibrate import Calibration

OWN_TEMPERATURES = Calibration(None, "each member has its own temperature", {})


def write_ensemble(
    folder: Path,
    models: Sequence[Model],
    thresholds: Mapping[str, Threshold],
    training: Mapping[str, Any],
    provenance: Mapping[str, Any],
    *,
    bands: Mapping[str, Band] | None = None,
) -> ModelRecord:
    """Write one model directory of several models; returns its record.

    The guard is the first model's: it listens to that member alone, so that its rate of false
    alarms holds as it was calibrated, on patients whom that member was not trained on.

    Args:
        folder: of the ensemble.
        models: trained for the same findings, on the same kind of input.
        thresholds: for the mean of their probabilities.
        training: how they were trained, for people.
        provenance: versions, machine, seed.
        bands: likewise, of the findings that have one.

    Raises:
        BundleError: models that differ in findings, intensity, size, geometry or unit, or an
            ensemble among them.
    """
    first = models[0].record
    _check_alike(models)
    statistics = _shared([model.record.preprocessing.statistics for model in models])
    members = tuple(model.record.network for model in models)
    network = ResNetEnsemble([member.as_arguments() for member in members], first.kind)
    for k, model in enumerate(models):
        network.members[k].load_state_dict(model.network.state_dict())
        if temperature := model.record.calibration.temperature:
            network.temperature[k] = temperature.values[0]
    network.set_inputs(
        _limits(statistics), [_limits(model.record.preprocessing.statistics) for model in models]
    )
    (folder / "configs" / "medres.json").unlink(missing_ok=True)
    record = ModelRecord(
        network=first.network,
        members=members,
        labels=first.labels,
        preprocessing=replace(first.preprocessing, statistics=statistics),
        unit=first.unit,
        thresholds=thresholds,
        bands=bands or {},
        calibration=OWN_TEMPERATURES,
        image_rule=ImageRule.of_any([model.record.image_rule for model in models]),
        weights_sha256=write_weights(folder, network.state_dict()),
        training=training,
        provenance=provenance,
    )
    write_guard(folder, models[0].guard, record.weights_sha256)
    seen = [model.seen for model in models]
    write_bundle(
        folder,
        record,
        SeenCases(
            frozenset().union(*(part.patients for part in seen)),
            frozenset().union(*(part.pixels for part in seen)),
        ),
    )
    return record


def _limits(statistics: IntensityStatistics) -> tuple[float, float, float, float]:
    return statistics.low, statistics.high, statistics.mean, statistics.std


def _shared(parts: Sequence[IntensityStatistics]) -> IntensityStatistics:
    """Limits that hold all of the parts'; the counts are those of the largest part."""
    return replace(
        max(parts, key=lambda part: part.n_pixels),
        low=min(part.low for part in parts),
        high=max(part.high for part in parts),
        mean=fmean(part.mean for part in parts),
        std=fmean(part.std for part in parts),
    )


def _check_alike(models: Sequence[Model]) -> None:
    kinds = {
        (
            model.record.labels,
            model.record.unit,
            astuple(replace(model.record.preprocessing, statistics=_NONE)),
        )
        for model in models
    }
    if len(kinds) > 1:
        folders = ", ".join(str(model.folder) for model in models)
        raise BundleError(
            f"{folders}: these models differ in findings, unit, intensity, size or geometry; give "
            "models of one cross-validation"
        )
    for model in models:
        if not isinstance(model.network, GrayscaleResNet):
            raise BundleError(f"{model.folder}: is an ensemble itself; give single models")


_NONE = IntensityStatistics(0.0, 0.0, 0.0, 0.0, (0.0, 0.0), 0, 0, 0)
