"""A small model directory, written once, and copies that a test may damage."""

import shutil
from pathlib import Path

import pytest
import torch
from model_records import record_of

from medres.bundle.directory import write_bundle, write_weights
from medres.bundle.seen import SeenCases
from medres.models.resnet import GrayscaleResNet

SEEN = SeenCases.of(["patient-1"], ["ab" * 32])


@pytest.fixture(scope="session")
def written_model(tmp_path_factory) -> Path:
    """A ResNet-18 with random weights for one finding; nobody changes it."""
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "port", 1).eval()
    folder = tmp_path_factory.mktemp("bundle") / "opacity_classification"
    write_bundle(folder, record_of(write_weights(folder, network.state_dict())), SEEN)
    return folder


@pytest.fixture
def model_copy(written_model, tmp_path) -> Path:
    return Path(shutil.copytree(written_model, tmp_path / "model"))
