"""Small trained models, as records and networks, and pictures to export them with."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_records import record_of
from monai.data import Dataset, list_data_collate
from torch import nn

from medres.bundle.directory import Model, build_network
from medres.bundle.record import ModelRecord, NetworkRecord
from medres.bundle.seen import SeenCases
from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, read_manifest
from medres.data.splits import assign_splits
from medres.metrics.operating_point import Threshold
from medres.metrics.recalibration import Temperature
from medres.models.ensemble import ResNetEnsemble
from medres.models.prefix import run_stages
from medres.training.calibrate import Calibration
from medres.training.dataset import as_items
from medres.transforms.chains import build_evaluation_chain

STATISTICS = {"display_mean": 0.4, "display_std": 0.2}


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """The same arithmetic everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settle(network: nn.Module, image: torch.Tensor) -> None:
    """Running statistics of what passes through, so that 8 bits have ranges as training leaves."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(image)
    network.eval()


def model_of(record: ModelRecord) -> Model:
    torch.manual_seed(0)
    network = build_network(record)
    image = (torch.nn.functional.interpolate(torch.rand(16, 1, 6, 6), (64, 64)) - 0.4) / 0.2
    if isinstance(network, ResNetEnsemble):
        network.set_inputs((0.0, 1.0, 0.4, 0.2), [(0.0, 0.9, 0.4, 0.2), (0.1, 1.0, 0.45, 0.25)])
        network.temperature.copy_(torch.tensor([1.5, 0.7]))
        for member in network.members:
            settle(member, image)
    else:
        settle(network, image)
    return Model(record, network, SeenCases(frozenset(), frozenset()), Path("model"))


@pytest.fixture(scope="package")
def build() -> Callable[..., Model]:
    """A binary model of any depth and stem, with a temperature of 2."""

    def build_model(
        depth: int = 18, stem: str = "adapter", init: str = "imagenet", geometry: str = "pad"
    ) -> Model:
        record, statistics = record_of("0" * 64), STATISTICS if init == "imagenet" else {}
        preprocessing = replace(record.preprocessing, geometry=geometry)
        network = NetworkRecord(depth, stem, 1, init, **statistics)
        return model_of(replace(record, network=network, preprocessing=preprocessing))

    return build_model


@pytest.fixture(scope="package")
def ensemble() -> Model:
    """Two folds with different stems and normalisations, three classes, a temperature each."""
    record = record_of("0" * 64)
    classes = ("a", "b", "c")
    first = NetworkRecord(18, "port", 3, "imagenet", **STATISTICS)
    members = (first, NetworkRecord(18, "adapter", 3))
    return model_of(
        replace(
            record,
            network=first,
            members=members,
            labels=LabelSchema("multiclass", classes, ("label",)),
            thresholds={name: Threshold(0.3, "rule", 9) for name in classes},
            calibration=Calibration(Temperature((1.25,), "softmax", 30), "", {}),
        )
    )


@pytest.fixture(scope="package")
def split_pictures(pictures: Path) -> Manifest:
    """The tiny labelled data set with its splits."""
    manifest = read_manifest(pictures, findings=("label",))
    return assign_splits(manifest, fractions=(0.5, 0.25, 0.25))


@pytest.fixture(scope="package")
def probed(build: Callable[..., Model], split_pictures: Manifest) -> Model:
    """A model that tells the pictures apart by a head fitted on its features, far from ties."""
    model = build()
    items = as_items(split_pictures, split_pictures.rows)
    images = Dataset(items, build_evaluation_chain(model.record.preprocessing))
    batch = list_data_collate([images[index] for index in range(len(images))])
    with torch.no_grad():
        features = run_stages(model.network, batch["image"], "adapter", "head")
        spread = features - features.mean(0)
        target = 2 * batch["label"] - 1
        gram = spread @ spread.T + 0.1 * torch.eye(len(spread))
        head = model.network.backbone.fc
        head.weight.copy_((spread.T @ torch.linalg.solve(gram, target)).T)
        head.bias.copy_(-head.weight[0] @ features.mean(0))
    return model
