"""Every recipe of the documentation does what it says."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from monai.bundle import ConfigParser
from monai.transforms import Compose
from radiographs import write_radiograph

import medres
from medres.models.resnet import GrayscaleResNet

RECIPES = Path(medres.__file__).parents[1] / "docs" / "recipes.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", RECIPES.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    made = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30)).astype(np.uint8)
        write_radiograph(tmp_path / f"{number}.dcm", pixels, "MONOCHROME1")
        label = torch.tensor([float(number % 2)])
        made.append({"image": str(tmp_path / f"{number}.dcm"), "label": label})
    return made


@pytest.fixture
def done(
    items: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the blocks of Python leave behind, run in their order."""
    monkeypatch.chdir(tmp_path)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "weights.pth")
    names: dict[str, Any] = {"items": items, "weights": str(tmp_path / "weights.pth")}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, str(RECIPES), "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # MONAI's, of a reader of its own
def test_the_recipes_in_python_run_and_give_what_they_say(done: dict[str, Any]) -> None:
    assert done["image"].shape == (1, 224, 224)
    assert json.loads(done["record"])["inverted"]
    assert done["fitted"].low < done["fitted"].high
    assert torch.equal(done["first"], done["dataset"][0]["image"])
    assert done["loaded"].trained
    assert done["trainer"].state.iteration == 12
    assert done["area"].value == pytest.approx(8 / 9)
    assert done["heat"].shape == (1, 1, 224, 224)
    assert done["hit"].value == pytest.approx(2 / 3)


def test_the_recipes_in_json_are_built_by_monai(items: list[dict[str, Any]]) -> None:
    parts = [
        ConfigParser({"part": json.loads(text)}).get_parsed_content("part")
        for language, text in BLOCKS
        if language == "json"
    ]
    chain, network, handler, training = parts
    assert isinstance(chain, Compose)
    assert isinstance(network, GrayscaleResNet)
    image = chain(items[0])["image"]
    assert network(image[None]).shape == (1, 1)
    assert handler.metric.thresholds["opacity"].value == 0.5
    assert training["schedule"].total_steps == 1000
    assert float(training["loss"](torch.zeros(1, 1), torch.ones(1, 1))) == pytest.approx(
        0.6931, abs=1e-4
    )


def test_recipes_are_short() -> None:
    assert len(BLOCKS) >= 9
    for language, text in BLOCKS:
        assert language in ("python", "json")
        statements = re.findall(r"^(?!from |import |\s|\)|$).+", text, flags=re.MULTILINE)
        assert len(statements) < 10
