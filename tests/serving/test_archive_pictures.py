from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from archives import write_archive, write_keys
from PIL import Image

from medres.config import ShownImages
from medres.phantom.sample import SampleRecipe
from medres.scoring.explanation import Explanation
from medres.serving.archive_pictures import PictureSource, compose, describe_image

OWN = "studies/p0001/s1/i1.dcm"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Results and sources: a phantom's image, somebody's, and one outside."""
    sources = tmp_path / "sources"
    for name in (OWN, "real.png"):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).touch()
    (tmp_path / "outside.png").touch()
    (sources / "link.png").symlink_to(tmp_path / "outside.png")
    (sources / "sample.json").write_text(json.dumps(asdict(SampleRecipe())))
    results = write_archive(tmp_path / "results", 3)
    outside = {"up": "../outside.png", "root": str(tmp_path / "outside.png"), "link": "link.png"}
    addresses = {"own": f"{OWN}#0", "real": "real.png", **outside, "gone": "gone.png"}
    write_keys(results, addresses)
    return results, sources


@pytest.mark.parametrize(
    ("allowed", "found"), [("none", []), ("synthetic", ["own"]), ("all", ["own", "real"])]
)
def test_only_what_is_allowed_and_was_scored_is_found(
    folders: tuple[Path, Path], allowed: ShownImages, found: list[str]
) -> None:
    results, sources = folders
    pictures = PictureSource(allowed, sources, Path("model"))
    keys = ("own", "real", "up", "root", "link", "gone", "unknown")
    assert [key for key in keys if pictures.find(results, key)] == found


def test_address_keeps_its_member(folders: tuple[Path, Path]) -> None:
    results, sources = folders
    write_keys(results, {"i": "real.png::axial#3"})
    assert PictureSource("all", sources, Path("m")).find(results, "i") == (
        f"{(sources / 'real.png').resolve()}::axial"
    )


def test_refusal_says_what_is_missing(folders: tuple[Path, Path]) -> None:
    results, sources = folders
    assert "start with --images" in PictureSource().refusal(results)
    assert "start with --sources and --model" in PictureSource("all").refusal(results)
    whole = PictureSource("all", sources, Path("model"))
    assert whole.refusal(results) == ""
    (results / "keys.parquet").unlink()
    assert whole.refusal(results).startswith("keys.parquet is not here")


def test_image_that_cannot_be_read_has_no_picture(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    pictures = PictureSource("all", tmp_path, tmp_path / "no_model")
    assert pictures.draw(str(tmp_path / "bad.png"), 0, "opacity") is None


def test_picture_is_in_the_image_s_own_shape() -> None:
    pixels = np.full((100, 60), 0.5, np.float32)
    heat = np.zeros((100, 60), np.float32)
    heat[:50] = 1
    explained = Explanation(pixels, heat, pixels > 0, "opacity", 0.7, None, 1.0)
    with Image.open(io.BytesIO(compose(explained))) as picture:
        drawn = np.asarray(picture).astype(float)
    assert drawn.shape == (100, 120, 3)
    assert np.ptp(drawn[80, 90]) < 8  # gray without heat
    assert drawn[20, 90, 0] - drawn[20, 90, 2] > 80  # orange with it


def test_image_is_described_by_what_its_row_says() -> None:
    row = {"rows": 64, "columns": 60, "modality": "DX", "view_position": "PA", "laterality": ""}
    assert describe_image(row) == "DX, PA, 64 × 60"
