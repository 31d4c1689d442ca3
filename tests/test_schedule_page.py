"""The page on stems and schedules: its lines run, its pictures exist, its table is the code's."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ignite.engine import Engine
from PIL import Image

import medres
from medres.config_text import parse_config
from medres.models.resnet import GrayscaleResNet
from medres.training.losses import ClassificationLoss
from medres.training.presets import PRESETS

PAGE = Path(medres.__file__).parents[1] / "docs" / "stems_and_schedules.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_lines_of_the_page_train_a_network_in_a_plain_loop_and_in_an_engine() -> None:
    torch.manual_seed(0)
    network = GrayscaleResNet(18)
    batches = [(torch.randn(4, 1, 32, 32), torch.tensor([[0.0], [1.0]] * 2)) for _ in range(2)]
    seen: list[float] = []

    def step(engine: Engine, batch: Any) -> None:
        seen.append(engine.state.iteration)

    names: dict[str, Any] = {
        "network": network,
        "batches": batches,
        "loss": ClassificationLoss("binary"),
        "trainer": Engine(step),
    }
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), names)
    assert names["step"] == 9
    assert all(not torch.equal(p, before[name]) for name, p in network.named_parameters())
    names["trainer"].run([0], max_epochs=1)  # the first step of the schedule again: head alone
    trains = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trains == {"backbone.fc.weight", "backbone.fc.bias"}
    assert seen == [1]


def test_the_yaml_of_the_page_is_accepted(tmp_path: Path) -> None:
    (text,) = (text for language, text in BLOCKS if language == "yaml")
    path = tmp_path / "run.yaml"
    path.write_text(text)
    stages = parse_config(["--config", str(path)], prog="medres train").training.stages
    assert stages.conv1.opens_at_epoch == "never"
    assert stages.layer4.learning_rate == 5e-5
    assert yaml.safe_load(text)["training"]["preset"] == "discriminative"


def test_the_table_names_every_preset() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)) == set(PRESETS)


@pytest.mark.parametrize("name", re.findall(r"\]\(pictures/(\w+\.png)\)", TEXT))
def test_every_picture_is_there_and_small(name: str) -> None:
    path = PAGE.parent / "pictures" / name
    assert path.stat().st_size < 150_000
    with Image.open(path) as picture:
        assert 600 <= picture.width <= 1000
