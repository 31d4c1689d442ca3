"""A marker in every text of every file of a folder: it is in nothing that a program leaves."""

import csv
import json
from pathlib import Path

import pytest
from marked_files import MARKER, marked_files

from pipelines.__main__ import main


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Marked files of every format, and a label table for those that can be read."""
    folder = tmp_path_factory.mktemp("archive")
    for name, content in marked_files():
        (folder / name).write_bytes(content)
    names = [
        f"{kind}_{syntax}.dcm"
        for kind in ("all", "codes", "private")
        for syntax in ("explicit", "implicit", "deflated")
    ]
    names += ["picture.png", "picture.jpg", "picture.tif"]
    with (folder / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "patient_id", "label"])
        table.writerows((name, f"p{number}", number % 2) for number, name in enumerate(names))
    return folder


def check_silent(capfd: pytest.CaptureFixture[str], *folders: Path) -> str:
    """Neither printed nor written: bytes of pictures and models too."""
    out, err = capfd.readouterr()
    assert MARKER.lower() not in (out + err).lower()
    for folder in folders:
        for path in folder.rglob("*"):
            assert MARKER.encode() not in (path.read_bytes() if path.is_file() else b""), path
    return out


@pytest.mark.parametrize("name", [name for name, _ in marked_files()])
def test_show_tells_no_text(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    status = main(["show", str(archive / name)])
    out = check_silent(capfd)
    assert status in (0, 2)
    if status == 0:
        assert json.loads(out)["rows"]
        main(["show", str(archive / name), "--out", str(tmp_path / "a.png")])
        main(["show", str(archive / name), "--out", str(tmp_path / "a.npy")])
        check_silent(capfd, tmp_path)


def test_index_tells_no_text(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(archive), "--out", str(tmp_path / "table.csv")]) == 3
    out = check_silent(capfd, tmp_path)
    assert "refused" in out
    with (tmp_path / "table.csv").open(newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    assert rows["all_explicit.dcm"]["rows"] == "2"
    assert rows["report.dcm"]["reason"] == "not_an_image"


def test_prepare_tells_no_text(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ["prepare", str(archive), "--labels", str(archive / "labels.csv")]
    assert main([*argv, "--out", str(tmp_path / "manifest.csv")]) == 0
    check_silent(capfd, tmp_path)
    assert "all_explicit.dcm" in (tmp_path / "manifest.csv").read_text()
    assert "report.dcm" in (tmp_path / "manifest.csv.rejected.jsonl").read_text()


def test_score_tells_no_text(
    archive: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    argv = ["score", str(archive), "--model", str(trained / "model"), "--device", "cpu"]
    assert main([*argv, "--out", str(tmp_path / "scores")]) in (0, 3)
    check_silent(capfd, tmp_path)
    assert any((tmp_path / "scores").iterdir())


def test_train_and_evaluate_tell_no_text(
    archive: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether they go on, or find that these files are too few and too alike."""
    argv = ["prepare", str(archive), "--labels", str(archive / "labels.csv")]
    assert main([*argv, "--out", str(tmp_path / "manifest.csv")]) == 0
    manifest = str(tmp_path / "manifest.csv")
    argv = ["train", "--data.manifest", manifest, "--out", str(tmp_path / "run")]
    argv += ["--pixels.size", "32", "--model.weights", "none", "--training.preset", "full"]
    assert main([*argv, "--training.epochs", "1", "--device", "cpu"]) in (0, 2)
    argv = ["evaluate", str(trained / "model"), manifest, "--out", str(tmp_path / "evaluated")]
    assert main([*argv, "--device", "cpu"]) in (0, 2)
    check_silent(capfd, tmp_path)
