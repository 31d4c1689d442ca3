"""A journal is cut, damaged, starved and shared: what was committed is there, nothing else is."""

import errno
import json
import multiprocessing
import os
import resource
import signal
import stat
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medres.data.pseudonyms import Keys
from medres.errors import ResultsError
from medres.scoring.journal import Journal

IDENTITY = {"model": "a" * 64, "precision": "fp32"}
KEYS = Keys(b"a secret of thirty-two bytes ....")


def entries_of(folder: Path) -> list[dict]:
    with Journal(folder, IDENTITY, KEYS) as journal:
        return list(journal.replay())


def image(name: str) -> dict:
    return {"image": name, "part": ""}


def fill(folder: Path, count: int = 5) -> list[dict]:
    entries = [{**image(f"{k}.dcm"), "p": [k / 7]} for k in range(count)]
    with Journal(folder, IDENTITY, KEYS) as journal:
        for entry in entries:
            journal.commit([entry])
    return entries


@contextmanager
def full_disk(room: int) -> Generator[None, None, None]:
    """No file grows beyond `room` bytes: a write gives what a full disk gives, part of it first."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_committed_is_replayed_in_order(tmp_path: Path) -> None:
    entries = fill(tmp_path)
    assert entries_of(tmp_path) == entries
    assert stat.S_IMODE((tmp_path / "journal.jsonl").stat().st_mode) == 0o600


def test_a_new_journal_is_on_the_disk_by_its_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    original = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().relative_to(tmp_path))
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with Journal(tmp_path / "a" / "b", IDENTITY, KEYS):
        pass
    assert synced == [Path("a/b/journal.jsonl"), Path("a/b"), Path("a")]


def test_a_line_is_its_checksum_and_json(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    head, line = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert json.loads(head[9:]) == {"journal": "medres.journal/2", **IDENTITY}
    values = json.loads(line[9:])
    assert values == {"image": KEYS.of("0.dcm"), "p": [0.0], "sealed": values["sealed"]}
    assert int(line[:8], 16) == zlib.crc32(line[9:])


def test_a_journal_cut_at_any_byte_holds_the_whole_lines_before_the_cut(tmp_path: Path) -> None:
    entries = fill(tmp_path)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    ends = [k + 1 for k, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        expected = entries[: max(sum(end <= cut for end in ends) - 1, 0)]
        with Journal(tmp_path, IDENTITY, KEYS) as journal:
            assert list(journal.replay()) == expected
            journal.commit([image("new.dcm")])
        assert entries_of(tmp_path) == [*expected, image("new.dcm")]


@pytest.mark.parametrize(
    "content",
    [
        b'{"level": "info"}\n{"level": "warning"}\n',
        b"another program's, without an end of line",
        b'0000abcd {"journal": "medres.journal/2"}\n0000abcd {}\n',
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"its first line, .* is damaged, or it is another"):
        Journal(tmp_path, IDENTITY, KEYS)
    assert path.read_bytes() == content


def test_a_damaged_first_line_is_told_and_costs_no_other(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + b"?" + whole[61:])
    with pytest.raises(ResultsError, match="its first line"):
        Journal(tmp_path, IDENTITY, KEYS)
    path.write_bytes(whole)
    assert len(entries_of(tmp_path)) == 5


def test_a_damaged_line_counts_as_absent(tmp_path: Path) -> None:
    entries = fill(tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"p"', b'"q"')
    path.write_bytes(b"".join(lines))
    assert entries_of(tmp_path) == [entries[0], *entries[2:]]


def test_a_full_disk_is_said_and_leaves_a_sound_journal(tmp_path: Path) -> None:
    entries = fill(tmp_path)
    size = (tmp_path / "journal.jsonl").stat().st_size
    with Journal(tmp_path, IDENTITY, KEYS) as journal:
        with (
            full_disk(size + 20),
            pytest.raises(ResultsError, match="cannot be written to") as info,
        ):
            journal.commit([image("b" * 100)])
        assert "start the same command again" in str(info.value)
        assert (tmp_path / "journal.jsonl").stat().st_size == size
        journal.commit([image("c")])
    assert entries_of(tmp_path) == [*entries, image("c")]


def test_a_disk_that_fails_is_said_though_nothing_can_be_undone(tmp_path, monkeypatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    entries = fill(tmp_path)
    with Journal(tmp_path, IDENTITY, KEYS) as journal:
        monkeypatch.setattr(os, "fsync", fail)
        monkeypatch.setattr(journal._file, "truncate", fail)
        with pytest.raises(ResultsError, match=r"cannot be written to \(Input/output error\)"):
            journal.commit([image("b")])
    monkeypatch.undo()
    assert entries_of(tmp_path)[: len(entries)] == entries


def test_a_file_system_that_locks_nothing_is_said(tmp_path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(ResultsError, match=r"its file system locks no files \(No locks available"):
        Journal(tmp_path, IDENTITY, KEYS)


@pytest.mark.parametrize("what", IDENTITY)
def test_results_of_another_kind_never_mix(tmp_path: Path, what: str) -> None:
    fill(tmp_path)
    match = f"holds results of another {what} .* give another folder, or the same {what}"
    with pytest.raises(ResultsError, match=match):
        Journal(tmp_path, {**IDENTITY, what: "b"}, KEYS)
    assert len(entries_of(tmp_path)) == 5


@pytest.mark.parametrize("version", [1, 9])
def test_a_journal_of_another_version_is_refused(tmp_path: Path, version: int) -> None:
    text = b'{"journal":"medres.journal/%d"}' % version
    (tmp_path / "journal.jsonl").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    match = rf"of another version of medres \('medres.journal/{version}', expected '.*/2'\); give"
    with pytest.raises(ResultsError, match=match):
        Journal(tmp_path, IDENTITY, KEYS)


def test_a_second_process_is_refused_until_the_first_has_died(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(30)
    with pytest.raises(ResultsError, match="another process is writing results here"):
        Journal(tmp_path, IDENTITY, KEYS)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert entries_of(tmp_path) == [image("held.dcm")]


def hold(folder: Path, ready: "multiprocessing.synchronize.Event") -> None:
    journal = Journal(folder, IDENTITY, KEYS)
    journal.commit([image("held.dcm")])
    ready.set()
    signal.pause()
