import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom.uid import JPEGLSLossless, RLELossless
from radiographs import write_radiograph

from medres.data.normalization import IntensityStatistics
from medres.errors import UnreadableImageError
from medres.models.grad_cam import grad_cam
from medres.models.resnet import GrayscaleResNet
from medres.scoring.predictor import Predictor
from medres.transforms.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    "display", 96, "pad", IntensityStatistics(0.02, 0.95, 0.5, 0.25, (0.1, 99.9), 1, 1, 1)
)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "port", 2)
    network.train()(torch.randn(8, 1, 96, 96))  # running statistics that normalise
    return Predictor(network, "multilabel", PREPROCESSING, torch.device("cpu"))


def test_radiograph_as_jpeg_and_as_dicom_has_one_score(
    test_data: Path, tmp_path: Path, predictor: Predictor
) -> None:
    folder = test_data / "data" / "kermany_chest"
    with (folder / "labels.csv").open() as stream:
        files = [row["file"] for row in csv.DictReader(stream)][::150]
    items = [{"image": str(folder / file), "frame": 0} for file in files]
    jpeg = predictor.predict(items)
    assert jpeg.std(0).min() > 1e-4  # the scores tell images apart
    for photometric, syntax in (("MONOCHROME1", RLELossless), ("MONOCHROME2", JPEGLSLossless)):
        wrapped = []
        for number, file in enumerate(files):
            with Image.open(folder / file) as picture:
                pixels = np.asarray(picture.convert("L"))
            path = tmp_path / f"{photometric}-{number}.dcm"
            write_radiograph(path, pixels, photometric, syntax)
            wrapped.append({"image": str(path), "frame": 0})
        assert (predictor.predict(wrapped) - jpeg).abs().max() <= 1e-4


def test_scores_do_not_depend_on_the_batch(tmp_path: Path, predictor: Predictor) -> None:
    rng = np.random.default_rng(0)
    items = []
    for number in range(20):
        Image.fromarray(rng.integers(0, 256, (50, 40), np.uint8)).save(tmp_path / f"{number}.png")
        items.append({"image": str(tmp_path / f"{number}.png"), "frame": 0})
    together = predictor.predict(items)
    alone = torch.cat([predictor.predict([item]) for item in items])
    assert together.shape == (20, 2)
    assert together.dtype == torch.float64
    assert (together - alone).abs().max() <= 1e-5


def test_unreadable_image_is_named(tmp_path: Path, predictor: Predictor) -> None:
    (tmp_path / "bad.dcm").write_text("no image")
    with pytest.raises(RuntimeError) as caught:
        predictor.predict([{"image": str(tmp_path / "bad.dcm"), "frame": 0}])
    cause = caught.value.__cause__
    assert isinstance(cause, UnreadableImageError)
    assert "bad.dcm" in str(cause)


def test_a_network_that_has_scored_can_still_be_explained(predictor: Predictor) -> None:
    predictor.score_batch(torch.zeros(1, 1, 96, 96))
    assert not any(tensor.is_inference() for tensor in predictor.network.state_dict().values())
    assert grad_cam(predictor.network, torch.randn(1, 1, 96, 96), 1).shape == (1, 1, 96, 96)
