"""A linear probe through `medres train`: the trunk sees each image once, whatever the epochs."""

import json
from pathlib import Path

import pytest
import torch

from medres.models.resnet import GrayscaleResNet
from pipelines.__main__ import main

EPOCHS = 12


def test_linear_probe_trains_from_what_the_trunk_gave_once(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    weights, out = tmp_path / "weights.pt", tmp_path / "run"
    torch.save(GrayscaleResNet(18, "duplicate").state_dict(), weights)
    seen = {"training": 0, "from images": 0}
    forward = GrayscaleResNet.forward

    def note(self, image: torch.Tensor, start: str = "adapter") -> torch.Tensor:
        if self.training:
            seen["training"] += 1
            seen["from images"] += start == "adapter"
        return forward(self, image, start)

    monkeypatch.setattr(GrayscaleResNet, "forward", note)
    options = {
        "data.manifest": pictures,
        "model.weights": weights,
        "pixels.size": 64,
        "training.preset": "linear_probe",
        "training.epochs": EPOCHS,
        "training.batch_size": 8,
        "training.augmentation.preset": "none",
        "training.precision": "fp32",
        "evaluation.unit": "image",
        "out": out,
    }
    assert main(["train", *(f"--{key}={value}" for key, value in options.items())]) == 0
    assert seen == {"training": 4 * EPOCHS, "from images": 0}
    assert len((out / "epochs.jsonl").read_text().splitlines()) == EPOCHS
    report = json.loads((out / "report" / "evaluation.json").read_text())
    line = (
        "epochs 0 to 12, head on trains: its input is computed once for 36 training images and 12 "
        "validation images, 96.0 KiB in memory"
    )
    assert report["training"]["frozen_features"] == [line]
