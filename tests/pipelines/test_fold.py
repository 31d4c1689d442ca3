"""A model directory with its stem folded: the same scores, or nothing written."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from medres.bundle.directory import load_model, write_bundle, write_weights
from medres.bundle.ensemble import write_ensemble
from medres.bundle.record import ModelRecord, NetworkRecord
from medres.bundle.seen import SeenCases
from medres.data.labels import LabelSchema
from medres.data.normalization import IntensityStatistics
from medres.metrics.operating_point import Threshold
from medres.models.resnet import GrayscaleResNet
from medres.transforms.preprocessing import Preprocessing
from pipelines.__main__ import main

STATISTICS = IntensityStatistics(0.0, 1.0, 0.4, 0.2, (0.1, 99.9), 10, 5, 1000)
THRESHOLDS = {"opacity": Threshold(0.25, "Youden index on validation", 30)}


def write_model(folder: Path, seed: int = 0, **stem: object) -> Path:
    torch.manual_seed(seed)
    network = GrayscaleResNet(18, num_outputs=1, **stem).eval()
    with torch.no_grad():
        for parameter in network.stem.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))  # as training leaves it
    record = ModelRecord(
        network=NetworkRecord(**network.arguments()),
        labels=LabelSchema("binary", ("opacity",), ("label",)),
        preprocessing=Preprocessing("display", 64, "pad", STATISTICS),
        unit="patient",
        thresholds=THRESHOLDS,
        weights_sha256=write_weights(folder, network.state_dict()),
        training={"notes": ["A note."]},
        provenance={},
    )
    write_bundle(folder, record, SeenCases.of(["patient-1"], []))
    return folder


def assert_same_scores(folder: Path, other: Path) -> None:
    image = torch.randn(2, 1, 45, 38, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = (load_model(f).network(image) for f in (folder, other))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_folded_model_gives_the_same_scores_with_the_same_record(tmp_path, capsys) -> None:
    model = write_model(tmp_path / "model", stem="adapter")
    assert main(["fold", str(model), "--out", str(tmp_path / "folded")]) == 0
    assert capsys.readouterr().out.startswith("folded: conv1 takes one channel\nmodel   ")
    folded, original = load_model(tmp_path / "folded"), load_model(model)
    assert_same_scores(tmp_path / "folded", model)
    assert folded.record.network == NetworkRecord(18, "port", 1, "sum")
    assert folded.record.training["notes"] == [
        "A note.",
        "The stem (adapter) was folded into conv1 after training.",
    ]
    assert (
        dataclasses.replace(
            folded.record,
            network=original.record.network,
            weights_sha256=original.record.weights_sha256,
            training=original.record.training,
        )
        == original.record
    )
    assert folded.seen == original.seen


def test_adapter_with_a_bias_folds_into_two_channels(tmp_path, capsys) -> None:
    model = write_model(
        tmp_path / "model",
        stem="adapter",
        stem_init="imagenet",
        display_mean=0.4,
        display_std=0.2,
    )
    assert main(["fold", str(model), "--out", str(tmp_path / "folded")]) == 0
    assert "two channels, the image and ones" in capsys.readouterr().out
    definition = json.loads((tmp_path / "folded/configs/inference.json").read_text())
    assert definition["network_def"]["stem_init"] == "imagenet"
    assert_same_scores(tmp_path / "folded", model)


def test_members_of_an_ensemble_are_folded(tmp_path) -> None:
    models = [
        load_model(write_model(tmp_path / f"{k}", seed=k, stem=stem))
        for k, stem in enumerate(("adapter", "duplicate"))
    ]
    write_ensemble(tmp_path / "both", models, THRESHOLDS, {}, {})
    assert main(["fold", str(tmp_path / "both"), "--out", str(tmp_path / "folded")]) == 0
    assert_same_scores(tmp_path / "folded", tmp_path / "both")
    assert {member.stem for member in load_model(tmp_path / "folded").record.members} == {"port"}


def test_model_that_would_differ_is_refused_and_nothing_written(tmp_path, capsys) -> None:
    model = write_model(tmp_path / "model", stem="adapter")
    network = load_model(model).network
    with torch.no_grad():
        network.backbone.layer4[1].conv2.weight.fill_(torch.nan)
    record = json.loads((model / "configs/medres.json").read_text())
    record["weights_sha256"] = write_weights(model, network.state_dict())
    (model / "configs/medres.json").write_text(json.dumps(record))
    assert main(["fold", str(model), "--out", str(tmp_path / "folded")]) == 2
    assert "differs from the original's by nan" in capsys.readouterr().err
    assert not (tmp_path / "folded").exists()


@pytest.mark.parametrize("name", ["model", "taken"])
def test_folder_that_exists_is_not_overwritten(name, tmp_path, capsys) -> None:
    model = write_model(tmp_path / "model", stem="adapter")
    (tmp_path / name).mkdir(exist_ok=True)
    assert main(["fold", str(model), "--out", str(tmp_path / name)]) == 2
    assert f"--out: {tmp_path / name} exists already; give a new folder" in capsys.readouterr().err
