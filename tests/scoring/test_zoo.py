"""Bundles of others through a whole run: their own chain, the same journal, tables and promises."""

import json
import multiprocessing
import os
import shutil
import signal
import tarfile
import tempfile
import time
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import zoo_bundles
from PIL import Image
from scored_tables import KEYS, SETTINGS, score
from zoo_bundles import CRASH, HANG, NOTHING

from medres.bundle.zoo import load_zoo_bundle
from medres.data.table import read_table
from medres.errors import ConfigError, ResultsError
from medres.imaging.limits import LIMITS
from medres.scoring.load import load_scorer
from medres.scoring.run import open_run
from medres.scoring.studies import Rejected, StudyScore, score_studies
from medres.scoring.zoo import ZooScorer
from pipelines import score as verb

ONE = replace(SETTINGS, workers=1)
# What MONAI says of its own readers: no GPU, no orientation.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader", "ignore:PydicomReader")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    return zoo_bundles.template(tmp_path_factory.mktemp("zoo") / "shapes")


@pytest.fixture(scope="session")
def trusted(bundle, tmp_path_factory) -> Path:
    """The same with a step of code."""
    return zoo_bundles.disturbed(bundle, tmp_path_factory.mktemp("zoo") / "trusted")


@pytest.fixture(scope="session")
def studies(tmp_path_factory, make_radiograph) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "in"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}").write_bytes(make_radiograph(number, number // 2))
    (folder / "copy.dcm").write_bytes(make_radiograph(0, 0))
    (folder / "hsv.dcm").write_bytes(make_radiograph(5, 5, PhotometricInterpretation="HSV"))
    (folder / "text.dcm").write_text("no image")
    (folder / ".hidden").touch()
    (folder / "flat.png").write_bytes(png(np.full((20, 20), 7)))
    (folder / "colour.png").write_bytes(png(noise(6, (20, 20, 3))))
    (folder / "12.png").write_bytes(png(noise(12, (64, 64))))
    np.save(folder / "array.npy", noise(7, (2, 16, 16)))
    with zipfile.ZipFile(folder / "inner.zip", "w") as file:
        file.writestr("../../x/8.dcm", make_radiograph(8, 4))
        file.writestr("9.png", png(noise(9, (64, 64))))
        file.writestr("10.npy", b"\x93NUMPY")
    with tarfile.open(folder / "b.tar", "w") as tar:
        info = tarfile.TarInfo("11")
        info.size = len(make_radiograph(11, 6))
        tar.addfile(info, BytesIO(make_radiograph(11, 6)))
    return folder


def noise(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(80, 256, shape).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def whole(studies, bundle, tmp_path_factory) -> Path:
    """Results of a run by command that nobody disturbed."""
    out = tmp_path_factory.mktemp("zoo_whole")
    options = ["--device", "cpu", "--workers", "1", "--batch-size", "4"]
    arguments = [studies, "--model", bundle, "--out", out, *options]
    assert verb.main([*map(str, arguments)]) == verb.REJECTED
    return out


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    names = {row["image_key"]: row["image"] for row in read_table(out / "keys.parquet").rows}
    rows = read_table(out / "images.csv").rows
    return {names[row["image_key"]]: dict(row) for row in rows}


def scores_of(row: dict[str, str]) -> list[float]:
    return [float(row[name]) for name in zoo_bundles.SHAPES]


def rejects_of(out: Path) -> dict[str, str]:
    names = {row["image_key"]: row["image"] for row in read_table(out / "keys.parquet").rows}
    lines = map(json.loads, (out / "rejected.jsonl").read_text().splitlines())
    return {names[line["image_key"]]: line["reason"] for line in lines}


def test_every_input_is_scored_rejected_or_passed_by(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["bundle"] == "Classification Template 0.1.6"
    assert (summary["inputs"], summary["images_scored"], summary["studies_scored"]) == (16, 9, 7)
    assert rejects_of(whole) == {
        "array.npy": "unknown_format",
        "colour.png": "decode_failed",
        "flat.png": "constant_image",
        "inner.zip::10.npy": "unknown_format",
        "text.dcm": "not_dicom",
    }
    assert summary["not_chosen_by_reason"] == {"a copy of another image": 1, "hidden": 1}
    assert summary["guard"] is None
    assert "Classification Template" in (whole / "summary.html").read_text()
    assert (whole / "keys.parquet").stat().st_mode & 0o077 == 0


def test_scores_are_the_bundles_own_wherever_the_file_lies(
    whole: Path, studies: Path, bundle: Path, make_radiograph, tmp_path: Path
) -> None:
    model = load_zoo_bundle(bundle)
    found = rows_of(whole)
    (tmp_path / "8.dcm").write_bytes(make_radiograph(8, 4))
    (tmp_path / "9.png").write_bytes(png(noise(9, (64, 64))))
    (tmp_path / "11").write_bytes(make_radiograph(11, 6))
    files = {
        **{name: studies / name for name in ("1", "2", "3", "12.png", "hsv.dcm")},
        "inner.zip::../../x/8.dcm": tmp_path / "8.dcm",
        "inner.zip::9.png": tmp_path / "9.png",
        "b.tar::11": tmp_path / "11",
    }
    assert files.keys() == found.keys() - {"0", "copy.dcm"}
    for name, path in files.items():
        expected = zoo_bundles.scores_of(model, path)
        np.testing.assert_allclose(scores_of(found[name]), expected, atol=1e-6)


def test_images_are_described_and_combined_as_for_any_model(whole: Path) -> None:
    row = rows_of(whole)["3"]
    assert (row["modality"], row["manufacturer"], row["rows"]) == ("DX", "Siemens", "24")
    studies = read_table(whole / "studies.csv").rows
    (of_row,) = [study for study in studies if study["study_key"] == row["study_key"]]
    assert of_row["images"] == "2"
    mean = (np.array(scores_of(row)) + scores_of(rows_of(whole)["2"])) / 2
    np.testing.assert_allclose(scores_of(dict(of_row)), mean, atol=1e-8)


def assert_same(first: Path, second: Path) -> None:
    a, b = rows_of(first), rows_of(second)
    assert a.keys() == b.keys()
    for name, row in a.items():
        np.testing.assert_allclose(scores_of(row), scores_of(b[name]), atol=1e-5)
    assert rejects_of(first) == rejects_of(second)


def test_scores_depend_on_neither_batch_nor_start(
    whole: Path, studies: Path, bundle: Path, tmp_path: Path
) -> None:
    scorer = load_scorer(bundle)
    with open_run(tmp_path, [studies], scorer, replace(ONE, batch_size=1), KEYS) as run:
        run.look()
        plan = run.plan().lines()
        assert plan[1:] == [
            "  chosen: every image",
            "  1 not chosen: 1 hidden",
            "  1 rejected: 1 not_dicom",
            "  expected time: about 1 s beside what the bundle's own chain takes",
        ]
        next(run.score())
    with open_run(tmp_path, [studies], scorer, ONE, KEYS) as run:
        run.look()
        for _ in run.score():
            pass
        summary = run.write(tmp_path)
    assert summary["throughput"]["images"] < 14
    assert_same_by_name(whole, tmp_path)


def assert_same_by_name(first: Path, second: Path) -> None:
    assert_same(first, second)
    counts = [json.loads((out / "summary.json").read_text()) for out in (first, second)]
    for name in ("inputs", "images_scored", "studies_scored", "rejected", "not_chosen"):
        assert counts[0][name] == counts[1][name]


def test_results_of_another_bundle_never_mix(
    whole: Path, studies: Path, bundle: Path, tmp_path: Path
) -> None:
    other = zoo_bundles.edit(
        Path(shutil.copytree(bundle, tmp_path / "other")),
        lambda values: values["transforms"].append({"_target_": "Flipd", "keys": "image"}),
    )
    with pytest.raises(ResultsError, match="holds results of another model"):
        verb_run(studies, other, whole)


def verb_run(studies: Path, bundle: Path, out: Path) -> None:
    with open_run(out, [studies], load_scorer(bundle), ONE, KEYS):
        pass


@pytest.mark.slow
def test_files_that_end_or_hang_their_reader_cost_no_other(
    trusted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    folder = tmp_path / "in"
    folder.mkdir()
    for name, most in (("crash", CRASH), ("hang", HANG), ("nothing", NOTHING), ("fine", 255)):
        pixels = noise(1, (24, 24)) // 4
        pixels[0, 0] = most
        (folder / f"{name}.png").write_bytes(png(pixels))
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.write(folder / "crash.png", "crash.png")
    model = ZooScorer(load_zoo_bundle(trusted, trust=True))
    settings = replace(ONE, limits=replace(LIMITS, read_seconds=1))
    summary = score(folder, tmp_path / "out", model, settings)
    assert summary["images_scored"] == 1
    assert rejects_of(tmp_path / "out") == {
        "crash.png": "decoder_crashed",
        "hang.png": "timed_out",
        "nothing.png": "decode_failed",
        "a.zip::crash.png": "decoder_crashed",
    }
    assert list((tmp_path / "scratch").iterdir()) == []


def test_withholding_without_a_guard_is_refused(
    bundle: Path, studies: Path, tmp_path: Path
) -> None:
    settings = replace(ONE, guard="withhold")
    with (
        pytest.raises(ConfigError, match="shapes has none by which images could be withheld"),
        open_run(tmp_path, [studies], load_scorer(bundle), settings, KEYS),
    ):
        pass


def test_a_manifest_from_python_names_whole_files(bundle: Path, studies: Path) -> None:
    table = studies.parent / "list.csv"
    table.write_text("image,frame\nin/1,0\nin/2,1\n")
    rejected, found = score_studies(bundle, table, replace(ONE, batch_size=1))
    assert isinstance(rejected, Rejected)
    assert (rejected.image, rejected.reason) == ("in/2", "frame_out_of_range")
    assert rejected.message.startswith("the model takes files as a whole; name the file alone")
    assert isinstance(found, StudyScore)
    expected = zoo_bundles.scores_of(load_zoo_bundle(bundle), studies / "1")
    np.testing.assert_allclose([*found.probabilities.values()], expected, atol=1e-6)


@pytest.mark.slow
def test_kills_on_the_way_leave_the_same_tables(
    whole: Path, studies: Path, bundle: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medres.scoring.run", "medres.scoring.load", __name__])
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    full = (whole / "journal.jsonl").stat().st_size
    for share in (0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
        process = context.Process(target=run_to_the_end, args=(studies, out, bundle, scratch))
        process.start()
        while process.is_alive() and size_of(out / "journal.jsonl") <= share * full:
            process.join(0.005)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
    run_to_the_end(studies, out, bundle, scratch)
    assert_same_by_name(whole, out)
    for _ in range(200):  # processes that nobody asks any more remove it as they end
        if not [*scratch.iterdir()]:
            break
        time.sleep(0.1)
    assert [*scratch.iterdir()] == []


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def run_to_the_end(studies: Path, out: Path, bundle: Path, scratch: Path) -> None:
    before, tempfile.tempdir = tempfile.tempdir, str(scratch)
    score(studies, out, load_scorer(bundle), replace(ONE, batch_size=1))
    tempfile.tempdir = before
