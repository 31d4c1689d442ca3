"""Training from cached features: the same run, step by step, as without."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ignite.engine import Events

from medres.config import (
    AugmentationConfig,
    DataConfig,
    ModelConfig,
    PixelsConfig,
    RunConfig,
    TrainingConfig,
)
from medres.models.resnet import GrayscaleResNet
from medres.training.features import FeatureTable
from medres.training.fine_tuning import FineTuned, fine_tune, initialise
from medres.training.trainer import TrainingRun
from medres.training.training_data import TrainingData, prepare_training_data

NO_AUGMENTATION = AugmentationConfig(
    rotate_degrees=0, translate=0, scale=0, contrast=0, brightness=0
)
FIXED = AugmentationConfig(flip_probability=0.5, noise=0.1, fixed_views=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights that count as trained."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(GrayscaleResNet(18, "port", 1).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def config(pictures: Path, weights: Path) -> RunConfig:
    return RunConfig(
        data=DataConfig(manifest=pictures),
        pixels=PixelsConfig(size=32),
        model=ModelConfig(stem="port", weights=str(weights)),
        training=TrainingConfig(
            preset="gradual",
            epochs=6,
            batch_size=8,
            warmup_epochs=0.5,
            frozen_epochs=1.25,  # of 4 steps: a phase may begin in the middle of an epoch
            ema_decay=0.9,
            precision="fp32",
            augmentation=NO_AUGMENTATION,
        ),
    )


@pytest.fixture(scope="module")
def data(config: RunConfig) -> TrainingData:
    return prepare_training_data(config)


def train(config: RunConfig, data: TrainingData, out: Path, **training: object) -> FineTuned:
    changed = dataclasses.replace(config.training, **training)
    config = dataclasses.replace(config, out=out, training=changed)
    return fine_tune(config, data, initialise(config, data), show=False)


@pytest.fixture(scope="module")
def plain(config, data, tmp_path_factory) -> FineTuned:
    return train(config, data, tmp_path_factory.mktemp("plain"), feature_cache="off")


def assert_same_run(ours: FineTuned, expected: FineTuned) -> None:
    """Every figure of every epoch, and every weight, to the bit."""
    for own, other in zip(ours.result.history, expected.result.history, strict=True):
        assert dataclasses.replace(own, images_per_second=0) == dataclasses.replace(
            other, images_per_second=0
        )
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(tensor, ours.network.state_dict()[name]), name


@pytest.fixture
def seen(monkeypatch) -> list[tuple[str, int]]:
    """What the network was given while training: from which stage, and how many images."""
    calls: list[tuple[str, int]] = []
    forward = GrayscaleResNet.forward

    def note(self, image: torch.Tensor, start: str = "adapter") -> torch.Tensor:
        if self.training:
            calls.append((start, len(image)))
        return forward(self, image, start)

    monkeypatch.setattr(GrayscaleResNet, "forward", note)
    return calls


def test_gradual_run_from_features_is_the_same_run(config, data, plain, seen, tmp_path) -> None:
    trained = train(config, data, tmp_path)
    assert_same_run(trained, plain)
    assert seen == [
        *[("head", 8)] * 5,
        *[("layer4", 8)] * 5,
        *[("layer3", 8)] * 5,
        *[("layer2", 8)] * 5,
        *[("adapter", 8)] * 4,
    ]


def test_features_in_a_file_give_the_same_run(config, data, plain, seen, tmp_path) -> None:
    assert_same_run(train(config, data, tmp_path, cache_gib=0.0), plain)
    assert ("layer2", 8) in seen
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoints",
        "epochs.jsonl",
        "events",
    ]


class CutOffError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("iteration", [6, 11])
def test_run_that_resumes_in_a_cached_phase_is_the_same_run(
    config, data, plain, seen, tmp_path, monkeypatch, iteration
) -> None:
    def cut_off(engine) -> None:
        if engine.state.iteration == iteration:
            raise CutOffError

    build = TrainingRun._build_trainer

    def build_and_cut_off(self):
        trainer = build(self)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, cut_off)
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_build_trainer", build_and_cut_off)
        with pytest.raises(CutOffError):
            train(config, data, tmp_path)
    seen.clear()
    assert_same_run(train(config, data, tmp_path), plain)
    assert seen[0][0] in ("head", "layer4", "layer3")


@pytest.mark.parametrize("stem", ["duplicate", "port"])
def test_fixed_views_repeat_and_give_the_same_run(config, data, seen, tmp_path, stem) -> None:
    changes = {
        "preset": "freeze_then_finetune",
        "epochs": 4,
        "frozen_epochs": 3.0,
        "augmentation": FIXED,
    }
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, stem=stem))
    expected = train(config, data, tmp_path / "plain", feature_cache="off", **changes)
    images = len(seen)
    assert_same_run(train(config, data, tmp_path / "ours", **changes), expected)
    assert seen[images:] == [*[("head", 8)] * 12, *[("adapter", 8)] * 4]


def test_bf16_features_give_the_same_run(config, data, seen, tmp_path) -> None:
    changes = {"precision": "bf16", "epochs": 6, "preset": "gradual"}
    expected = train(config, data, tmp_path / "plain", feature_cache="off", **changes)
    trained = train(config, data, tmp_path / "ours", **changes)
    assert ("layer4", 8) in seen
    assert_same_run(trained, expected)


def test_random_augmentation_trains_on_images(config, data, seen, tmp_path) -> None:
    train(
        config,
        data,
        tmp_path,
        epochs=2,
        preset="freeze_then_finetune",
        frozen_epochs=1.0,
        augmentation=AugmentationConfig(noise=0.1),
    )
    assert {start for start, _ in seen} == {"adapter"}


def test_table_gives_back_rows_in_their_memory_format() -> None:
    features = torch.randn(5, 3, 4, 2).to(memory_format=torch.channels_last)
    labels = torch.arange(5.0)[:, None]
    table = FeatureTable(5)
    table.put([3, 0], features[:2], labels[:2])
    table.put([1, 2, 4], features[2:], labels[2:])
    taken, known = table.take([4, 3, 0])
    assert torch.equal(taken, features[[4, 0, 1]])
    assert known.tolist() == [[4.0], [0.0], [1.0]]
    assert taken.is_contiguous(memory_format=torch.channels_last)


def test_table_in_a_file_leaves_none_behind(tmp_path) -> None:
    table = FeatureTable(3, tmp_path / "features.bin")
    features = torch.randn(3, 7).bfloat16()
    table.put(range(3), features, torch.zeros(3, 1))
    assert not list(tmp_path.iterdir())
    assert torch.equal(table.take([2, 0])[0], features[[2, 0]])
