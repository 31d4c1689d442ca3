"""The demo's result is carried by the finding: not by exposure, not by the scanner."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.guard import measure, own_images
from benchmarks.wrong_images import foreign, read, spoilt
from medres.bundle.directory import load_model
from medres.data.manifest import read_manifest
from medres.data.prepare import PrepareOptions, prepare_manifest
from medres.imaging.read import read_grayscale
from medres.phantom.sample import SampleRecipe, ensure_sample_data
from pipelines.__main__ import main
from pipelines.xray_train import SAMPLE_CONFIG

pytestmark = pytest.mark.slow


def write_sample(folder: Path, recipe: SampleRecipe) -> Path:
    sample = ensure_sample_data(folder, recipe)
    options = PrepareOptions(findings=("opacity",))
    prepare_manifest(sample.studies, sample.labels, out=folder / "manifest.csv", options=options)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample"), SampleRecipe())


def train(manifest: Path, out: Path, *more: str) -> dict:
    argv = ["--config", str(SAMPLE_CONFIG), "--data.manifest", str(manifest), "--out", str(out)]
    assert main(["train", *argv, *more]) == 0
    return auroc(out / "report")


def auroc(report: Path) -> dict:
    return json.loads((report / "evaluation.json").read_text())["findings"]["opacity"]["auroc"]


@pytest.fixture(scope="module")
def demo(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    train(sample, out)
    return out


def test_demo_finds_the_opacities(demo: Path) -> None:
    assert auroc(demo / "report")["value"] >= 0.95


def test_global_intensity_statistics_do_not_find_them(demo: Path) -> None:
    with (demo / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    features, labels, test = [], [], []
    for row in rows:
        pixels = read_grayscale(demo / row["image"]).pixels
        percentiles = np.percentile(pixels, [1, 5, 25, 50, 75, 95, 99])
        histogram = np.histogram(pixels, 16, (0, 1), density=True)[0]
        features.append([pixels.mean(), pixels.std(), *percentiles, *histogram])
        labels.append(int(row["label_opacity"]))
        test.append(row["split"] == "test")
    x, y, held_out = np.array(features), np.array(labels), np.array(test)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(x[~held_out], y[~held_out])
    assert roc_auc_score(y[held_out], model.predict_proba(x[held_out])[:, 1]) <= 0.70


def test_without_the_opacities_nothing_is_found(tmp_path: Path) -> None:
    manifest = write_sample(tmp_path / "blank", SampleRecipe(opacity_contrast=0.0))
    estimate = train(manifest, tmp_path / "run")
    assert estimate["low"] <= 0.5 <= estimate["high"]


def test_trained_on_one_scanner_it_works_on_the_other(sample: Path, tmp_path: Path) -> None:
    train(sample, tmp_path / "a", "--data.where", "scanner=A", "--training.epochs", "36")
    model, out = tmp_path / "a" / "model", tmp_path / "a_on_b"
    argv = [str(model), str(sample), "--where", "scanner=B", "--out", str(out)]
    assert main(["evaluate", *argv]) == 0
    assert auroc(out)["value"] >= 0.90


def test_its_guard_flags_spoilt_radiographs_and_few_of_its_own(demo: Path) -> None:
    model = load_model(demo / "model")
    records, images = own_images(model, read_manifest(demo / "manifest.csv"), "test")
    guard = model.guard
    own = sum(v.flagged for v in guard.check(records, measure(model, images)))
    assert own <= binom.ppf(0.999, len(images), guard.false_alarms.interval()[1])
    for kind, wrong in spoilt(images, guard.limits):
        flagged = sum(v.flagged for v in guard.check(records, measure(model, wrong)))
        assert flagged / len(images) >= 0.9, kind


def test_its_guard_flags_every_other_kind_of_image(demo: Path, test_data: Path) -> None:
    model = load_model(demo / "model")
    for kind, sources in foreign(test_data / "data"):
        records, images = read(sources, model.record.preprocessing)
        verdicts = model.guard.check(records, measure(model, images))
        assert sum(v.flagged for v in verdicts) / len(images) >= 0.95, kind
