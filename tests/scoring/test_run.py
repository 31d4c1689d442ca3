"""Archives through a whole run: every input is accounted for, once, whatever happens on the way."""

import copy
import errno
import json
import math
import os
import re
import resource
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scored_tables import KEYS, SETTINGS, assert_same, score, table

from medres.bundle.directory import Model
from medres.data.image_rule import ImageRule
from medres.data.table import read_table
from medres.errors import ConfigError, RejectReason, ResultsError, UnreadableImageError
from medres.imaging.grayscale import ImageRecord
from medres.imaging.isolated import IsolatedReader
from medres.imaging.limits import LIMITS
from medres.imaging.reader_pool import ReaderPool
from medres.imaging.reader_protocol import ReadRequest
from medres.reports.score_page import describe_results
from medres.scoring.look import Shard
from medres.scoring.run import check_complete, open_run
from medres.scoring.scorer import OwnScorer
from medres.scoring.secret import open_secret


def test_every_input_is_scored_rejected_or_passed_by(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["inputs"] == 23
    assert summary["images_scored"] == len(table(whole)) == 15
    assert summary["studies_scored"] == len(table(whole, "studies")) == 12
    assert summary["rejected_by_reason"] == {
        "not_dicom": 2,
        "constant_image": 1,
        "nested_archive": 1,
        "not_found": 1,
        "truncated": 1,
    }
    assert summary["not_chosen_by_reason"] == {"a copy of another image": 1, "hidden": 1}
    assert sum(summary["histograms"]["opacity"]["images"]) == 15
    assert {"modality": "DX", "manufacturer": "Siemens", "images": 12} in summary["scanners"]


def test_scores_are_those_of_the_evaluation_chain(
    whole: Path, archive_template: Path, model: Model
) -> None:
    from medres.scoring.predictor import Predictor

    names = {row["image_key"]: row["image"] for row in read_table(whole / "keys.parquet").rows}
    found = {names[key]: row["opacity"] for (key, frame), row in table(whole).items() if not frame}
    found |= {names[key]: row["opacity"] for (key, frame), row in table(whole).items() if frame}
    items = [{"image": str(archive_template / str(k)), "frame": 0} for k in range(6)]
    expected = Predictor.of_model(model, torch.device("cpu")).predict(items)[:, 0].tolist()
    for number, value in enumerate(expected):
        if str(number) in found:  # 0 may be the copy that was passed by
            assert found[str(number)] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("change", [{"batch_size": 7}, {"batch_size": 1, "workers": 1}])
def test_scores_depend_on_neither_batch_nor_workers(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path, change: dict
) -> None:
    score(archive_template, tmp_path, model, replace(SETTINGS, **change))
    assert_same(whole, tmp_path)


def test_a_second_start_scores_nothing_again(whole: Path, archive: Path, model: Model) -> None:
    out = archive.parent / "out"
    score(archive, out, model)
    size = (out / "journal.jsonl").stat().st_size
    summary = score(archive, out, model)
    assert summary["throughput"]["images"] == 0
    assert (out / "journal.jsonl").stat().st_size - size < 4000  # what is passed by, and refused
    assert_same(whole, out)


def test_a_run_that_stops_after_any_batch_goes_on(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    for batches in (0, 1, 1):
        with open_run(tmp_path, [archive_template], model, SETTINGS, KEYS) as run:
            run.look()
            for _ in zip(range(batches), run.score(), strict=False):
                pass
    summary = score(archive_template, tmp_path, model)
    assert 0 < summary["throughput"]["images"] < 17
    assert_same(whole, tmp_path)


def test_lines_of_the_journal_that_somebody_changed_are_done_again(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    """A score with a checksum that fits, a seal from another line, a file's line of nonsense."""
    score(archive_template, tmp_path, model)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines()
    scored = [k for k, line in enumerate(lines) if b'"scored"' in line]
    files = [k for k, line in enumerate(lines) if b'"pictures"' in line]
    other = lines[scored[2]].rpartition(b',"sealed"')[2]
    texts = {
        scored[0]: re.sub(rb'"p":\[[^]]*', b'"p":[0.999', lines[scored[0]][9:]),
        scored[1]: lines[scored[1]][9:].rpartition(b',"sealed"')[0] + b',"sealed"' + other,
        files[0]: lines[files[0]][9:].replace(b"DX", b"CT"),
    }
    for number, text in texts.items():
        assert text != lines[number][9:]
        lines[number] = b"%08x %s" % (zlib.crc32(text), text)
    path.write_bytes(b"\n".join([*lines, b""]))
    again = score(archive_template, tmp_path, model)["throughput"]["images"]
    assert 2 <= again <= 3  # the file's image may be one of the two
    assert_same(whole, tmp_path)


def test_tables_that_a_kill_has_left_half_written_are_removed(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    for path in whole.iterdir():
        if path.suffix and not path.name.startswith("journal"):
            (tmp_path / f".{path.stem}-x1{path.suffix}").write_bytes(path.read_bytes()[:100])
    (tmp_path / ".keys-of-the-house").write_text("not ours")
    score(archive_template, tmp_path, model)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".keys-of-the-house", *(path.name for path in whole.iterdir())}


def test_a_disk_that_is_full_stops_a_run_that_then_goes_on(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    stops = 0
    for room in (2_000, 6_500, 8_000, 10_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            score(archive_template, tmp_path, model)
        except ResultsError:
            stops += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stops >= 3
    score(archive_template, tmp_path, model)
    assert_same(whole, tmp_path)


def test_a_file_that_changes_is_scored_again_and_one_that_goes_stays(
    archive: Path, model: Model, make_radiograph
) -> None:
    out = archive.parent / "out"
    score(archive, out, model)
    before = table(out)
    (archive / "1").write_bytes(make_radiograph(99, 0))
    (archive / "2").unlink()
    score(archive, out, model)
    after = table(out)
    assert before.keys() == after.keys()
    names = {row["image_key"]: row["image"] for row in read_table(out / "keys.parquet").rows}
    changed = {names[key] for key, row in after if after[key, row] != before[key, row]}
    assert changed == {"1"}


def test_a_file_that_goes_before_its_turn_is_rejected(archive: Path, model: Model) -> None:
    out = archive.parent / "out"
    with open_run(out, [archive], model, SETTINGS, KEYS) as run:
        run.look()
        (archive / "3").unlink()
        for _ in run.score():
            pass
        assert run.write(out)["rejected_by_reason"]["not_found"] == 2  # and the link in a tar


def test_what_was_rejected_stays_so_until_it_is_to_be_tried_again(
    archive: Path, model: Model, make_radiograph
) -> None:
    out = archive.parent / "out"
    first = score(archive, out, model)
    assert score(archive, out, model)["rejected"] == first["rejected"]
    summary = score(archive, out, model, retry_rejected=True)
    assert summary["rejected"] == first["rejected"]
    assert summary["throughput"]["images"] == 2  # the others are refused by header


def test_shards_share_the_studies_out(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    found: dict = {}
    inputs = 0
    for number in range(3):
        out = tmp_path / str(number)
        settings = replace(SETTINGS, shard=Shard(number, 3))
        inputs += score(archive_template, out, model, settings)["inputs"]
        rows = table(out)
        assert not found.keys() & rows.keys()
        found |= rows
    expected = table(whole)
    assert inputs == 23
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key]["opacity"] == pytest.approx(row["opacity"], abs=1e-5)


def test_the_rule_leaves_images_out_and_says_why(
    archive_template: Path, model: Model, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, rule=ImageRule(modalities=("CT",)))
    summary = score(archive_template, tmp_path, model, settings)
    assert summary["not_chosen_by_reason"]["modality DX"] == 14
    assert summary["images_scored"] == 3  # pictures and arrays say no modality


def test_the_plan_tells_what_is_about_to_be_done(
    archive_template: Path, model: Model, tmp_path: Path
) -> None:
    rule = ImageRule(modalities=("DX",), body_parts=("CHEST",))
    with open_run(tmp_path, [archive_template], model, replace(SETTINGS, rule=rule), KEYS) as run:
        run.look()
        plan = run.plan()
    lines = plan.lines()
    assert lines[0] == "plan: 18 images to score, 13 of 13 studies, 22 files"
    assert lines[1] == "  chosen: modality DX; body part CHEST"
    assert "  1 not chosen: 1 hidden" in lines
    assert "  4 rejected: 2 not_dicom, 1 nested_archive, 1 not_found" in lines
    assert lines[-1].startswith("  expected time: about ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch size: 0 is not accepted"),
        ({"workers": 0}, "workers: 0 is not accepted"),
        ({"shard": Shard(3, 3)}, "shard: 3 of 3 is not accepted"),
        ({"limits": replace(LIMITS, read_seconds=0)}, "read seconds: 0 is not accepted; give 1 to"),
        ({"limits": replace(LIMITS, read_seconds=10**11)}, "read seconds: 100000000000 is not acc"),
    ],
)
def test_settings_that_cannot_be_are_refused(model, tmp_path, change, message) -> None:
    with (
        pytest.raises(ConfigError, match=message),
        open_run(tmp_path, [tmp_path], model, replace(SETTINGS, **change), KEYS),
    ):
        pass


def test_results_that_do_not_add_up_are_refused() -> None:
    counts = {"inputs": 3, "images_scored": 1, "rejected": 1, "not_chosen": 0}
    with pytest.raises(ResultsError, match="of 3 inputs, 2 are scored, rejected or not chosen"):
        check_complete(counts)


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"shard": Shard(0, 2)}])
def test_results_of_other_settings_never_mix(whole, archive_template, model, change) -> None:
    with pytest.raises(ResultsError, match=f"holds results of another {next(iter(change))}"):
        score(archive_template, whole, model, replace(SETTINGS, **change))


def test_results_of_another_model_or_other_sources_never_mix(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    other = replace(model, record=replace(model.record, weights_sha256="0" * 64))
    with pytest.raises(ResultsError, match="holds results of another model"):
        score(archive_template, whole, other)
    with pytest.raises(ResultsError, match="holds results of another set of sources"):
        score(tmp_path, whole, model)


def test_a_file_that_changes_before_its_turn_is_scored_by_the_next_start(
    archive: Path, model: Model, make_radiograph
) -> None:
    out = archive.parent / "out"
    with open_run(out, [archive], model, SETTINGS, KEYS) as run:
        run.look()
        (archive / "3").write_bytes(make_radiograph(99, 7))
        for _ in run.score():
            pass
        summary = run.write(out)
    assert summary["rejected_by_reason"]["not_found"] == 2  # and the link in a tar
    assert "has changed or gone since the folder was listed" in (out / "rejected.jsonl").read_text()
    assert score(archive, out, model)["rejected_by_reason"]["not_found"] == 1


def test_an_archive_that_was_broken_and_is_mended_is_rejected_no_more(
    archive: Path, model: Model
) -> None:
    out, whole_zip = archive.parent / "out", (archive / "inner.zip").read_bytes()
    (archive / "inner.zip").write_bytes(whole_zip[:-30])
    assert score(archive, out, model)["rejected_by_reason"]["damaged_archive"] == 1
    (archive / "inner.zip").write_bytes(whole_zip)
    summary = score(archive, out, model)
    assert "damaged_archive" not in summary["rejected_by_reason"]
    assert summary["images_scored"] == 15


def test_an_archive_named_like_dicom_is_opened(archive: Path, model: Model) -> None:
    (archive / "inner.zip").rename(archive / "inner.dcm")
    assert score(archive, archive.parent / "out", model)["images_scored"] == 15


def test_what_a_killed_process_left_half_written_is_removed(
    whole: Path, archive_template: Path, model: Model, tmp_path: Path
) -> None:
    (tmp_path / ".keys-x1y2.parquet").write_text("half")
    (tmp_path / ".summary-x1y2.html").write_text("half")
    score(archive_template, tmp_path, model)
    assert not [*tmp_path.glob(".*")]


def test_a_folder_that_cannot_be_written_is_said(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    message = r"no results can be written there \(Not a directory\); make room, or give a folder"
    with pytest.raises(ResultsError, match=message):
        score(tmp_path, tmp_path / "file" / "out", model)
    with pytest.raises(ResultsError, match=message):
        open_secret(tmp_path / "file" / "out", None)


def test_a_file_system_without_second_names_takes_a_secret_too(tmp_path, monkeypatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    secret = open_secret(tmp_path, None)
    assert open_secret(tmp_path, None) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["site_secret"]
    assert stat.S_IMODE((tmp_path / "site_secret").stat().st_mode) == 0o600


def test_a_secret_that_cannot_be_written_whole_is_not_left(tmp_path, monkeypatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(ResultsError, match=r"no results can be written there \(No space left"):
        open_secret(tmp_path, None)
    assert [*tmp_path.iterdir()] == []


def test_a_temporary_folder_that_is_full_is_said(model: Model, tmp_path: Path) -> None:
    message = r"temporary folder, cannot grow \(database or disk is full\); make room there"
    with (
        pytest.raises(ResultsError, match=message),
        open_run(tmp_path / "out", [tmp_path], model, SETTINGS, KEYS),
    ):
        raise sqlite3.OperationalError("database or disk is full")


def test_a_table_says_of_each_image_which_study_it_belongs_to(model: Model, tmp_path: Path) -> None:
    """Of images in one file, of members of one archive, of files: each row by itself."""
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    np.save(tmp_path / "a.npy", images)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for number in (1, 2):
            np.save(tmp_path / f"{number}.npy", images[number])
            archive.write(tmp_path / f"{number}.npy", str(number))
    rows = ("a.npy,0,1.1", "a.npy,1,1.2", "a.npy,2,1.1", "b.zip::1,,1.2", "b.zip::2,,1.3")
    (tmp_path / "t.csv").write_text("\n".join(["image,frame,study_instance_uid", *rows]))
    summary = score(tmp_path / "t.csv", tmp_path / "out", model)
    assert (summary["images_scored"], summary["studies_scored"]) == (5, 3)
    rows_of = read_table(tmp_path / "out" / "studies.csv").rows
    counts = {row["study_key"]: row["images"] for row in rows_of}
    assert counts == {KEYS.of("1.1"): "2", KEYS.of("1.2"): "2", KEYS.of("1.3"): "1"}


def test_a_study_of_several_patients_is_said_before_and_after(
    make_radiograph: Callable[..., bytes], model: Model, tmp_path: Path
) -> None:
    for number, (study, patient) in enumerate([(1, "A"), (1, "B"), (2, "A"), (2, "A"), (3, "")]):
        content = make_radiograph(number, study, PatientID=patient)
        (tmp_path / f"{number}.dcm").write_bytes(content)
    with open_run(tmp_path / "out", [tmp_path], model, SETTINGS, KEYS) as run:
        run.look()
        words = "1 study holds images of several patients, by their Patient ID; keys.parquet"
        assert any(words in line for line in run.plan().lines())
        for _ in run.score():
            pass
        summary = run.write(tmp_path / "out")
    assert summary["studies_of_several_patients"] == 1
    assert summary["studies_scored"] == 3
    assert any(words in note for note in describe_results(summary))


def test_what_was_rejected_and_has_gone_keeps_its_row_though_all_is_tried_again(
    archive: Path, model: Model
) -> None:
    out = archive.parent / "out"
    before = score(archive, out, model)
    (archive / "text.dcm").unlink()
    after = score(archive, out, model, retry_rejected=True)
    assert after["inputs"] == before["inputs"]
    assert after["rejected_by_reason"] == before["rejected_by_reason"]


def test_a_file_that_had_gone_and_is_back_is_scored_by_the_next_start(
    whole: Path, archive: Path, model: Model
) -> None:
    """As it was before, its time too: as on a disk that was not there for a while."""
    out, aside = archive.parent / "out", archive.parent / "aside"
    with open_run(out, [archive], model, SETTINGS, KEYS) as run:
        run.look()
        (archive / "3").rename(aside)
        for _ in run.score():
            pass
        assert run.write(out)["rejected_by_reason"]["not_found"] == 2  # and the link in a tar
    assert score(archive, out, model)["rejected_by_reason"]["not_found"] == 2
    aside.rename(archive / "3")
    score(archive, out, model)
    assert_same(whole, out)


def test_a_file_that_could_not_be_opened_is_tried_by_every_start(
    whole: Path, archive: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, original = archive.parent / "out", IsolatedReader.read_records

    def closed(self: IsolatedReader, request: ReadRequest) -> list[tuple[str, ImageRecord]]:
        if request.image.endswith("/3"):
            raise UnreadableImageError(RejectReason.NOT_FOUND, request.image, "cannot be opened")
        return original(self, request)

    with monkeypatch.context() as patched:
        patched.setattr(IsolatedReader, "read_records", closed)
        assert score(archive, out, model)["rejected_by_reason"]["not_found"] == 2
    score(archive, out, model)
    assert_same(whole, out)


def test_an_image_for_which_the_network_gives_no_number_is_rejected(
    archive: Path, model: Model, tmp_path: Path
) -> None:
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        network.backbone.fc.bias.fill_(math.nan)
    summary = score(archive / "0", tmp_path / "out", replace(model, network=network))
    assert (summary["images_scored"], summary["rejected_by_reason"]) == (0, {"decode_failed": 1})
    assert "gives no number for it" in (tmp_path / "out" / "rejected.jsonl").read_text()


def test_readers_end_where_the_network_cannot_be_built(
    archive: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[ReaderPool] = []

    def fail(_: object, __: object, readers: ReaderPool) -> None:
        pools.append(readers)
        raise ConfigError("no room on the device")

    monkeypatch.setattr(OwnScorer, "build_engine", fail)
    with pytest.raises(ConfigError, match="no room"):
        score(archive, tmp_path / "out", model)
    assert [reader._process for pool in pools for reader in pool._readers] == [None, None]


def test_a_file_named_like_a_study_is_not_of_it(
    make_radiograph: Callable[..., bytes], model: Model, tmp_path: Path
) -> None:
    """A patient's number may be such a name too, and is no UID."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(make_radiograph(1, 1, StudyInstanceUID="1.2"))
    (folder / "1.2").write_bytes(make_radiograph(2, 2, StudyInstanceUID=""))
    assert score(folder, tmp_path / "out", model)["studies_scored"] == 2
    rows = read_table(tmp_path / "out" / "keys.parquet").rows
    uids = {row["image"]: row["study_instance_uid"] for row in rows}
    assert uids == {"a.dcm": "1.2", "1.2": ""}
