"""What an installation is told about itself; broken packages are made, and really imported."""

from pathlib import Path

import pytest
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless

from pipelines import doctor
from pipelines.__main__ import main


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that answer at once; importing the real ones takes seconds."""
    monkeypatch.setattr(doctor, "PROBES", dict.fromkeys(doctor.PROBES, "print('fine')"))


@pytest.fixture
def broken_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    probes = {**dict.fromkeys(doctor.PROBES, "print('fine')")}
    probes["torchvision"] = doctor.PROBES["torchvision"]
    monkeypatch.setattr(doctor, "PROBES", probes)


def test_this_installation_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for package in ("torch", "torchvision", "monai", "pytorch-ignite"):
        assert f"\n  {package} {doctor.find_version(package)}" in told
    assert ": fits torch\n" in told
    assert "\n  GPU: " in told
    assert "\n  RLE Lossless\n" in told
    assert told.endswith("nothing essential is broken\n")


@pytest.mark.usefixtures("broken_torchvision")
def test_torchvision_of_another_torch_is_said_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "does not work: RuntimeError: operator torchvision::nms does not exist\n" in told
    assert told.endswith("broken: torchvision does not work\n")


def test_package_that_kills_its_process_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBES", {"monai": "import os; os._exit(9)"})
    assert doctor.probe_package("monai") == doctor.Probe(
        "monai", False, "the process ended with status 9"
    )


def test_package_that_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBES", {"monai": "import time; time.sleep(60)"})
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 0.2)
    assert doctor.probe_package("monai").said == "no answer within 0.2 seconds"


@pytest.mark.usefixtures("sound")
def test_absent_optional_decoder_is_told_with_its_package_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(get_decoder(JPEGLosslessSV1), "_available", {})
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert f"  {JPEGLosslessSV1.name}: pip install imagecodecs\n" in told.partition("not read:")[2]


@pytest.mark.usefixtures("sound")
def test_absent_default_decoder_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "JPEG-LS Lossless Image Compression: pip install pyjpegls\n" in told
    assert told.endswith("broken: JPEG-LS Lossless Image Compression cannot be read\n")


@pytest.mark.usefixtures("sound")
def test_extras_are_installed_or_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"imagecodecs": "", "fire": "1", "jsonschema": "1"}
    monkeypatch.setattr(doctor, "find_version", lambda package: versions.get(package, "1"))
    main(["doctor"])
    told = capsys.readouterr().out
    assert "\n  codecs: absent; pip install imagecodecs\n  bundle: installed\n" in told
    assert "\n  export: installed\n  openvino: installed\n" in told


def test_absent_package_has_no_version() -> None:
    assert doctor.find_version("no-such-package-at-all") == ""
