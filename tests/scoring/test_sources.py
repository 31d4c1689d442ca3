"""What is found under a source: every file once, whatever its name and place."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medres.errors import ManifestError, RejectReason, UnreadableImageError
from medres.imaging.containers import Member
from medres.scoring.sources import Asked, Found, find_files, is_as_found, members_of, printable


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


def test_a_link_that_no_system_can_follow_is_rejected_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "long").symlink_to("x" * 300)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "z.png").touch()
    found = find(tmp_path)
    assert {name: item.reason for name, item in found.items()} == {
        "long": RejectReason.NOT_FOUND,
        "loop": RejectReason.NOT_FOUND,
        "z.png": None,
    }


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
        "(reference 4)",
        "IMG/B",
    }


def test_a_dicomdir_counts_each_bad_reference_and_no_file_twice(tmp_path: Path) -> None:
    for name in ("A", "DICOMDIR"):
        (tmp_path / name).touch()
    listed = [("A",), (), ("a",), (), ("B",), ("B",)]
    found = find(tmp_path / "DICOMDIR", references=lambda _: listed)
    assert [*found] == ["A", "(reference 2)", "(reference 4)", "B"]


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
    assert found["a.png"].frames == (Asked("", 0, "1.2"),)
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


def test_no_two_members_get_one_name_whatever_they_are_called() -> None:
    names = ["a", "a", "a #2", "a #2", "a #3", "a"]
    archive = Found("x.zip", "/x.zip", "1-2")
    found = [*members_of(archive, [Member(name, k, 5) for k, name in enumerate(names)])]
    assert [item.name.removeprefix("x.zip::") for item in found] == [
        *("a", "a #2", "a #2 #2", "a #2 #3", "a #3", "a #4")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        (r"caf\xe9", r"caf\\xe9"),
        (r"C:\scan\1", r"C:\scan\1"),
        ("a.zip::b", r"a.zip\x3a:b"),
        (r"a.zip\x3a:b", r"a.zip\\x3a:b"),
        (":a:::b:", r"\x3aa\x3a\x3a:b\x3a"),
        ("a: b", "a: b"),
        ("naïve\n", "naïve\n"),
    ],
)
def test_no_two_names_become_one_text(name: str, text: str) -> None:
    assert printable(name) == text


def test_a_file_named_like_a_member_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.zip::b").write_text("x")
    (name,) = find(tmp_path)
    (member,) = members_of(Found("a.zip"), [Member("b", 0, 1)])
    assert name != member.name


def test_sources_that_overlap_are_refused(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "ab").mkdir()
    with pytest.raises(ManifestError, match=r"link: is given twice, as .*a too; give it once"):
        find(tmp_path / "a", tmp_path / "link")
    with pytest.raises(ManifestError, match=r"b: lies in .*a, which is given too; give one of"):
        find(inner, tmp_path / "a")
    assert find(tmp_path / "a", tmp_path / "ab") == {}


def test_a_table_that_names_a_file_of_another_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("in/a.png", "b.png"):
        (tmp_path / name).touch()
    for name, image in (("t.csv", "in/a.png"), ("u.csv", "./in/../in/a.png"), ("v.csv", "b.png")):
        (tmp_path / name).write_text(f"image\n{image}\n")
    for sources in (("t.csv", "in"), ("in", "t.csv"), ("t.csv", "u.csv"), ("t.csv", "in/a.png")):
        with pytest.raises(ManifestError, match=r"names a file of .* too; give one of them"):
            find(*(tmp_path / name for name in sources))
    assert len(find(tmp_path / "v.csv", tmp_path / "in")) == 2
    assert len(find(tmp_path / "v.csv", tmp_path / "t.csv")) == 2


def test_the_folder_of_the_results_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is the folder of the results too; give a folder of"):
        find(tmp_path, leave_out=[tmp_path])


def test_a_table_that_asks_for_more_of_a_file_is_looked_into_again(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("x")
    stamps = []
    for text in ("a.tif,0", "a.tif,0\n./a.tif,1", "a.tif,0\n./a.tif,1"):
        (tmp_path / "m.csv").write_text(f"image,frame\n{text}\n")
        found = find(tmp_path / "m.csv")["a.tif"]
        stamps.append(found.stamp)
        assert is_as_found(found.path, found.stamp)
    assert found.frames == (Asked("", 0), Asked("", 1))  # one file, however it is spelt
    assert stamps[0] != stamps[1] == stamps[2]


def test_a_table_gets_those_members_of_an_archive_that_it_names() -> None:
    members = [Member(name, k, 5) for k, name in enumerate("abc")]
    frames = (Asked("b", 2, "1.2"), Asked("b", 0, "1.3"), Asked("a", 0), Asked("z", 0, "1.4"))
    found = [*members_of(Found("x.zip", "/x.zip", "1-2", frames=frames), members)]
    assert [(item.name, item.frames) for item in found[:-1]] == [
        ("x.zip::a", (Asked("", 0),)),
        ("x.zip::b", (Asked("", 2, "1.2"), Asked("", 0, "1.3"))),
    ]
    assert (found[-1].name, found[-1].reason) == ("x.zip::z", RejectReason.NOT_FOUND)
    whole = Found("x.zip", "/x.zip", "1-2", frames=(Asked("", 0, "1.2"), Asked("b", 0)))
    assert [item.study for item in members_of(whole, members)] == ["1.2"] * 3


def test_a_discs_directory_in_an_archive_is_passed_by_as_in_a_folder() -> None:
    names = ["DICOMDIR", "disc/dicomdir", "DICOM/1", "DICOMDIR/1"]
    archive = Found("x.zip", "/x.zip", "1-2")
    found = [*members_of(archive, [Member(name, k, 5) for k, name in enumerate(names)])]
    assert [item.aside for item in found] == ["a DICOMDIR", "a DICOMDIR", "", ""]


def test_whether_a_file_is_as_it_was_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    stamp = find(tmp_path)["a"].stamp
    assert is_as_found(str(path), stamp)
    assert is_as_found(str(path), f"{stamp}-3-100")  # a member of it
    os.utime(path, ns=(1, 1))
    assert not is_as_found(str(path), stamp)
    assert not is_as_found(str(tmp_path / "absent"), stamp)
