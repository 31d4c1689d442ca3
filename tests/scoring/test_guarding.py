"""A guard at work on an archive: own images, turned ones, noise, and one of another modality."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import guarded_model
import numpy as np
import pytest
import torch
from PIL import Image

from medres.bundle.directory import load_model
from medres.data.image_rule import EVERY_IMAGE
from medres.scoring.run import Settings
from medres.scoring.studies import StudyScore, score_studies
from pipelines.__main__ import main

OWN = 8


@pytest.fixture(scope="module")
def guarded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights with a guard."""
    folder = tmp_path_factory.mktemp("guarded") / "model"
    guarded_model.write_model(folder)
    return folder


def pixels_of(images: torch.Tensor) -> list[np.ndarray]:
    """(64, 64) of 8 bits, which the model's preprocessing brings back to these images."""
    display = guarded_model.larger(images)[:, 0] * 0.2 + 0.4
    return [*(display * 255).round().numpy().astype(np.uint8)]


@pytest.fixture(scope="module")
def archive_of_both(
    make_radiograph: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Eight own pictures, three flipped, three of noise; a study of two, one of them upside down;
    an ultrasound image that looks like a chest.
    """
    folder = tmp_path_factory.mktemp("both")
    images = guarded_model.anatomy(OWN + 6, 11)
    noise = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-2, 3)
    pictures = [*pixels_of(images[:OWN]), *pixels_of(images[OWN : OWN + 3].flip(-1))]
    names = [*(f"own{k}" for k in range(OWN)), *(f"flipped{k}" for k in range(3))]
    names += [f"noise{k}" for k in range(3)]
    for name, pixels in zip(names, [*pictures, *pixels_of(noise)], strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    right, turned, other = pixels_of(
        torch.stack([images[OWN + 3], images[OWN + 4].flip(-2), images[OWN + 5]])
    )
    shape = {"Rows": 64, "Columns": 64, "WindowCenter": 128, "WindowWidth": 256}
    for number, (study, modality, pixels) in enumerate(
        [(1, "CR", right), (1, "CR", turned), (2, "US", other)]
    ):
        content = make_radiograph(
            number, study, Modality=modality, PixelData=pixels.tobytes(), **shape
        )
        (folder / f"{number}.dcm").write_bytes(content)
    return folder


def score(guarded_folder: Path, archive: Path, out: Path, *more: str) -> int:
    argv = ["score", str(archive), "--model", str(guarded_folder), "--out", str(out)]
    return main([*argv, "--workers", "1", "--device", "cpu", "--every-image", *more])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return [*csv.DictReader(stream)]


@pytest.fixture(scope="module")
def marked(guarded_folder, archive_of_both, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("results") / "marked"
    assert score(guarded_folder, archive_of_both, out) == 0
    return out


def named(results: Path, table: str) -> dict[str, dict[str, str]]:
    """Rows of a table by the image's name, or of studies by their first image's."""
    import pyarrow.parquet

    keys = pyarrow.parquet.read_table(results / "keys.parquet").to_pylist()
    key = "image_key" if table == "images" else "study_key"
    names: dict[str, str] = {}
    for row in sorted(keys, key=lambda row: row["image"]):
        names.setdefault(row[key], row["image"].partition(".")[0])
    return {names[row[key]]: row for row in rows(results / f"{table}.csv")}


def test_images_of_another_kind_are_marked_with_their_reason(marked) -> None:
    images = named(marked, "images")
    flags = {name: row["guard_flag"] == "1" for name, row in images.items()}
    reasons = {name: row["guard_reason"] for name, row in images.items()}
    assert all(flags[f"{kind}{k}"] for kind in ("flipped", "noise") for k in range(3))
    assert {reasons[f"flipped{k}"] for k in range(3)} == {"orientation"}
    assert {reasons[f"noise{k}"] for k in range(3)} == {"pixels"}
    assert (flags["2"], reasons["2"]) == (True, "modality")  # ultrasound
    assert (flags["1"], reasons["1"]) == (True, "orientation")  # upside down
    assert sum(flags[f"own{k}"] for k in range(OWN)) <= 1
    assert all(row["opacity"] for row in images.values())
    assert float(images["noise0"]["guard_distance"]) > float(images["own0"]["guard_distance"])


def test_study_has_the_worst_of_its_images(marked) -> None:
    study = named(marked, "studies")["0"]
    assert (study["images"], study["guard_flag"], study["guard_reason"]) == (
        "2",
        "1",
        "orientation",
    )
    images = named(marked, "images")
    distances = [float(images[name]["guard_distance"]) for name in ("0", "1")]
    assert float(study["guard_distance"]) == pytest.approx(max(distances))
    assert study["opacity"]


def test_distances_are_the_guards_own(marked, guarded_folder) -> None:
    model = load_model(guarded_folder)
    images = guarded_model.larger(guarded_model.anatomy(OWN + 6, 11))[:OWN]
    rounded = ((images * 0.2 + 0.4) * 255).round() / 255
    measured = guarded_model.measure(model.network, (rounded - 0.4) / 0.2)
    verdicts = model.guard.check([guarded_model.record()] * OWN, measured)
    found = named(marked, "images")
    for k, verdict in enumerate(verdicts):
        distance = float(found[f"own{k}"]["guard_distance"])
        assert distance == pytest.approx(verdict.distance, rel=1e-3, abs=1e-3)


def test_guard_says_the_same_of_batches_side_by_side(
    marked, guarded_folder, archive_of_both, tmp_path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert score(guarded_folder, archive_of_both, tmp_path / "out", "--batch-size", "1") == 0
    finally:
        torch.set_num_threads(threads)
    before, beside = named(marked, "images"), named(tmp_path / "out", "images")
    assert before.keys() == beside.keys()
    for name, row in before.items():
        assert beside[name]["guard_reason"] == row["guard_reason"]
        distance = float(row["guard_distance"])
        assert float(beside[name]["guard_distance"]) == pytest.approx(distance, abs=1e-4, rel=1e-4)


def test_summary_counts_the_flagged_and_the_page_says_so(marked) -> None:
    summary = json.loads((marked / "summary.json").read_text())
    guard = summary["guard"]
    flagged = [row for row in rows(marked / "images.csv") if row["guard_flag"] == "1"]
    assert (guard["mode"], guard["images"], guard["flagged_images"]) == ("mark", 17, len(flagged))
    assert guard["flagged_studies"] == sum(
        row["guard_flag"] == "1" for row in rows(marked / "studies.csv")
    )
    assert sum(guard["by_reason"].values()) == len(flagged)
    assert guard["false_alarms"] == {"asked": 0.02, "promised": pytest.approx(0.02)}
    page = (marked / "summary.html").read_text(encoding="utf-8")
    assert f"The guard flagged {len(flagged)} of 17 images" in page
    assert "orientation" in page


def test_withheld_are_without_scores_and_nothing_is_scored_again(
    marked, guarded_folder, archive_of_both
) -> None:
    before = {name: row["opacity"] for name, row in named(marked, "images").items()}
    assert score(guarded_folder, archive_of_both, marked, "--guard", "withhold") == 0
    summary = json.loads((marked / "summary.json").read_text())
    assert summary["throughput"]["images"] == 0
    assert summary["guard"]["mode"] == "withhold"
    images, studies = named(marked, "images"), named(marked, "studies")
    for name, row in images.items():
        assert row["opacity"] == ("" if row["guard_flag"] == "1" else before[name])
    for row in studies.values():
        assert (row["opacity"] == "") == (row["guard_flag"] == "1")
        assert (row["opacity_positive"] == "") == (row["guard_flag"] == "1")
    shown = sum(row["guard_flag"] == "0" for row in images.values())
    assert sum(summary["histograms"]["opacity"]["images"]) == shown
    shown = sum(row["guard_flag"] == "0" for row in studies.values())
    assert sum(summary["histograms"]["opacity"]["studies"]) == shown
    assert summary["images_scored"] == 17


def test_unasked_guard_leaves_its_columns_empty_and_never_mixes(
    marked, guarded_folder, archive_of_both, tmp_path, capsys
) -> None:
    assert score(guarded_folder, archive_of_both, marked, "--guard", "off") == 2
    assert "holds results of another guard" in capsys.readouterr().err
    assert score(guarded_folder, archive_of_both, tmp_path / "off", "--guard", "off") == 0
    assert {row["guard_flag"] for row in rows(tmp_path / "off" / "images.csv")} == {""}
    assert json.loads((tmp_path / "off" / "summary.json").read_text())["guard"] is None
    page = (tmp_path / "off" / "summary.html").read_text(encoding="utf-8")
    assert "The guard was not asked." in page


def test_studies_from_python_say_why_they_are_flagged(guarded_folder, archive_of_both) -> None:
    def studies(guard: str) -> dict[str, StudyScore]:
        settings = Settings(rule=EVERY_IMAGE, workers=1, guard=guard)
        found = [*score_studies(guarded_folder, archive_of_both, settings)]
        return {s.study: s for s in found if isinstance(s, StudyScore)}

    marked, withheld = studies("mark"), studies("withhold")
    assert {marked[f"flipped{k}.png"].guard_reason for k in range(3)} == {"orientation"}
    assert all(study.probabilities for study in marked.values())
    for name, study in withheld.items():
        assert study.guard_reason == marked[name].guard_reason
        assert bool(study.probabilities) == (not study.guard_reason)
