from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medres.errors import ConfigError
from medres.phantom import sample
from medres.phantom.sample import (
    SampleRecipe,
    ensure_sample_data,
    read_recipe,
    sample_data_set,
    write_sample_data,
)
from medres.phantom.sample_dicom import build_dataset, make_uid, study_instance_uid
from medres.phantom.study import plan_studies, render_study

COMMITTED = Path(__file__).parents[2] / "sample_data"
SMALL = SampleRecipe(patients=2, volumes=1)


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One file of each scanner with each VOI, each encoding and each view."""
    folder = tmp_path_factory.mktemp("kinds")
    seen: set[tuple[str, ...]] = set()
    files = []
    for plan in plan_studies(200):
        kinds = {(plan.scanner, plan.voi), (plan.scanner, plan.encoding), plan.views}
        if not kinds <= seen:
            seen |= kinds
            for number, picture in enumerate(render_study(plan), start=1):
                files.append(folder / f"{len(files)}.dcm")
                build_dataset(picture, number).save_as(files[-1], enforce_file_format=True)
    return files


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_data(tmp_path_factory.mktemp("small"), SMALL).folder


def test_validator_finds_no_error_in_any_kind_of_file(
    every_kind: list[Path], program: Callable[[str], str]
) -> None:
    validator = program("dciodvfy")
    for path in every_kind:
        done = subprocess.run(
            [validator, "-new", str(path)], capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert re.search("DXImage|CRImage", said), said
        assert "Error -" not in said, said


def test_validator_finds_the_entities_consistent(
    small: Path, program: Callable[[str], str]
) -> None:
    files = [str(path) for path in sorted(small.rglob("*.dcm"))]
    done = subprocess.run(
        [program("dcentvfy"), *files], capture_output=True, text=True, check=False
    )
    assert "Error" not in done.stdout + done.stderr


def test_every_kind_decodes_to_the_rendered_pixels() -> None:
    for encoding in ("explicit", "jpeg-ls", "jpeg-2000", "rle"):
        plan = next(p for p in plan_studies(60) if p.encoding == encoding)
        picture = render_study(plan)[0]
        np.testing.assert_array_equal(build_dataset(picture, 1).pixel_array, picture.stored)


def test_windows_differ_between_scanners_and_some_files_have_none(every_kind: list[Path]) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in every_kind]
    assert {h.PhotometricInterpretation for h in headers} == {"MONOCHROME1", "MONOCHROME2"}
    assert {h.Modality for h in headers} == {"DX", "CR"}
    assert {h.BitsStored for h in headers} == {10, 12}
    assert any("VOILUTSequence" in h for h in headers)
    assert any("WindowCenter" not in h and "VOILUTSequence" not in h for h in headers)
    assert any(h.get("VOILUTFunction") == "SIGMOID" for h in headers)
    assert any(float(h.get("RescaleSlope", 1)) == 0.25 for h in headers)


def test_uids_are_legal_and_the_same_at_every_call() -> None:
    uid = make_uid("a", 1)
    assert uid == make_uid("a", 1) != make_uid("a", 2)
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", uid)
    assert len(uid) <= 64


def test_patients_are_plainly_synthetic(small: Path) -> None:
    for path in small.rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert re.fullmatch(r"PHANTOM\^\d{4}", str(header.PatientName))
        assert header.PatientBirthDate == ""
        assert header.Manufacturer == "medres phantom"


def test_labels_name_every_study_once_and_no_patient(small: Path) -> None:
    rows = read_table(small / "labels.csv")
    assert list(rows[0]) == ["study_instance_uid", "opacity", "scanner"]
    files = {
        str(pydicom.dcmread(p, stop_before_pixels=True).StudyInstanceUID)
        for p in small.rglob("*.dcm")
    }
    assert {row["study_instance_uid"] for row in rows} == files
    assert len(rows) == len(files)
    plans = plan_studies(2)
    assert [row["opacity"] for row in rows] == [str(int(plan.opacity)) for plan in plans]
    assert [row["study_instance_uid"] for row in rows] == [study_instance_uid(p, 0) for p in plans]


def test_file_names_tell_nothing(small: Path) -> None:
    for path in (small / "studies").rglob("*.dcm"):
        assert re.fullmatch(r"p\d{4}/s\d/i\d\.dcm", path.relative_to(small / "studies").as_posix())


def test_recipe_without_the_finding_keeps_labels_and_names(small: Path, tmp_path: Path) -> None:
    plain = write_sample_data(tmp_path, dataclasses.replace(SMALL, opacity_contrast=0.0))
    assert plain.labels.read_text() == (small / "labels.csv").read_text()
    assert plain.volume_labels.read_text() == (small / "volume_labels.csv").read_text()
    names = [p.relative_to(small) for p in sorted(small.rglob("*.dcm"))]
    assert names == [p.relative_to(tmp_path) for p in sorted(tmp_path.rglob("*.dcm"))]
    changed = [
        (pydicom.dcmread(small / n).pixel_array != pydicom.dcmread(tmp_path / n).pixel_array).any()
        for n in names
    ]
    opaque = {
        row["study_instance_uid"] for row in read_table(plain.labels) if row["opacity"] == "1"
    }
    shown = [pydicom.dcmread(tmp_path / n).StudyInstanceUID in opaque for n in names]
    assert changed == shown


def test_progress_counts_pictures(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_sample_data(
        tmp_path, dataclasses.replace(SMALL, volumes=0), progress=lambda *n: calls.append(n)
    )
    total = sum(len(plan.views) for plan in plan_studies(2))
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)


def test_ensure_makes_the_set_once(tmp_path: Path) -> None:
    made = ensure_sample_data(tmp_path / "new", SMALL)
    assert made == sample_data_set(tmp_path / "new" / "generated", SMALL)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["generated"]
    before = {p: p.stat().st_mtime_ns for p in made.folder.rglob("*")}
    assert ensure_sample_data(tmp_path / "new", SMALL) == made
    assert before == {p: p.stat().st_mtime_ns for p in made.folder.rglob("*")}


def test_ensure_makes_another_recipe_anew(tmp_path: Path) -> None:
    one = SampleRecipe(patients=1, volumes=0)
    ensure_sample_data(tmp_path, SMALL)
    made = ensure_sample_data(tmp_path, one)
    assert read_recipe(made.folder) == one
    assert not (made.folder / "volumes" / "v01.nii.gz").exists()


def test_ensure_cut_off_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_sample_data(tmp_path, SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_ensure_puts_the_set_in_its_place_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> Path:
        assert read_recipe(self) == SMALL
        assert not target.exists()
        raise OSError("no rename today")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no rename today"):
        ensure_sample_data(tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_ensure_clears_away_what_a_killed_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "generated.partial-killed"
    left.mkdir()
    one = SampleRecipe(patients=1, volumes=0)
    ensure_sample_data(tmp_path, one)
    assert left.exists()  # it may be another process at work
    monkeypatch.setattr(sample, "_ABANDONED_SECONDS", -1.0)
    ensure_sample_data(tmp_path, dataclasses.replace(one, seed=1))
    assert not left.exists()


def test_ensure_refuses_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match=r"generated: holds files, but no sample\.json"):
        ensure_sample_data(tmp_path, SMALL)
    assert (tmp_path / "generated" / "mine.txt").read_text() == "keep"


def test_ensure_copies_the_studies_that_are_there(small: Path, tmp_path: Path) -> None:
    root = write_sample_data(tmp_path, dataclasses.replace(SMALL, studies=1, volumes=0)).folder
    marked = root / "studies" / "p0001" / "s1" / "i1.dcm"
    marked.write_bytes(b"copied, not computed")
    made = ensure_sample_data(root, SMALL)
    copy = made.studies / "p0001" / "s1" / "i1.dcm"
    assert copy.read_bytes() == b"copied, not computed"
    other = ensure_sample_data(root, dataclasses.replace(SMALL, opacity_contrast=0.5))
    assert (other.studies / "p0001" / "s1" / "i1.dcm").read_bytes() != b"copied, not computed"


@pytest.mark.parametrize("text", ["", "[]", '{"patients": 1, "colour": 2}'])
def test_recipe_of_a_damaged_file_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text(text)
    assert read_recipe(tmp_path) is None


def test_committed_sample_is_what_the_code_makes(tmp_path: Path) -> None:
    recipe = read_recipe(COMMITTED)
    assert recipe is not None
    assert recipe.studies == 12
    made = write_sample_data(tmp_path, recipe)
    for name in ("labels.csv", "volume_labels.csv", "sample.json"):
        assert (COMMITTED / name).read_text() == (made.folder / name).read_text()
    names = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.dcm"))
    assert names == sorted(p.relative_to(COMMITTED) for p in (COMMITTED / "studies").rglob("*.dcm"))
    for name in names:
        ours, theirs = pydicom.dcmread(tmp_path / name), pydicom.dcmread(COMMITTED / name)
        # Another machine's exponential may differ in the last bit and so round one value away.
        difference = ours.pixel_array.astype(int) - theirs.pixel_array.astype(int)
        assert np.count_nonzero(difference) <= 20
        assert np.abs(difference).max() <= 1
        del ours.PixelData, theirs.PixelData
        assert ours == theirs


def test_committed_sample_agrees_with_the_default_set() -> None:
    recipe = read_recipe(COMMITTED)
    assert recipe is not None
    assert sample._same_pictures(COMMITTED, SampleRecipe())


def test_recipe_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(sample, "write_volume", fail)
    with pytest.raises(OSError, match="disk full"):
        write_sample_data(tmp_path, SMALL)
    assert not (tmp_path / "sample.json").exists()
    assert json.dumps(dataclasses.asdict(SMALL))
