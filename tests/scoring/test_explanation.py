"""A map in the image's own geometry, from a model with evidence at a known place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from model_records import record_of
from PIL import Image
from radiographs import write_radiograph
from torch import nn

from medres.bundle.directory import Model
from medres.bundle.seen import SeenCases
from medres.data.labels import LabelSchema
from medres.errors import ConfigError, UnreadableImageError
from medres.models.resnet import GrayscaleResNet
from medres.scoring.explanation import explain_image
from medres.scoring.predictor import Predictor

SHAPE = (150, 240)
SPOT = (40, 170)


def bright_model(geometry: str = "pad") -> Model:
    """Brightness passes through the trunk unchanged; the finding is what is brighter than gray."""
    network = GrayscaleResNet(18, "port", 2)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                if name.endswith("downsample.0"):
                    module.weight[0, 0] = 1.0
        network.backbone.conv1.weight[0] = 1 / 49
        network.backbone.fc.weight.zero_()
        network.backbone.fc.weight[0, 0] = 1.0
    record = record_of("0" * 64)
    preprocessing = replace(record.preprocessing, size=224, geometry=geometry)
    labels = LabelSchema("multilabel", ("opacity", "mass"), ("label_opacity", "label_mass"))
    record = replace(record, preprocessing=preprocessing, labels=labels)
    return Model(record, network.eval(), SeenCases(frozenset(), frozenset()), Path("model"))


def spot_pixels() -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    spot = np.exp(-((rows - SPOT[0]) ** 2 + (columns - SPOT[1]) ** 2) / (2 * 18**2))
    return (60 + 190 * spot).astype(np.uint8)


@pytest.mark.parametrize("geometry", ["pad", "squash"])
@pytest.mark.parametrize("kind", ["png", "MONOCHROME1"])
def test_the_map_lies_on_the_spot_of_the_file(tmp_path: Path, geometry: str, kind: str) -> None:
    path = tmp_path / ("a.png" if kind == "png" else "a.dcm")
    if kind == "png":
        Image.fromarray(spot_pixels()).save(path)
    else:
        write_radiograph(path, spot_pixels(), kind)
    model = bright_model(geometry)
    found = explain_image(model, str(path), finding="opacity")
    assert found.pixels.shape == found.heat.shape == found.seen.shape == SHAPE
    assert found.seen.all()
    assert np.unravel_index(found.pixels.argmax(), SHAPE) == pytest.approx(SPOT, abs=1)
    place = np.unravel_index(found.heat.argmax(), SHAPE)
    assert place == pytest.approx(SPOT, abs=20)  # a cell of the map is 34 pixels wide
    items = [{"image": str(path), "frame": 0}]
    expected = Predictor.of_model(model, torch.device("cpu")).predict(items)
    assert found.probability == pytest.approx(float(expected[0, 0]), abs=1e-5)
    assert found.threshold == 0.25


def test_the_most_probable_finding_is_taken_and_one_without_evidence_has_an_empty_map(
    tmp_path: Path,
) -> None:
    Image.fromarray(spot_pixels()).save(tmp_path / "a.png")
    model = bright_model("crop")
    found = explain_image(model, str(tmp_path / "a.png"))
    assert found.finding == "opacity"
    assert found.seen[:, 45:195].all()
    assert not found.seen[:, :44].any()
    other = explain_image(model, str(tmp_path / "a.png"), finding="mass")
    assert other.heat.max() == 0
    assert other.threshold is None


def test_what_cannot_be_explained_is_refused(tmp_path: Path) -> None:
    Image.fromarray(spot_pixels()).save(tmp_path / "a.png")
    with pytest.raises(
        ConfigError, match="finding: 'masses' is none of the model's; give one of opacity, mass"
    ):
        explain_image(bright_model(), str(tmp_path / "a.png"), finding="masses")
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(UnreadableImageError):
        explain_image(bright_model(), str(tmp_path / "b.png"))
