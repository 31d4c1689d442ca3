"""The Python of every page runs as it stands; `test_recipes.py` does the same for the recipes."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import guarded_model
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.transforms import Compose
from radiographs import write_radiograph
from torch.nn.functional import binary_cross_entropy_with_logits

import medres
from medres.bundle.directory import load_model
from medres.scoring.predictor import Predictor

ROOT = Path(medres.__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
RUN = {
    "README.md",
    "docs/bundle.md",
    "docs/explain.md",
    "docs/guard.md",
    "docs/recipes.md",
    "docs/scoring.md",
    "docs/stems_and_schedules.md",
}


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def run(page: str, **names: Any) -> dict[str, Any]:
    """What the page's blocks leave behind, run in their order with the names that they presume."""
    for text in blocks(page):
        exec(compile(text, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documented") / "model"
    guarded_model.write_model(folder)
    return folder


@pytest.fixture
def place(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the pages speak of: studies, an archive of more, and a model."""
    for name, number in (("study/a", 0), ("STUDIES/a", 1), ("STUDIES/b", 2), ("more/c", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30)).astype(np.uint8)
        write_radiograph(tmp_path / f"{name}.dcm", pixels, "MONOCHROME2")
    (tmp_path / "STUDIES" / "notes.dcm").write_text("no picture")
    shutil.make_archive(str(tmp_path / "more"), "zip", tmp_path / "more")
    shutil.copytree(model_folder, tmp_path / "runs" / "mine" / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_page_with_python_is_run() -> None:
    assert {page for page in PAGES if blocks(page)} == RUN


def test_a_study_becomes_an_image_as_the_readme_shows(place: Path) -> None:
    left = run("README.md")
    assert isinstance(left["chain"], Compose)
    assert left["image"].shape == (1, 224, 224)
    assert left["image"].dtype == torch.float32


def test_studies_are_scored_from_python_as_shown(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("docs/scoring.md")
    said = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert said.pop("STUDIES/notes.dcm").startswith("not_dicom is named like a DICOM file")
    predictor = Predictor.of_model(load_model(place / "runs/mine/model"), torch.device("cpu"))
    for study, file in (
        ("STUDIES/a.dcm", "STUDIES/a.dcm"),
        ("STUDIES/b.dcm", "STUDIES/b.dcm"),
        ("more.zip/more.zip::c.dcm", "more/c.dcm"),
    ):
        found = re.fullmatch(r"{'opacity': (.*)} 1", said.pop(study))
        expected = predictor.predict([{"image": str(place / file), "frame": 0}]).item()
        assert found
        assert float(found[1]) == pytest.approx(expected, abs=1e-5)
    assert not said


def test_a_guard_is_asked_from_python_as_shown(model_folder: Path, place: Path) -> None:
    images = guarded_model.larger(guarded_model.anatomy(3, 5))
    images[2] = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    left = run("docs/guard.md", images=images, records=[guarded_model.record(modality="CR")] * 3)
    assert left["logits"].shape == (3, 1)
    assert [verdict.flagged for verdict in left["verdicts"]] == [False, False, True]


def test_a_map_is_drawn_from_python_as_shown() -> None:
    network = guarded_model.build_network()
    image = guarded_model.anatomy(2, 4)
    left = run("docs/explain.md", network=network, image=image, rows=40, columns=30)
    assert left["heat"].shape == (2, 1, 32, 32)
    assert left["own"].shape == (1, 40, 30)


def test_a_schedule_runs_in_a_loop_of_ones_own_as_shown() -> None:
    network = guarded_model.build_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    image, label = guarded_model.anatomy(4, 3), torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    trainer = Engine(lambda engine, batch: None)
    left = run(
        "docs/stems_and_schedules.md",
        network=network,
        batches=[(image, label)],
        loss=binary_cross_entropy_with_logits,
        trainer=trainer,
    )
    assert left["step"] == 4
    changed = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    assert {"backbone.fc.weight", "backbone.layer4.1.conv2.weight"} <= changed
    trainer.run([0], max_epochs=1)


def test_a_workflow_has_every_property_as_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])  # the bundle configures logging
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.chdir(place / "runs" / "mine" / "model")
    assert run("docs/bundle.md")["workflow"].check_properties() == []
