"""Words planted wherever an archive has text: which of them stand in what `medres score` leaves."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zoo_bundles
from planted_archive import Plants, fill_disc, fill_planted_folder, write_planted_manifest

from medres.data.table import read_table, write_table
from medres.errors import RejectReason
from pipelines.__main__ import main

PRIVATE = {"keys.parquet", "journal.jsonl", "lock", "site_secret"}
SECONDS = 120


@dataclass
class Scored:
    """What runs over the planted archive have left."""

    plants: Plants
    out: Path
    temporary: Path
    sources: list[str]
    said: list[bytes] = field(default_factory=list)
    when_killed: dict[str, set[str]] = field(default_factory=dict)
    with_uids: dict[str, set[str]] = field(default_factory=dict)
    arguments: set[bytes] = field(default_factory=set)

    def names_by_file(self) -> dict[str, set[str]]:
        folders = (self.out, self.temporary)
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {path.name: self.plants.seen_in_file(path) for path in files}


def start(scored: Scored, model: Path, *options: str, terminal: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines", "score", *scored.sources, "--model", str(model)]
    return subprocess.Popen(
        [*command, "--out", str(scored.out), "--device", "cpu", "--workers", "1", *options],
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TMPDIR": str(scored.temporary)},
        umask=0,
    )


def run_to_the_end(scored: Scored, model: Path, *options: str) -> None:
    """On a terminal, so that progress is shown."""
    mine, theirs = pty.openpty()
    termios.tcsetwinsize(mine, (24, 100))
    process = start(scored, model, *options, terminal=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(mine, 2**16)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(mine)
    assert process.wait(SECONDS) == 3, said[-2000:]
    scored.said.append(said)


def kill_while_scoring(scored: Scored, model: Path) -> None:
    process = start(scored, model, "--batch-size", "1", terminal=subprocess.DEVNULL)
    journal = scored.out / "journal.jsonl"
    end = time.monotonic() + SECONDS
    while not (journal.exists() and b'"scored"' in journal.read_bytes()):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    scored.arguments = children_arguments(process.pid)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    scored.when_killed = scored.names_by_file()


def children_arguments(parent: int) -> set[bytes]:
    """Command lines of the processes that a process has started."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.add((status.parent / "cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def scored(model_folder: Path, make_radiograph, tmp_path_factory) -> Scored:
    """The command three times: killed; to the end with UIDs; and the rejected once more."""
    plants = Plants()
    base = tmp_path_factory.mktemp("base")
    source = base / plants.address("source")
    fill_planted_folder(source, plants, make_radiograph)
    disc = fill_disc(base / plants.text("disc"), plants, make_radiograph)
    manifest = write_planted_manifest(base / plants.text("tables"), plants, make_radiograph)
    temporary = base / "tmp"
    temporary.mkdir()
    sources = [str(source), str(disc), str(manifest)]
    found = Scored(plants, base / "out", temporary, sources)
    kill_while_scoring(found, model_folder)
    run_to_the_end(found, model_folder, "--with-uids")
    found.with_uids = found.names_by_file()
    run_to_the_end(found, model_folder, "--retry-rejected")
    return found


def test_names_and_uids_stand_in_the_owners_file_alone(scored: Scored) -> None:
    seen = scored.names_by_file()
    leading = {word for word in scored.plants.where if word in scored.plants.leading}
    assert seen.pop("keys.parquet") <= leading
    assert {name: words for name, words in seen.items() if words} == {}
    assert {"images.parquet", "images.csv", "studies.parquet", "rejected.jsonl"} < seen.keys()
    assert {"not_chosen.jsonl", "summary.json", "summary.html", "journal.jsonl"} < seen.keys()


def test_a_run_that_is_killed_leaves_no_name(scored: Scored) -> None:
    assert scored.when_killed.keys() >= {"journal.jsonl", "lock", "site_secret"}
    assert {name: words for name, words in scored.when_killed.items() if words} == {}


def test_no_name_is_said_and_no_process_shows_one(scored: Scored) -> None:
    for said in scored.said:
        assert b"images of" in said
        assert b"rejected=" in said  # the bar
        assert scored.plants.seen_in(said) == set()
    assert any(b"reader_process" in line for line in scored.arguments)
    assert all(scored.plants.seen_in(line) == set() for line in scored.arguments)


def test_nothing_is_left_in_the_folder_of_temporary_files(scored: Scored) -> None:
    left = {path.name for path in scored.temporary.rglob("*") if path.is_file()}
    # torch 2.8 writes a module of its own as it is imported, and leaves it where it is killed.
    assert left <= {"_remote_module_non_scriptable.py"}


def test_what_leads_to_a_patient_is_its_owners_whatever_the_umask(scored: Scored) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in scored.out.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o600} == PRIVATE
    assert {mode for name, mode in modes.items() if name not in PRIVATE} == {0o644}


def test_the_archive_has_every_kind_of_refusal(scored: Scored) -> None:
    """All but those that take a reader which dies or hangs: their words hold figures alone."""
    summary = json.loads((scored.out / "summary.json").read_text())
    expected = set(RejectReason) - {RejectReason.DECODER_CRASHED, RejectReason.TIMED_OUT}
    assert set(summary["rejected_by_reason"]) == {reason.value for reason in expected}
    assert summary["images_scored"] > 60


def test_the_owners_file_leads_back_to_every_address(scored: Scored) -> None:
    rows = read_table(scored.out / "keys.parquet").rows
    addresses = "\n".join(row["image"] for row in rows)
    keys = {row["image_key"] for row in rows}
    words = {where: word for word, where in scored.plants.where.items()}
    for what in ("radiograph", "zip: member", "tar: link", "array", "lost", "hidden file"):
        assert words[what] in addresses, what
    uids = {row["study_instance_uid"] for row in rows}
    assert words["radiograph: StudyInstanceUID"] in uids
    found = {row["image_key"] for row in read_table(scored.out / "images.csv").rows}
    for name in ("rejected.jsonl", "not_chosen.jsonl"):
        lines = (scored.out / name).read_text().splitlines()
        found |= {json.loads(line)["image_key"] for line in lines}
    assert found <= keys


def test_uids_that_are_asked_for_come_alone(scored: Scored) -> None:
    seen = scored.with_uids
    uids = {word for word in scored.plants.leading if word.startswith("1.2")}
    for name in ("images.csv", "images.parquet", "studies.csv", "studies.parquet"):
        words = seen.pop(name)
        assert words
        assert words <= uids
    assert seen.pop("keys.parquet") == scored.names_by_file()["keys.parquet"]
    assert not any(seen.values())


def test_what_is_made_of_the_results_names_nobody(
    scored: Scored, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plants = scored.plants
    scored_keys = {row["image_key"] for row in read_table(scored.out / "images.csv").rows}
    index = read_table(scored.out / "keys.parquet").rows
    addresses = dict.fromkeys(row["image"] for row in index if row["image_key"] in scored_keys)
    rows = [
        [address, str(n % 2), plants.text("label table"), plants.text("label table")]
        for n, address in enumerate(a for a in addresses if "\n" not in a)
    ]
    rows.append([plants.text("label table"), "1", "", ""])
    write_table(tmp_path / "labels.csv", ["image", "label", "PatientName", "AccessionNumber"], rows)
    made = tmp_path / "made"
    join = ["join", str(scored.out), str(tmp_path / "labels.csv"), "--out", str(made / "s.csv")]
    assert main(join) == 0
    assert main(["drift", str(scored.out), str(scored.out), "--out", str(made)]) == 0
    out, err = capfd.readouterr()
    assert "images joined by image" in out
    assert f"row {len(rows) + 1} name nothing" in out
    assert plants.seen_in(out + err) == set()
    assert {path.name for path in made.iterdir()} == {"s.csv", "drift.json", "drift.html"}
    assert [path.name for path in made.iterdir() if plants.seen_in_file(path)] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader", "ignore:PydicomReader")
def test_a_bundle_of_others_tells_no_more(
    scored: Scored, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """MONAI's own readers go over the same files."""
    bundle = zoo_bundles.template(tmp_path / "bundle")
    argv = ["score", *scored.sources, "--model", str(bundle), "--out", str(tmp_path / "out")]
    assert main([*argv, "--device", "cpu"]) == 3
    out, err = capfd.readouterr()
    assert scored.plants.seen_in(out + err) == set()
    seen = {path.name: scored.plants.seen_in_file(path) for path in (tmp_path / "out").iterdir()}
    assert seen.pop("keys.parquet") <= scored.plants.leading
    assert {name: words for name, words in seen.items() if words} == {}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["images_scored"] > 5
