"""Several model directories as one: read back, equal to the mean, and only of like models."""

import dataclasses
from pathlib import Path

import pytest
import torch
from model_records import TEMPERED, record_of

from medres.bundle.directory import Model, load_model, write_bundle, write_weights
from medres.bundle.ensemble import write_ensemble
from medres.bundle.seen import SeenCases
from medres.errors import BundleError
from medres.metrics.operating_point import Threshold
from medres.models.resnet import GrayscaleResNet
from medres.training.calibrate import NOT_CALIBRATED

THRESHOLDS = {"opacity": Threshold(0.4, "Youden index on predictions out of fold", 60)}


def write(folder: Path, name: str, **changes: object) -> Model:
    torch.manual_seed(len(name))
    network = GrayscaleResNet(18, "port", 1)
    network.train()(torch.randn(8, 1, 64, 64))
    digest = write_weights(folder / name, network.state_dict())
    record = dataclasses.replace(record_of(digest), **changes)
    write_bundle(folder / name, record, SeenCases.of([name], [name * 16]))
    return load_model(folder / name)


def with_statistics(model: Model, **changes: float) -> dict[str, object]:
    preprocessing = model.record.preprocessing
    statistics = dataclasses.replace(preprocessing.statistics, **changes)
    return {"preprocessing": dataclasses.replace(preprocessing, statistics=statistics)}


@torch.no_grad()
def test_ensemble_is_the_mean_of_its_members_on_their_own_inputs(tmp_path: Path) -> None:
    first = write(tmp_path, "a", calibration=NOT_CALIBRATED)
    own = with_statistics(first, low=0.1, high=1.2, mean=0.5, std=0.3)
    second = write(tmp_path, "bb", **own)
    write_ensemble(tmp_path / "both", [first, second], THRESHOLDS, {"notes": []}, {})
    model = load_model(tmp_path / "both")
    shared = model.record.preprocessing.statistics
    assert (shared.low, shared.high) == (0.0, 1.2)

    pixels = torch.rand(3, 1, 64, 64) * 1.4 - 0.1
    parts = [
        first.network((pixels.clamp(0, 1) - 0.4) / 0.2).sigmoid(),
        (second.network((pixels.clamp(0.1, 1.2) - 0.5) / 0.3) / 2).sigmoid(),  # temperature 2
    ]
    image = (pixels.clamp(shared.low, shared.high) - shared.mean) / shared.std
    found = model.network(image).sigmoid()
    torch.testing.assert_close(found, (parts[0] + parts[1]) / 2, atol=1e-5, rtol=1e-4)
    assert model.record.thresholds == THRESHOLDS
    assert model.record.calibration.reason == "each member has its own temperature"


def test_ensemble_has_seen_what_any_member_has(tmp_path: Path) -> None:
    models = [write(tmp_path, name) for name in ("a", "bb")]
    write_ensemble(tmp_path / "both", models, THRESHOLDS, {"notes": []}, {})
    seen = load_model(tmp_path / "both").seen
    assert seen.has_patient("a")
    assert seen.has_patient("bb")
    assert not seen.has_patient("c")


def test_models_that_differ_are_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a"), write(tmp_path, "bb", unit="image")
    with pytest.raises(BundleError, match="these models differ in findings, unit, intensity, size"):
        write_ensemble(tmp_path / "both", [first, second], THRESHOLDS, {}, {})
    assert not (tmp_path / "both").exists()


def test_an_ensemble_of_ensembles_is_refused(tmp_path: Path) -> None:
    model = write(tmp_path, "a")
    write_ensemble(tmp_path / "one", [model], THRESHOLDS, {"notes": []}, {})
    again = load_model(tmp_path / "one")
    with pytest.raises(BundleError, match="is an ensemble itself; give single models"):
        write_ensemble(tmp_path / "two", [again], THRESHOLDS, {}, {})
    assert model.record.calibration == TEMPERED
