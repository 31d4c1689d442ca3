"""`medres export` on a model that was trained by the command line."""

import json
from pathlib import Path

import pytest

from medres.export import parity
from pipelines.__main__ import main


def test_a_trained_model_is_exported_and_compared_on_its_test_images(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["export", str(trained / "model"), "--out", str(tmp_path / "out"), "--bf16"]
    argv += ["--data", str(trained / "manifest.csv"), "--formats", "torch-export"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "model.pt2" in printed
    assert "12 test images, AUROC changes by 0.00000" in printed
    contract = json.loads((tmp_path / "out" / "contract.json").read_text())
    record = json.loads((trained / "model" / "configs" / "medres.json").read_text())
    assert contract["model"]["weights_sha256"] == record["weights_sha256"]
    assert contract["output"]["thresholds"] == record["thresholds"]


def test_a_refused_file_ends_in_status_2(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(parity.LIMITS, "fp32", -1.0)
    argv = ["export", str(trained / "model"), "--out", str(tmp_path / "out")]
    assert main([*argv, "--formats", "torch-export"]) == 2
    assert "medres export: model.pt2: a probability differs by" in capsys.readouterr().err
    assert main([*argv, "--formats", "jpeg"]) == 2
    assert "formats: 'jpeg' given" in capsys.readouterr().err
