import hashlib
from pathlib import Path

import pytest

from medres.files import (
    file_digest,
    read_json,
    remove_unfinished,
    write_json,
    write_text,
    written_whole,
)


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    half_of_the_new = b"\xff"

    def fail() -> None:
        with written_whole(path) as temporary:
            temporary.write_bytes(half_of_the_new)
            half_of_the_new.decode()

    with pytest.raises(UnicodeDecodeError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trips_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"é": [1, None, 0.5]})
    assert read_json(path) == {"é": [1, None, 0.5]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"é": [1, None, 0.5]}


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("last.pt", ".last-x1.pt", ".best-x1.pt", ".last-x1.txt", "last-x1.pt"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "last.pt")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"last.pt", ".best-x1.pt", ".last-x1.txt", "last-x1.pt"}
    remove_unfinished(tmp_path / "absent" / "last.pt")
