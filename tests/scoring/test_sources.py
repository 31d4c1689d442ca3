"""What is found under a source: every file once, whatever its name and place."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medres.errors import ManifestError, RejectReason, UnreadableImageError
from medres.imaging.containers import Member
from medres.scoring.sources import Found, find_files, members_of


def find(*sources: Path, references=lambda _: [], **options) -> dict[str, Found]:
    found = list(find_files(sources, references, **options))
    by_name = {item.name: item for item in found}
    assert len(by_name) == len(found)
    return by_name


@pytest.fixture
def removed(tmp_path: Path) -> Iterator[None]:
    """A folder so deep that pytest's own removal runs out of recursion."""
    yield
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


@pytest.mark.usefixtures("removed")
def test_a_folder_is_walked_to_any_depth_and_nothing_is_left_out(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 3000:
        deep = deep / "d"
        deep.mkdir()
    (tmp_path / "b").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".git").mkdir()
    (tmp_path / "DICOMDIR").write_text("x")
    (tmp_path / "inner").symlink_to("b")
    (tmp_path / "outer").symlink_to("/etc/passwd")
    (tmp_path / "lost").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / os.fsdecode(b"caf\xe9\n")).write_text("x")
    (tmp_path / "d" / "d" / "results").mkdir()
    found = find(tmp_path, leave_out=[tmp_path / "d" / "d" / "results"])
    assert {name: item.aside for name, item in found.items() if item.aside} == {
        ".git": "hidden",
        "DICOMDIR": "a DICOMDIR",
        "inner": "a link to what lies in the folder itself",
    }
    refused = {name for name, item in found.items() if item.reason is RejectReason.NOT_FOUND}
    assert refused == {"pipe", "outer", "lost", "loop"}
    assert {name for name in found if found[name].stamp} == {"b", "caf\\xe9\n"}


def test_a_folder_that_cannot_be_opened_is_said(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "closed").mkdir()
    original = os.scandir

    def scandir(path):
        if Path(path).name == "closed":
            raise PermissionError
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (found,) = find(tmp_path).values()
    assert (found.name, found.reason) == ("closed/", RejectReason.NOT_FOUND)
    assert "the folder cannot be opened" in found.message


def test_several_sources_keep_their_names_apart(tmp_path: Path) -> None:
    for name in ("x/s", "y/s"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a").write_text("x")
    assert list(find(tmp_path / "x" / "s", tmp_path / "y" / "s")) == ["s/a", "s #2/a"]


def test_the_stamp_changes_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    before = find(tmp_path)["a"].stamp
    os.utime(tmp_path / "a", ns=(1, 1))
    assert find(tmp_path)["a"].stamp != before


def test_a_dicomdir_leads_to_its_own_folder_alone(tmp_path: Path) -> None:
    disc = tmp_path / "disc"
    (disc / "img").mkdir(parents=True)
    (disc / "img" / "a").write_text("x")
    (disc / "DICOMDIR").write_text("x")
    (tmp_path / "secret").write_text("x")
    (disc / "img" / "B").symlink_to(tmp_path / "secret")
    parts = [("IMG", "A"), ("IMG", "A"), ("IMG", "GONE"), (), ("IMG", "B")]
    found = find(disc / "DICOMDIR", references=lambda _: parts)
    assert found["IMG/A"].path == str(disc / "img" / "a")
    assert {name for name, item in found.items() if item.reason} == {
        "IMG/GONE",
        "(reference 3)",
        "IMG/B",
    }


def test_a_dicomdir_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_text("x")

    def references(path):
        raise UnreadableImageError(RejectReason.INVALID_HEADER, path, "broken")

    (found,) = find(tmp_path / "DICOMDIR", references=references).values()
    assert (found.reason, found.message) == (RejectReason.INVALID_HEADER, "broken")


def test_a_table_names_files_frames_and_studies(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("x")
    text = "image,frame,study_instance_uid\na.png,,1.2\nv.npz::x,3,\nv.npz::x,1,\n../gone.dcm,,\n"
    (tmp_path / "m.csv").write_text(text)
    found = find(tmp_path / "m.csv")
    assert (found["a.png"].frames, found["a.png"].study) == ((("", 0),), "1.2")
    assert found["v.npz"].frames is None or found["v.npz"].reason is RejectReason.NOT_FOUND
    assert found["../gone.dcm"].reason is RejectReason.NOT_FOUND


@pytest.mark.parametrize(
    ("text", "message"),
    [("file\na\n", "no column 'image'"), ("image,x\n,1\n", "row 2 has an empty image")],
)
def test_a_table_that_names_no_images_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        find(tmp_path / "m.csv")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder; give what holds images"):
        find(tmp_path / "absent")


def test_members_of_one_name_are_told_apart_and_hidden_ones_passed_by() -> None:
    names = ["a", "a", "__MACOSX/._a", ".git/x", "../a"]
    archive = Found("x.zip", "/x.zip", "1-2")
    found = [*members_of(archive, [Member(name, k, 5) for k, name in enumerate(names)])]
    assert [item.name for item in found[:2]] == ["x.zip::a", "x.zip::a #2"]
    assert [item.aside for item in found] == ["", "", "hidden", "hidden", ""]
    assert found[1].stamp == "1-2-1-5"
