"""Models in zips: unpacked while they are used, and never further than they say."""

import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medres.bundle import zipped
from medres.bundle.zipped import model_folder
from medres.errors import BundleError
from pipelines import score, verify

FILES = {"configs/metadata.json": "{}", "configs/inference.json": "[]", "models/model.pt": "w"}


def write_zip(path: Path, files: dict[str, str], prefix: str = "shapes_v0.1/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{prefix}{name}", content)
    return path


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(BundleError, match=message), model_folder(path):
        pass


@pytest.mark.parametrize(
    ("prefix", "name"), [("shapes_v0.1/", "shapes_v0.1"), ("", "a"), ("x/y/", "y"), ("./", "a")]
)
def test_model_is_found_wherever_it_lies_and_is_gone_afterwards(
    tmp_path: Path, prefix: str, name: str
) -> None:
    path = write_zip(tmp_path / "a.zip", FILES, prefix)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._x", "left out") if prefix.strip("./") else None
    with model_folder(path) as folder:
        assert folder.name == name
        found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.*")}
        assert found == FILES
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert not folder.parent.exists()


def test_folder_is_given_back_as_it_is(tmp_path: Path) -> None:
    with model_folder(tmp_path) as folder:
        assert folder is tmp_path
    assert tmp_path.exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"readme.txt": ""},
            r"holds no model; give a zip of one folder with configs/metadata.json",
        ),
        (
            {**FILES, **{f"../b/{name}": "" for name in FILES}},
            r"holds several models \(shapes_v0.1, shapes_v0.1/../b\)",
        ),
        ({**FILES, "../../x": ""}, r"'shapes_v0.1/../../x' leads out of the model; do not use it"),
        ({**FILES, "a\\..\\x": ""}, "leads out of the model"),
        ({**FILES, "c:/x": ""}, "leads out of the model"),
    ],
)
def test_zip_of_something_else_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    path = write_zip(tmp_path / "a.zip", files)
    assert_refused(path, message)


def test_absolute_name_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES, "/etc/")
    assert_refused(path, "'/etc/configs/metadata.json' leads out")


def change_member(change: Callable[[zipfile.ZipInfo], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        info = zipfile.ZipInfo("m/models/model.pt")
        change(info)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(info, "/etc/passwd")

    return make


def as_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def flip(path: Path, mark: bytes, at: int, value: int) -> None:
    """Change a byte behind a signature, of the last record that has it."""
    content = bytearray(path.read_bytes())
    content[content.rindex(mark) + at] ^= value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (change_member(as_link), "'m/models/model.pt' is a link or a device; pack the file itself"),
        (lambda p: flip(p, b"PK\1\2", 8, 1), "is encrypted; unpack it with its password"),
        (lambda p: flip(p, b"[]", 0, 1), "the zip is damaged or cut short; fetch it again"),
        (lambda p: p.write_bytes(p.read_bytes()[:-30]), "is neither a folder nor a zip"),
        (lambda p: p.write_text("no zip"), "is neither a folder nor a zip; give a model's folder"),
    ],
)
def test_zip_that_is_not_whole_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    files = {name: FILES[name] for name in ("configs/metadata.json", "configs/inference.json")}
    path = write_zip(tmp_path / "a.zip", files, "m/")
    make(path)
    assert_refused(path, message)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_file_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES, "m/")
    change_member(lambda info: None)(path)
    assert_refused(path, r"holds 'models/model.pt' twice")


def test_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/configs/metadata.json", "{}")
        archive.writestr("m/models/model.pt", bytes(10**6))
    monkeypatch.setattr(zipped, "SMALL_BYTES", 10**5)
    assert_refused(path, "holds 2 files of 1000002 bytes; at most")


def test_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {**FILES, "models/model.pt": "w" * 9}, "m/")
    flip(path, b"PK\1\2", 24, 8)  # of the size in the directory, 9 to 1
    assert_refused(path, "larger than it says|damaged or cut short")


def test_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipped, "_copy", fail)
    path = write_zip(tmp_path / "a.zip", FILES)
    assert_refused(path, "cannot be unpacked to .*No space left on device")


def test_zipped_model_is_verified_and_scores(
    written_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("medres.bundle.verify.MONAI_CHECKS", {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    root, name = written_model.parent, written_model.name
    path = shutil.make_archive(str(tmp_path / "model"), "zip", root, name)
    assert verify.main([path]) == 0
    assert "passed   files" in capsys.readouterr().out
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("no image")
    arguments = [str(tmp_path / "in"), "--model", path, "--out", str(tmp_path / "out")]
    assert score.main([*arguments, "--device", "cpu", "--workers", "1"]) == score.REJECTED
    assert "1 rejected" in capsys.readouterr().out
    assert [*(tmp_path / "temporary").iterdir()] == []
