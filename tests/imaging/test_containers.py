"""Archives honest, broken and hostile: each member is read from its place, or refused."""

import gzip
import io
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from medres.errors import UnreadableImageError
from medres.imaging import containers
from medres.imaging.containers import (
    archive_kind,
    inflating_seconds,
    list_members,
    listing_seconds,
    member_as_file,
)

CONTENTS = {"a": b"first", "../../b": b"second" * 1000, "/c/d": b""}


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("folder")
        for name, content in CONTENTS.items():
            file.writestr(name, content)
    return path


def write_tar(path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in CONTENTS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(params=["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"a.{request.param}"
    if request.param == "zip":
        return write_zip(path)
    return write_tar(path, f"w:{request.param.partition('.')[2]}")


def open_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def content_of(path: Path, member: containers.Member) -> bytes:
    with member_as_file(path, member.at, member.size, ".dcm") as name:
        return Path(name).read_bytes()


def test_members_are_read_in_any_order_and_leave_nothing_behind(packed: Path) -> None:
    handles = open_handles()
    members = list_members(packed)
    assert [member.name for member in members] == list(CONTENTS)
    for member in (*members, *reversed(members)):
        assert content_of(packed, member) == CONTENTS[member.name]
    assert open_handles() <= handles + 2  # the last archive is kept open, with what inflates it
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


def test_what_is_no_archive_is_none(tmp_path: Path) -> None:
    for content in (b"", b"text", b"\x1f\x8b broken", b"BZh9" + bytes(20)):
        (tmp_path / "x").write_bytes(content)
        assert archive_kind(tmp_path / "x") is None
        with pytest.raises(UnreadableImageError, match="is neither zip nor tar"):
            list_members(tmp_path / "x")


@pytest.mark.parametrize("packing", ["w", "w:gz"])
def test_a_tar_cut_anywhere_says_that_it_is_damaged(tmp_path: Path, packing: str) -> None:
    path = write_tar(tmp_path / "a.tar", packing)
    whole = path.read_bytes()
    for cut in range(600, len(whole) - 1030, 517) if packing == "w" else range(60, len(whole), 17):
        path.write_bytes(whole[:cut])
        try:
            members = list_members(path)
        except UnreadableImageError as error:
            reasons = [error.reason.value]
        else:
            reasons = [member.reason.value for member in members if member.reason]
            for member in members:
                if member.reason is None and member is not members[-2]:
                    assert content_of(path, member) == CONTENTS[member.name]
        assert reasons == ["damaged_archive"] or (reasons == ["unknown_format"] and cut < 700)


def test_a_tar_damaged_in_the_middle_keeps_what_stands_before(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", "w")
    content = bytearray(path.read_bytes())
    content[1024 + 512 + 148 + 4] ^= 0xFF  # the checksum of the second file's header
    path.write_bytes(content)
    members = list_members(path)
    assert [(m.name, m.reason) for m in members] == [
        ("a", None),
        ("(the rest of the archive)", "damaged_archive"),
    ]


@pytest.mark.parametrize("packing", ["w", "w:gz", "w:xz"])
def test_a_tar_behind_a_tar_is_not_lost_in_silence(tmp_path: Path, packing: str) -> None:
    path = write_tar(tmp_path / "a.tar", packing)
    path.write_bytes(path.read_bytes() * 2)
    members = list_members(path)
    assert [member.name for member in members] == [*CONTENTS, "(the rest of the archive)"]
    assert members[-1].reason == "damaged_archive"


def test_what_fills_the_last_record_of_a_tar_is_nothing(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", "w")
    content = path.read_bytes()
    path.write_bytes(content[:-1024] + bytes(range(256)) * 5)
    assert [member.name for member in list_members(path)] == [*CONTENTS]


def test_zeros_behind_a_tar_are_a_bomb_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(containers.LIMITS, archive_bytes=2**20)
    monkeypatch.setattr(containers, "LIMITS", small)
    path = write_tar(tmp_path / "a.tar", "w")
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content) + gzip.compress(bytes(2**22)))
    assert list_members(path)[-1].reason == "damaged_archive"


def test_the_checksum_of_a_compressed_tar_is_looked_at(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tgz", "w:gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert list_members(path)[-1].reason == "damaged_archive"


def test_an_archive_in_anothers_place_is_opened_anew(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    member = list_members(path)[0]
    assert content_of(path, member) == b"first"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("a", b"other")
    os.utime(tmp_path / "b.zip", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "b.zip").replace(path)
    assert content_of(path, list_members(path)[0]) == b"other"


def test_a_damaged_member_of_a_zip_is_refused_alone(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    members = list_members(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"../../b") + 12
    content[at] ^= 0xFF
    path.write_bytes(content)
    assert content_of(path, members[0]) == b"first"
    with pytest.raises(UnreadableImageError, match="the archive is damaged or cut short") as info:
        content_of(path, members[1])
    assert info.value.reason == "damaged_archive"
    assert info.value.__context__ is None


def test_links_devices_and_encrypted_members_are_refused_by_name(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("x")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert [m.reason for m in list_members(tmp_path / "a.tar")] == ["not_found"] * 4
    path = write_zip(tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)  # of the second entry
    content[at + 8] |= 1
    path.write_bytes(content)
    member = list_members(path)[0]
    assert (member.reason, member.message) == ("encrypted", containers.ENCRYPTED)
    with pytest.raises(UnreadableImageError, match="is encrypted in its archive"):
        content_of(path, member)


def test_bombs_are_refused_before_they_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "LIMITS", replace(containers.LIMITS, archive_bytes=2**20))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(4 * 2**20))
    info = tarfile.TarInfo("a")
    info.size = 4 * 2**20
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    for name in ("a.zip", "a.tgz"):
        with pytest.raises(UnreadableImageError, match="inflates to more than 100 times") as caught:
            list_members(tmp_path / name)
        assert caught.value.reason == "too_large"


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "LIMITS", replace(containers.LIMITS, archive_members=2))
    with pytest.raises(UnreadableImageError, match="an archive of more than 2 files"):
        list_members(write_zip(tmp_path / "a.zip"))


def test_a_member_larger_than_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(tmp_path / "a.zip")
    members = list_members(path)
    monkeypatch.setattr(containers, "LIMITS", replace(containers.LIMITS, file_bytes=100))
    with pytest.raises(UnreadableImageError, match="claims more than the 100 bytes"):
        content_of(path, members[1])
    liar = replace(members[1], size=10)
    with pytest.raises(UnreadableImageError, match="claims more than the 100 bytes"):
        content_of(path, liar)


def test_an_archive_that_has_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="there is no such file") as info:
        content_of(tmp_path / "a.zip", containers.Member("a", 0, 5))
    assert info.value.reason == "not_found"


def test_an_archive_has_time_for_its_size_and_for_what_lies_before_a_member(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.tar", tmp_path / "a.tgz"
    for path, mode in ((plain, "w"), (packed, "w:gz")):
        with tarfile.open(path, mode):
            pass
    assert inflating_seconds(packed, 3 * 2**30) == 768
    assert inflating_seconds(plain, 3 * 2**30) == 0  # is sought, not read
    assert inflating_seconds(tmp_path / "absent", 3 * 2**30) == 0
    os.truncate(plain, 10 * 2**20)
    assert listing_seconds(plain) == 5
    assert listing_seconds(tmp_path / "absent") == 0


def test_a_zip_cut_short_is_not_taken_for_a_zip_within_it(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.zip", tmp_path / "outer.zip"
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("x", b"x")
    with zipfile.ZipFile(outer, "w") as file:
        file.writestr("a", b"a")
        file.write(inner, "inner.zip")
    assert [member.name for member in list_members(outer)] == ["a", "inner.zip"]
    os.truncate(outer, outer.stat().st_size - 30)
    with pytest.raises(UnreadableImageError, match="the archive is damaged or cut short here"):
        list_members(outer)
