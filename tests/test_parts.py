"""Every part of medres in MONAI's own terms: built from JSON and YAML, pickled, cached, undone."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, LoadImaged
from radiographs import write_radiograph

from medres.transforms.persistent import ContentPersistentDataset

LOAD = {"_target_": "medres.transforms.load.LoadGrayscaled", "keys": "image"}
FIT = {"_target_": "medres.transforms.geometry.FitGeometryd", "keys": "image", "size": 64}
NORMALIZE = {
    "_target_": "medres.transforms.normalize.NormalizeGrayscaled",
    **{"keys": "image", "low": 0.0, "high": 1.0, "mean": 0.5, "std": 0.25},
}
READER = {"_target_": "medres.transforms.reader.MedresReader", "intensity": "display"}
NETWORK = {
    "_target_": "medres.models.resnet.GrayscaleResNet",
    **{"depth": 18, "stem": "adapter", "num_outputs": 2, "batch_norm": "eval"},
}
PARTS = {
    "reader": READER,
    "load": LOAD,
    "load at size, apart": {**LOAD, "fit_size": 64, "geometry": "crop", "isolated": True},
    "load with the reader": {
        "_target_": "LoadImaged",
        **{"keys": "image", "reader": READER, "ensure_channel_first": True},
    },
    "fit": {**FIT, "geometry": "squash", "pad_value": -1.0},
    "normalize": NORMALIZE,
    "network": NETWORK,
    "ensemble": {
        "_target_": "medres.models.ensemble.ResNetEnsemble",
        **{"members": [{"depth": 18, "stem": "port"}] * 2, "kind": "binary"},
    },
    "loss": {
        "_target_": "medres.training.losses.ClassificationLoss",
        **{"kind": "multilabel", "class_weights": [1.0, 2.0], "label_smoothing": 0.1},
        "focal_gamma": 2.0,
    },
    "schedule": {
        "_target_": "medres.training.presets.build_schedule",
        **{"preset": "gradual", "epochs": 8, "steps_per_epoch": 4, "frozen_epochs": 1},
        "stem": "adapter",
    },
    "metric": {
        "_target_": "medres.metrics.monai.EvaluationMetric",
        **{"findings": ["opacity"], "activation": "sigmoid", "figure": "sensitivity"},
        "thresholds": {"opacity": 0.5},
    },
    "metric handler": {
        "_target_": "medres.metrics.monai.EvaluationMetricHandler",
        "metric": {
            "_target_": "medres.metrics.monai.EvaluationMetric",
            "findings": ["opacity", "nodule"],
        },
    },
}
TRANSFORMS = ("load", "load at size, apart", "fit", "normalize")
# MONAI says of one of its own readers that it has no GPU.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")


def build(config):
    return ConfigParser({"part": config}).get_parsed_content("part")


@pytest.fixture
def item(tmp_path) -> dict[str, str]:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME1")
    return {"image": str(tmp_path / "a.dcm")}


@pytest.mark.parametrize("name", PARTS)
def test_part_is_built_from_json_and_from_yaml(name, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"part": PARTS[name]}))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"part": PARTS[name]}))
    kinds = set()
    for file in ("a.json", "a.yaml"):
        parser = ConfigParser()
        parser.read_config(str(tmp_path / file))
        kinds.add(type(parser.get_parsed_content("part")))
    assert len(kinds) == 1
    assert kinds.pop().__name__ == PARTS[name]["_target_"].rpartition(".")[2] or name == "schedule"


@pytest.mark.parametrize("name", PARTS)
def test_part_is_pickled(name):
    part = build(PARTS[name])
    assert type(pickle.loads(pickle.dumps(part))) is type(part)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_keeps_the_meta_tensor_and_other_keys(name, item):
    chain = Compose([] if name.startswith("load") else [build(LOAD)])
    loaded = chain({**item, "label": 1})
    found = build(PARTS[name])(loaded)
    assert isinstance(found["image"], MetaTensor)
    assert json.loads(found["image"].meta["medres"])["inverted"]
    assert found["label"] == 1


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_passes_missing_keys_by_where_that_is_allowed(name):
    assert build({**PARTS[name], "allow_missing_keys": True})({"label": 1}) == {"label": 1}
    with pytest.raises(KeyError):
        build(PARTS[name])({"label": 1})


def test_reader_gives_what_the_loader_gives(item):
    with_reader = LoadImaged("image", reader=build(READER), ensure_channel_first=True)
    assert torch.equal(
        with_reader(item)["image"].as_tensor(), build(LOAD)(item)["image"].as_tensor()
    )


@pytest.mark.parametrize("geometry", ["pad", "squash"])
def test_geometry_is_undone_through_a_compose(item, geometry):
    chain = Compose([build(LOAD), build({**FIT, "geometry": geometry}), build(NORMALIZE)])
    original = build(LOAD)(item)["image"]
    undone = chain.transforms[1].inverse(chain(item))["image"]
    assert undone.shape == original.shape == (1, 40, 30)
    torch.testing.assert_close(undone.affine, original.affine)


def test_chain_is_seeded_as_a_whole(item):
    random = [
        {"_target_": "RandAffined", "keys": "image", "prob": 1.0, "rotate_range": 0.5},
        {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0},
    ]
    chain = build({"_target_": "Compose", "transforms": [LOAD, FIT, NORMALIZE, *random]})
    first, second, third = (
        chain.set_random_state(seed)(item)["image"].as_tensor() for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_caches_give_what_the_chain_gives_and_are_not_stale(item, tmp_path):
    chain = Compose([build(LOAD), build(FIT), build(NORMALIZE)])
    expected = chain(item)["image"].as_tensor()
    cached = CacheDataset([item], chain, progress=False, num_workers=0)
    assert torch.equal(cached[0]["image"].as_tensor(), expected)
    on_disk = ContentPersistentDataset([item], chain, tmp_path / "cache")
    for _ in range(2):
        assert torch.equal(on_disk[0]["image"].as_tensor(), expected)
    pixels = np.zeros((40, 30), np.uint8)
    pixels[:20] = 255
    write_radiograph(Path(item["image"]), pixels, "MONOCHROME2")
    assert torch.equal(on_disk[0]["image"].as_tensor(), chain(item)["image"].as_tensor())
    wider = Compose([build(LOAD), build({**FIT, "geometry": "squash"}), build(NORMALIZE)])
    again = ContentPersistentDataset([item], wider, tmp_path / "cache")
    assert torch.equal(again[0]["image"].as_tensor(), wider(item)["image"].as_tensor())


def test_grad_cam_is_called_from_a_config():
    parser = ConfigParser(
        {
            "network": NETWORK,
            "image": "$torch.rand(1, 1, 64, 64)",
            "map": {
                "_target_": "medres.models.grad_cam.grad_cam",
                **{"network": "@network", "image": "@image", "finding": 1},
            },
        }
    )
    heat = parser.get_parsed_content("map")
    assert heat.shape == (1, 1, 64, 64)
    assert 0 <= float(heat.min()) <= float(heat.max()) <= 1


def test_metric_takes_thresholds_as_numbers():
    metric = build(PARTS["metric"])
    metric(torch.tensor([[2.0], [-1.0], [1.0], [-2.0]]), torch.tensor([[1.0], [1.0], [0.0], [0.0]]))
    assert float(metric.aggregate()) == 0.5
