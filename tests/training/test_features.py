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

NO_AUGMENTATION = AugmentationConfig(preset="none")
FIXED = AugmentationConfig(preset="none", flip_probability=0.5, noise=0.1, fixed_views=2)


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
    """Two phases, of which the second begins in the middle of an epoch of four batches."""
    return RunConfig(
        data=DataConfig(manifest=pictures),
        pixels=PixelsConfig(size=32),
        model=ModelConfig(stem="port", weights=str(weights)),
        training=TrainingConfig(
            preset="freeze_then_finetune",
            epochs=3,
            batch_size=8,
            warmup_epochs=0.5,
            frozen_epochs=1.75,
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
def seen(monkeypatch) -> list[str]:
    """The stage that the network was given input for, in each training step."""
    calls: list[str] = []
    forward = GrayscaleResNet.forward

    def note(self, image: torch.Tensor, start: str = "adapter") -> torch.Tensor:
        if self.training:
            calls.append(start)
        return forward(self, image, start)

    monkeypatch.setattr(GrayscaleResNet, "forward", note)
    return calls


def test_run_from_features_is_the_same_run(config, data, plain, seen, tmp_path) -> None:
    assert_same_run(train(config, data, tmp_path), plain)
    assert seen == ["head"] * 7 + ["adapter"] * 5


def test_features_in_a_file_give_the_same_run(config, data, plain, seen, tmp_path) -> None:
    trained = train(config, data, tmp_path, cache_gib=0.0)
    assert_same_run(trained, plain)
    assert seen == ["head"] * 7 + ["adapter"] * 5
    assert [phase.kept_in for phase in trained.features.phases] == ["file", None]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "epochs.jsonl", "events"}


class CutOffError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("iteration", [5, 7])
def test_run_that_resumes_in_a_cached_phase_is_the_same_run(
    config, data, plain, seen, tmp_path, monkeypatch, iteration
) -> None:
    """Killed in the middle of the phase, and between its last step and the next phase."""

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
            train(config, data, tmp_path, checkpoint_steps=1)
    seen.clear()
    assert_same_run(train(config, data, tmp_path, checkpoint_steps=1), plain)
    assert seen == ["head"] * (7 - iteration) + ["adapter"] * 5


def test_fixed_views_repeat_and_give_the_same_run(config, data, seen, tmp_path) -> None:
    changes = {"frozen_epochs": 2.5, "augmentation": FIXED}
    expected = train(config, data, tmp_path / "plain", feature_cache="off", **changes)
    seen.clear()
    assert_same_run(train(config, data, tmp_path / "ours", **changes), expected)
    assert seen == ["head"] * 10 + ["adapter"] * 2


def test_random_augmentation_trains_on_images(config, data, seen, tmp_path) -> None:
    augmentation = AugmentationConfig(preset="none", noise=0.1)
    trained = train(config, data, tmp_path, epochs=2, frozen_epochs=1.5, augmentation=augmentation)
    assert set(seen) == {"adapter"}
    assert "drawn anew in every epoch" in trained.as_json()["frozen_features"][0]


@pytest.fixture(scope="module")
def gradual(config: RunConfig) -> RunConfig:
    """Five phases of 1.5 epochs, of two steps of two batches each."""
    training = dataclasses.replace(
        config.training, preset="gradual", epochs=7, frozen_epochs=1.5, accumulate=2
    )
    return dataclasses.replace(config, training=training)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradual_run_from_features_is_the_same_run(
    gradual, data, seen, tmp_path, precision
) -> None:
    options = {"precision": precision}
    plain = train(gradual, data, tmp_path / "plain", feature_cache="off", **options)
    seen.clear()
    assert_same_run(train(gradual, data, tmp_path / "memory", **options), plain)
    expected = [*["head"] * 6, *["layer4"] * 6, *["layer3"] * 6, *["layer2"] * 6, *["adapter"] * 4]
    assert seen == expected
    seen.clear()
    assert_same_run(train(gradual, data, tmp_path / "file", cache_gib=0.0, **options), plain)
    assert seen == expected


@pytest.mark.slow
def test_stem_that_duplicates_is_the_same_run(config, data, seen, tmp_path) -> None:
    model = dataclasses.replace(config.model, stem="duplicate")
    config = dataclasses.replace(config, model=model)
    plain = train(config, data, tmp_path / "plain", feature_cache="off")
    seen.clear()
    assert_same_run(train(config, data, tmp_path / "ours"), plain)
    assert seen == ["head"] * 7 + ["adapter"] * 5


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
