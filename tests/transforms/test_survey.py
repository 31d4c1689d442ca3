from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.errors import ConfigError, ManifestError
from medres.transforms.survey import fit_histogram, survey_images


def manifest_of(root: Path, *images: str) -> Manifest:
    rows = tuple(ManifestRow(image, 0, image, "", "train", (0.0,)) for image in images)
    schema = LabelSchema("binary", ("opacity",), ("label",))
    return Manifest(root, rows, schema, patient_ids_given=True)


def picture(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def test_survey_finds_equal_pixels_in_different_files(tmp_path: Path) -> None:
    pixels = np.arange(64).reshape(8, 8)
    picture(tmp_path / "a.png", pixels)
    picture(tmp_path / "b.bmp", pixels)
    picture(tmp_path / "c.png", pixels + 1)
    survey = survey_images(manifest_of(tmp_path, "a.png", "b.bmp", "c.png"), intensity="auto")
    assert survey.intensity == "display"
    digests = survey.digests
    assert digests["a.png", 0] == digests["b.bmp", 0] != digests["c.png", 0]


def test_survey_names_the_images_that_cannot_be_used(tmp_path: Path) -> None:
    picture(tmp_path / "good.png", np.arange(64).reshape(8, 8))
    picture(tmp_path / "flat.png", np.full((8, 8), 7))
    (tmp_path / "text.dcm").write_text("no image")
    manifest = manifest_of(tmp_path, "good.png", "flat.png", "text.dcm")
    with pytest.raises(ManifestError) as caught:
        survey_images(manifest, intensity="auto")
    message = str(caught.value)
    assert message.startswith("2 of 3 images cannot be used")
    assert "flat.png: all pixels are equal" in message
    assert "[constant_image]" in message
    assert "text.dcm: " in message
    assert str(tmp_path) not in message


def test_survey_names_five_of_many_and_counts_the_rest(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(7)]
    for name in names:
        picture(tmp_path / name, np.zeros((4, 4)))
    with pytest.raises(ManifestError, match="and 2 more"):
        survey_images(manifest_of(tmp_path, *names), intensity="auto")


def test_survey_refuses_a_mixture_of_display_and_modality_units(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", np.arange(64).reshape(8, 8))
    np.save(tmp_path / "b.npy", np.random.default_rng(0).normal(size=(1, 8, 8)))
    manifest = manifest_of(tmp_path, "a.png", "b.npy")
    with pytest.raises(ConfigError, match=r"set pixels\.intensity to display or modality"):
        survey_images(manifest, intensity="auto")


def test_histogram_is_of_resized_images(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256))
    picture(tmp_path / "a.png", noise)
    manifest = manifest_of(tmp_path, "a.png")
    statistics = fit_histogram(
        manifest, manifest.rows, intensity="display", size=32, geometry="pad"
    ).statistics((0, 100), n_patients=1)
    assert statistics.n_pixels == 32 * 32
    assert statistics.mean == pytest.approx(0.5, abs=0.01)
    assert statistics.std < 0.1  # averaged over 8 x 8 pixels; 0.29 at full size
