"""`medres explain` on a model that was trained by the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from radiographs import write_radiograph

from pipelines.__main__ import main


def test_a_dicom_image_is_explained_without_its_patient(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40)).astype(np.uint8)
    write_radiograph(tmp_path / "a.dcm", pixels, "MONOCHROME2")
    dataset = dcmread(tmp_path / "a.dcm")
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "JANE-4711"
    dataset.save_as(tmp_path / "a.dcm")
    out = tmp_path / "out"
    argv = ["explain", str(trained / "model"), str(tmp_path / "a.dcm"), "--out", str(out)]
    assert main(argv) == 0
    assert "label: probability" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "explanation.png",
        "network.txt",
        "network.svg",
    }
    with Image.open(out / "explanation.png") as picture:
        assert picture.size[0] == 1440
    text = (out / "network.txt").read_text()
    assert "backbone.layer4.1.conv2" in text
    assert "trained" in text
    assert "not recorded" not in text
    for path in out.iterdir():
        assert not any(word in path.read_bytes() for word in (b"Doe", b"JANE", b"a.dcm"))
    assert main([*argv, "--finding", "mass"]) == 2
    assert "finding: 'mass' is none of the model's" in capsys.readouterr().err
