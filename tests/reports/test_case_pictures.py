from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from model_records import STATISTICS
from PIL import Image

from medres.config import ShownImages
from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.models.resnet import GrayscaleResNet
from medres.phantom.sample import SampleRecipe
from medres.reports import case_pictures
from medres.reports.case_pictures import (
    cases_of_a_kind,
    compose_picture,
    draw_case_pictures,
)
from medres.reports.cases import ShownCase
from medres.reports.picture_pair import ORANGE
from medres.scoring.case_scores import CaseScores, ImageScores
from medres.scoring.predictor import Predictor
from medres.transforms.preprocessing import Preprocessing

PREPROCESSING = Preprocessing("display", 64, "pad", STATISTICS)
SYNTHETIC, REAL = "volumes/v01.nii.gz", "z.png"


def decoded(address: str) -> np.ndarray:
    head, _, body = address.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as picture:
        return np.asarray(picture).astype(float)


def test_picture_is_the_image_and_beside_it_where_the_network_looks() -> None:
    gray = np.linspace(0, 1, 64, dtype=np.float32)[:, None].repeat(64, 1)
    heat = np.zeros((64, 64), np.float32)
    heat[:32] = 1
    picture = compose_picture((gray - 0.4) / 0.2, heat, PREPROCESSING)
    assert (picture.width, picture.height) == (128, 64)
    pixels = decoded(picture.address)
    assert pixels.shape == (64, 128, 3)
    left, right = pixels[:, :64], pixels[:, 64:]
    assert np.abs(left - 255 * gray[..., None]).mean() < 3
    assert np.abs(right[36:] - left[36:]).mean() < 3  # no heat, no colour
    np.testing.assert_allclose(right[4, 30], 0.7 * ORANGE + 0.3 * left[4, 30], atol=12)


def test_picture_of_a_large_input_is_made_small() -> None:
    noise = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    picture = compose_picture(noise, abs(noise).clip(0, 1), PREPROCESSING)
    assert (picture.width, picture.height) == (448, 224)
    assert len(picture.address) < 90_000  # noise is the worst that JPEG can meet


@pytest.mark.parametrize(("findings", "expected"), [(1, 4), (5, 4), (6, 3), (14, 1), (30, 1)])
def test_cases_of_many_findings_are_fewer_each(findings: int, expected: int) -> None:
    assert cases_of_a_kind(findings) == expected


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, ImageScores, CaseScores]:
    """Two cases: a phantom's with two slices, and a picture of somebody."""
    root = tmp_path_factory.mktemp("images")
    (root / "sample.json").write_text(json.dumps(asdict(SampleRecipe())))
    write_volume(root / SYNTHETIC)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)).save(root / REAL)
    schema = LabelSchema("binary", ("opacity",), ("label",))
    rows = tuple(
        ManifestRow(image, frame, image, "", "test", (1.0,))
        for image, frame in ((SYNTHETIC, 0), (SYNTHETIC, 1), (REAL, 0))
    )
    images = ImageScores(
        Manifest(root, rows, schema, True), rows, torch.tensor([[0.2], [0.4], [0.3]]).double()
    )
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "port", 1).eval()
    return (
        Predictor(network, "binary", PREPROCESSING, torch.device("cpu")),
        images,
        images.combine("patient"),
    )


def write_volume(path: Path) -> None:
    import nibabel

    path.parent.mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


CASES = {"opacity": (ShownCase("missed", 0, 0.4, True), ShownCase("missed", 1, 0.3, True))}


@pytest.mark.parametrize(("allowed", "shown"), [("none", []), ("synthetic", [0]), ("all", [0, 1])])
def test_only_what_is_allowed_is_drawn(
    scored: tuple, allowed: ShownImages, shown: list[int]
) -> None:
    pictures = draw_case_pictures(*scored, CASES, allowed=allowed)
    assert list(pictures) == [("opacity", place) for place in shown]
    assert all(decoded(p.address).shape == (64, 128, 3) for p in pictures.values())


def test_not_even_read_where_it_is_not_allowed(
    scored: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(case_pictures, "build_evaluation_chain", lambda _: fail)
    assert draw_case_pictures(*scored, CASES, allowed="none") == {}


def test_case_of_several_images_shows_the_highest(scored: tuple) -> None:
    picture = draw_case_pictures(*scored, CASES, allowed="all")["opacity", 0]
    predictor, images, scores = scored
    alone = images.y_score.flip(0)  # now the first slice is the higher one
    turned = ImageScores(images.manifest, images.rows, alone[[1, 2, 0]])
    other = draw_case_pictures(predictor, turned, scores, CASES, allowed="all")["opacity", 0]
    assert picture.words == other.words == "the highest of 2 images"
    assert picture.address != other.address


def test_pictures_end_where_the_page_is_full(
    scored: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_pictures, "MOST_PICTURES", 1)
    assert len(draw_case_pictures(*scored, CASES, allowed="all")) == 1
