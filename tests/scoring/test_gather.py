"""Three shards of the archive of `conftest` put together, against one run over all of it."""

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from score_summaries import summary as summary_by_hand
from scored_tables import KEYS, SETTINGS, score

from medres.bundle.directory import Model
from medres.data.pseudonyms import Keys
from medres.data.table import read_table
from medres.errors import RejectReason, ResultsError, UnreadableImageError
from medres.files import read_json, write_json
from medres.imaging.isolated import IsolatedReader
from medres.imaging.reader_protocol import ReadRequest
from medres.scoring import look
from medres.scoring.added_summary import add_summaries
from medres.scoring.gather import gathered
from medres.scoring.journal import LOCK, no_writer
from medres.scoring.look import Shard
from medres.scoring.run import open_run
from medres.scoring.shards import SAME, read_shards
from medres.scoring.tables import write_parquet
from pipelines.__main__ import main

TABLES = (
    *("images.parquet", "images.csv", "studies.parquet", "studies.csv"),
    *("keys.parquet", "rejected.jsonl", "not_chosen.jsonl"),
)
ADDED = {
    "studies_of_several_patients",
    *("files", "inputs", "images_scored", "studies_scored", "rejected", "not_chosen"),
    *("rejected_by_reason", "not_chosen_by_reason", "missing_decoders", "histograms"),
    *("studies_positive", "studies_decided", "scanners", "guard", "throughput"),
}
"""Figures that `add_summaries` knows how to add up."""
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def shard_templates(
    archive_template: Path, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    folders = [tmp_path_factory.mktemp("shards") / str(number) for number in range(3)]
    for number, folder in enumerate(folders):
        score(archive_template, folder, model, replace(SETTINGS, shard=Shard(number, 3)))
    return folders


@pytest.fixture
def shards(shard_templates: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of one's own."""
    return [
        Path(shutil.copytree(folder, tmp_path / f"r{number}"))
        for number, folder in enumerate(shard_templates)
    ]


def gather(folders: list[Path], out: Path) -> dict[str, Any]:
    with gathered(folders, out):
        pass
    summary: dict[str, Any] = read_json(out / "summary.json")
    return summary


def test_what_is_gathered_is_what_one_run_has_written(
    whole: Path, shards: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = gather(shards[::-1], out)
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    expected = read_json(whole / "summary.json")
    assert summary.pop("gathered") == {"shards": 3}
    assert summary["throughput"]["images"] == expected["throughput"]["images"] == 18
    for values in (summary, expected):
        del values["throughput"]
    assert json.dumps(summary) == json.dumps(expected)


def test_every_figure_of_a_summary_is_compared_or_added_up(whole: Path) -> None:
    assert {*read_json(whole / "summary.json")} == ADDED | {*SAME} | {"sources", "shard"}


def test_keys_stay_readable_by_their_owner_alone(shards: list[Path], tmp_path: Path) -> None:
    gather(shards, tmp_path / "out")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes.pop("keys.parquet") == 0o600
    assert set(modes.values()) == {0o644}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o055  # others may look in


def test_the_command_gathers_and_join_drift_and_serve_take_it(
    whole: Path, shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from medres.serving.folders import find_entries

    out = tmp_path / "out"
    assert main(["gather", *map(str, shards), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 shards gathered: 15 images of 12 studies scored, 6 rejected, 2 not chosen" in said
    page = (out / "summary.html").read_text()
    assert "Gathered from 3 shards: times are those of all, added up." in page
    assert "This is shard" not in page
    rows = read_table(whole / "studies.csv").rows
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "study_key,opacity\n"
        + "".join(f"{row['study_key']},{k % 2}\n" for k, row in enumerate(rows))
    )
    scores = tmp_path / "scores.csv"
    assert main(["join", str(out), str(labels), "--out", str(scores)]) == 0
    assert len(read_table(scores).rows) == 12
    assert main(["drift", str(whole), str(out), "--out", str(tmp_path / "drift")]) == 0
    assert "archive" in {entry.kind for entry in find_entries(out)}


def test_shards_started_again_are_still_of_the_same_sources(
    archive_template: Path, model: Model, shard_templates: list[Path], shards: list[Path]
) -> None:
    again = score(archive_template, shards[1], model, replace(SETTINGS, shard=Shard(1, 3)))
    assert again["sources"] == read_json(shard_templates[0] / "summary.json")["sources"]
    assert again["sources"]["files"] == 22


def test_a_changed_archive_is_refused_until_all_shards_have_seen_it(
    archive: Path, model: Model, make_radiograph: Callable[..., bytes], tmp_path: Path
) -> None:
    folders = [tmp_path / "r0", tmp_path / "r1"]

    def run(number: int) -> None:
        score(archive, folders[number], model, replace(SETTINGS, shard=Shard(number, 2)))

    run(0)
    (archive / "new").write_bytes(make_radiograph(50, 50))
    (archive / "2").unlink()
    (archive / "4").unlink()
    run(1)
    with pytest.raises(ResultsError, match=r"r1: other sources than .*r0 \(21 files, not 22\)"):
        read_shards(folders)
    run(0)
    assert [results.shard.number for results in read_shards(folders[::-1])] == [0, 1]
    summary = gather(folders, tmp_path / "out")
    assert summary["inputs"] == sum(read_json(f / "summary.json")["inputs"] for f in folders)


def test_a_file_that_one_shard_alone_cannot_read_is_not_lost(
    whole: Path,
    archive_template: Path,
    model: Model,
    shards: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """File 1 is of shard 0's study and, by its name, shard 1's if nobody can read it."""
    reading = IsolatedReader.read_records

    def read(self: IsolatedReader, request: ReadRequest) -> Any:
        if Path(request.image).name == "1":
            raise UnreadableImageError(RejectReason.TIMED_OUT, request.image, "took too long")
        return reading(self, request)

    def run(**options: Any) -> dict[str, Any]:
        settings = replace(SETTINGS, shard=Shard(0, 3))
        return score(archive_template, tmp_path / "again", model, settings, **options)

    monkeypatch.setattr(IsolatedReader, "read_records", read)
    inputs = run()["inputs"]
    monkeypatch.undo()
    shards[0] = tmp_path / "again"
    with pytest.raises(ResultsError, match=r"r1: not the same files could be read as in .*again"):
        gather(shards, tmp_path / "out")
    assert run(retry_rejected=True)["inputs"] == inputs + 1
    assert gather(shards, tmp_path / "out")["inputs"] == read_json(whole / "summary.json")["inputs"]


def test_files_without_a_decoder_and_hidden_ones_keep_no_shards_apart(
    archive: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one are their study's shard's alone; the others are passed by, whatever ails them."""
    with zipfile.ZipFile(archive / "hidden.zip", "w") as file:
        for number in range(6):
            file.writestr(f".{number}", b"x")
    content = bytearray((archive / "hidden.zip").read_bytes())
    for at in re.finditer(rb"PK\x01\x02", bytes(content)):
        content[at.start() + 8] |= 1  # encrypted, says the directory
    (archive / "hidden.zip").write_bytes(content)
    monkeypatch.setattr(look, "describe_lack", lambda record: "a decoder" * bool(record.modality))
    folders = [tmp_path / f"r{number}" for number in range(3)]
    for number, folder in enumerate(folders):
        score(archive, folder, model, replace(SETTINGS, shard=Shard(number, 3)))
    summary = gather(folders, tmp_path / "out")
    assert summary["rejected_by_reason"]["no_decoder"] == 14
    assert summary["not_chosen_by_reason"]["hidden"] == 7


def test_shards_on_a_disk_that_cannot_be_written_are_gathered(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.open

    def read_only(path: str, flags: int, *more: int, **named: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and Path(path).parent.name in ("r0", "r1", "r2"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return original(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", read_only)
    assert gather(shards, tmp_path / "out")["inputs"] == 23


def test_nothing_is_left_where_gathering_fails(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), gathered(shards, tmp_path / "out"):
        raise ZeroDivisionError
    assert {path.name for path in tmp_path.iterdir()} == {"r0", "r1", "r2"}


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_taken(
    shards: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    gather(shards, out)
    with pytest.raises(ResultsError, match="out: is there already, and not empty"):
        gather(shards, out)


def test_a_shard_that_is_being_written_is_refused(shards: list[Path], tmp_path: Path) -> None:
    with (shards[2] / LOCK).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResultsError, match="r2: another process is writing results here"):
            gather(shards, tmp_path / "out")
    with no_writer(shards[2]):  # somebody who reads, too
        gather(shards, tmp_path / "beside")
    (shards[2] / "lock").unlink()
    gather(shards, tmp_path / "out")


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        ([0, 1, 1], r"r1: shard 1 of 3, as .*r1 is; give each shard once"),
        ([1], r"2 of 3 shards are missing: 0, 2 \(counted from 0\); give their folders too"),
        ([2, 0], r"1 of 3 shards is missing: 1 \(counted from 0\)"),
    ],
)
def test_shards_missing_or_doubled_are_refused(
    shards: list[Path], tmp_path: Path, pick: list[int], message: str
) -> None:
    with pytest.raises(ResultsError, match=message):
        gather([shards[number] for number in pick], tmp_path / "out")


def test_many_missing_shards_are_named_in_part(shards: list[Path]) -> None:
    change_summary(shards[0], shard={"number": 0, "of": 20})
    with pytest.raises(ResultsError, match=r"19 of 20 shards are missing: 1, 2, 3, .*, 8 and 11 m"):
        read_shards(shards[:1])


def change_summary(folder: Path, **changes: object) -> None:
    values = read_json(folder / "summary.json")
    write_json(folder / "summary.json", {**values, **changes})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model_digest", "0", "r1: another model than .*r0"),
        ("weights_sha256", "0", "r1: another model's weights than"),
        ("preprocessing_digest", "0", "r1: another preprocessing than"),
        ("precision", "bf16", "r1: another --precision than"),
        ("combine", "max", "r1: another --combine than"),
        ("image_rule", {}, "r1: another rule on headers than"),
        ("guard_digest", "0", "r1: another guard than"),
        ("guard", {"mode": "withhold"}, "r1: another --guard than"),
        ("secret", "0", "r1: another secret; give every shard the same --site-secret than"),
        ("sources", {"files": 22, "digest": "0"}, "r1: other sources than .*r0"),
        ("schema", "medres.scores/2", "r1: another version of medres than"),
        ("shard", {"number": 1, "of": 4}, "r1: one of 4 shards, .*r0 one of 3"),
    ],
)
def test_results_that_do_not_go_together_are_refused(
    shards: list[Path], name: str, value: object, message: str
) -> None:
    change_summary(shards[1], **{name: value})
    with pytest.raises(ResultsError, match=message):
        read_shards(shards)


def test_results_of_another_secret_are_refused(
    archive_template: Path, model: Model, shards: list[Path], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, shard=Shard(1, 3))
    other = Keys(b"another secret of thirty bytes")
    with open_run(tmp_path / "other", [archive_template], model, settings, other) as run:
        run.look()
        for _ in run.score():
            pass
        run.write(tmp_path / "other")
    with pytest.raises(ResultsError, match="other: another secret; give every shard the same"):
        read_shards([shards[0], tmp_path / "other", shards[2]])


def test_whole_runs_older_results_and_other_folders_are_refused(
    whole: Path, shards: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ResultsError, match="is no shard but a whole run; there is nothing to add"):
        read_shards([whole])
    with pytest.raises(ResultsError, match=r"lacks summary.json; give a folder that"):
        read_shards([tmp_path])
    (shards[0] / "studies.parquet").unlink()
    with pytest.raises(ResultsError, match=r"r0: lacks studies.parquet"):
        read_shards(shards)
    values = read_json(shards[1] / "summary.json")
    del values["sources"]
    write_json(shards[1] / "summary.json", values)
    with pytest.raises(ResultsError, match="r1: an older medres has written it; start its command"):
        read_shards(shards[1:])


@pytest.mark.parametrize("content", ['{"findings": [', "{}", "[]", "1", "\0"])
def test_a_damaged_summary_is_refused(shards: list[Path], content: str) -> None:
    (shards[1] / "summary.json").write_text(content)
    with pytest.raises(ResultsError, match=r"r1: summary.json is damaged, or another program's;"):
        read_shards(shards)


def cut_lines(folder: Path) -> None:
    lines = (folder / "rejected.jsonl").read_text().splitlines(keepends=True)
    (folder / "rejected.jsonl").write_text("".join(lines[1:]))


def break_line(folder: Path) -> None:
    (folder / "not_chosen.jsonl").write_text('{"image_key": "a"')


def turn_images(folder: Path) -> None:
    rewrite(folder, "images", lambda rows: rows[::-1])


def break_studies(folder: Path) -> None:
    (folder / "studies.parquet").write_bytes(b"PAR1")


def rewrite(folder: Path, name: str, change: Callable[[list], list]) -> None:
    path = folder / f"{name}.parquet"
    table = pyarrow.parquet.read_table(path)
    columns = {field.name: str(field.type) for field in table.schema}
    write_parquet(path, columns, change(table.to_pylist()))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (cut_lines, "rejected"),
        (break_line, "not_chosen"),
        (turn_images, "images"),
        (break_studies, "studies"),
    ],
)
def test_tables_that_do_not_fit_their_summary_are_refused(
    shards: list[Path], tmp_path: Path, change: Change, what: str
) -> None:
    for folder in shards:
        change(folder)
    with pytest.raises(ResultsError, match=rf"r\d: its {what} are not those of its summary"):
        gather(shards, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_in_two_shards_is_refused(shards: list[Path], tmp_path: Path) -> None:
    (row,) = pyarrow.parquet.read_table(shards[0] / "studies.parquet").slice(0, 1).to_pylist()
    rewrite(shards[1], "studies", lambda rows: sorted([*rows, row], key=lambda r: r["study_key"]))
    values = read_json(shards[1] / "summary.json")
    change_summary(shards[1], studies_scored=values["studies_scored"] + 1)
    with pytest.raises(ResultsError, match="studies: one study stands in two shards"):
        gather(shards, tmp_path / "out")


def test_shards_under_others_numbers_are_refused(shards: list[Path], tmp_path: Path) -> None:
    for number, folder in enumerate(shards):
        change_summary(folder, shard={"number": (number + 1) % 3, "of": 3})
    with pytest.raises(ResultsError, match="holds a study of another shard"):
        gather(shards, tmp_path / "out")


def test_tables_with_and_without_uids_are_not_put_together(
    archive_template: Path, model: Model, shards: list[Path], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, shard=Shard(1, 3))
    with open_run(shards[1], [archive_template], model, settings, KEYS) as run:
        run.look()
        run.write(shards[1], with_uids=True)
    with pytest.raises(ResultsError, match=r"r1: other columns in images.parquet than .*r0; write"):
        gather(shards, tmp_path / "out")


def test_summaries_are_added_up() -> None:
    throughput = {"images": 10, "seconds": 4.0, "images_per_second": 2.5, "looking_seconds": 1.0}
    first, second = (
        summary_by_hand(
            sources={"files": 500, "digest": "0"},
            throughput=throughput,
            studies_of_several_patients=1,
            studies_decided={"opacity": {"negative": 3, "indeterminate": 2, "positive": 1}},
            scanners=[{"modality": "DX", "manufacturer": maker, "images": 5}, *common],
            guard={
                "mode": "mark",
                **{"images": 20, "flagged_images": 3, "flagged_studies": 2},
                "by_reason": {"pixels": 1, reason: 2},
                "false_alarms": {"asked": 0.02, "promised": 0.018},
            },
        )
        for maker, reason, common in (
            ("Siemens", "outline", []),
            ("Philips", "pixels ", [{"modality": "DX", "manufacturer": "Siemens", "images": 1}]),
        )
    )
    total = add_summaries([first, second])
    assert [*total] == [*first, "gathered"]
    assert total["shard"] == {"number": 0, "of": 1}
    assert (total["files"], total["inputs"], total["images_scored"]) == (500, 742, 648)
    assert total["rejected_by_reason"] == {"no_decoder": 50, "truncated": 14, "not_dicom": 6}
    assert total["histograms"]["opacity"]["images"][:3] == [240, 120, 62]
    assert total["studies_of_several_patients"] == 2
    assert total["studies_positive"] == {"opacity": 58}
    assert total["studies_decided"] == {
        "opacity": {"negative": 6, "indeterminate": 4, "positive": 2}
    }
    assert total["scanners"] == [
        {"modality": "DX", "manufacturer": "Philips", "images": 5},
        {"modality": "DX", "manufacturer": "Siemens", "images": 6},
    ]
    assert total["guard"] == {
        "mode": "mark",
        **{"images": 40, "flagged_images": 6, "flagged_studies": 4},
        "by_reason": {"outline": 2, "pixels": 2, "pixels ": 2},
        "false_alarms": {"asked": 0.02, "promised": 0.018},
    }
    assert total["throughput"] == {
        **{"images": 20, "seconds": 8.0, "images_per_second": 2.5, "looking_seconds": 2.0}
    }
