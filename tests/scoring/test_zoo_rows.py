"""Labelled images with a bundle of others: what ends a reader, and what to do without any."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zoo_bundles
from PIL import Image
from scored_tables import SETTINGS

from medres.bundle.zoo import load_zoo_bundle
from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.errors import ManifestError
from medres.scoring.zoo_rows import score_rows

# What MONAI says of its own readers: no GPU, no orientation.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader", "ignore:PydicomReader")
ONE = replace(SETTINGS, workers=1)


def labelled(root: Path, *names: str) -> Manifest:
    schema = LabelSchema("multiclass", tuple(zoo_bundles.SHAPES), ("label",))
    rows = tuple(ManifestRow(name, 0, name, "", None, (1.0, 0.0, 0.0, 0.0)) for name in names)
    return Manifest(root, rows, schema, patient_ids_given=True)


def test_image_that_ends_its_reader_costs_no_other(tmp_path: Path) -> None:
    for name, most in (("fine", 255), ("crash", zoo_bundles.CRASH), ("other", 254)):
        pixels = np.random.default_rng(most).integers(0, 60, (24, 24)).astype(np.uint8)
        pixels[0, 0] = most
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    bundle = zoo_bundles.disturbed(zoo_bundles.template(tmp_path / "a"), tmp_path / "b")
    model = load_zoo_bundle(bundle, trust=True)
    manifest = labelled(tmp_path, "fine.png", "crash.png", "other.png")
    images, rejected = score_rows(model, manifest, ONE)
    assert [row.image for row in images.rows] == ["fine.png", "other.png"]
    assert images.manifest.rows == images.rows
    expected = [zoo_bundles.scores_of(model, tmp_path / row.image) for row in images.rows]
    np.testing.assert_allclose(images.y_score, expected, atol=1e-6)
    assert [(file.file, file.reason) for file in rejected] == [("crash.png", "decoder_crashed")]


def test_nothing_to_judge_is_said_with_its_first_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    model = load_zoo_bundle(zoo_bundles.template(tmp_path / "bundle"))
    message = (
        "none of 2 images can be scored; the first, a.png: is neither DICOM, NIfTI nor a picture; "
        r"a bundle's own chain reads no other files here \[unknown_format\]"
    )
    with pytest.raises(ManifestError, match=message):
        score_rows(model, labelled(tmp_path, "a.png", "v.nii::axial:3"), ONE)
