"""Training from cached features: the same run, step by step, as without."""

import dataclasses
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from small_training import build_run, differences, final_state, train_from_features

from medres.config import (
    AugmentationConfig,
    DataConfig,
    ModelConfig,
    PixelsConfig,
    RunConfig,
    TrainingConfig,
)
from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.training import wrapping
from medres.training.features import FeatureCache, FeatureTable
from medres.training.fine_tuning import FineTuned, fine_tune, initialise
from medres.training.trainer import TrainingRun
from medres.training.training_data import TrainingData, prepare_training_data

NO_AUGMENTATION = AugmentationConfig(preset="none")
FIXED = AugmentationConfig(preset="none", flip_probability=0.5, noise=0.1, fixed_views=2)


@pytest.fixture(scope="module", autouse=True)
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
@pytest.mark.parametrize("depth", [18, 50])
def test_other_stems_and_depths_are_the_same_run(config, data, seen, tmp_path, depth) -> None:
    torch.manual_seed(5)
    torch.save(GrayscaleResNet(depth, "duplicate", 1).state_dict(), tmp_path / "weights.pt")
    model = ModelConfig(depth=depth, stem="duplicate", weights=str(tmp_path / "weights.pt"))
    config = dataclasses.replace(config, model=model)
    plain = train(config, data, tmp_path / "plain", feature_cache="off")
    seen.clear()
    assert_same_run(train(config, data, tmp_path / "ours"), plain)
    assert seen == ["head"] * 7 + ["adapter"] * 5


SMALL = {
    "epochs": 7,
    "frozen_epochs": 4 / 3,  # of 3 steps: phases begin within an epoch
    "adapter_frozen_steps": -1,
    "accumulate": 2,
    "batch_norm": "train",
    "ema_decay": 0.9,
    "checkpoint_steps": 1,
}


def starts_of(run: TrainingRun) -> list[str]:
    """The stage that each iteration of a run feeds, once it has run."""
    starts: list[str] = []
    run.trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: starts.append(engine.state.batch.get("start", "image")),
    )
    return starts


EXPECTED = [stage for stage in ("head", "layer4", "layer3", "layer2") for _ in range(8)] + [
    "image"
] * 10


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def small(request, tmp_path_factory) -> tuple[dict, dict]:
    """Options of a small training, and the state that it ends in from images."""
    options = {**SMALL, "precision": request.param}
    run = build_run(tmp_path_factory.mktemp("images"), **options)
    run.run()
    return options, final_state(run)


@pytest.mark.parametrize("memory", [2**30, 0])
def test_every_state_is_that_of_a_run_from_images(small, tmp_path, memory) -> None:
    options, expected = small
    run = build_run(tmp_path, **options)
    cache = train_from_features(run, memory=memory)
    starts = starts_of(run)
    run.run()
    assert starts == EXPECTED
    assert {phase.kept_in for phase in cache.plan.phases[:4]} == {"memory" if memory else "file"}
    assert differences(expected, final_state(run)) == []


class CutOffError(Exception):
    """In place of a kill."""


# In a phase's middle, at its last iteration, and between two halves of a step.
@pytest.mark.parametrize("iteration", [4, 8, 11, 20, 32])
def test_run_that_resumes_in_a_cached_phase_ends_in_the_same_state(
    small, tmp_path, iteration
) -> None:
    options, expected = small

    def cut_off(engine: Engine) -> None:
        if engine.state.iteration == iteration:
            raise CutOffError

    run = build_run(tmp_path, **options)
    train_from_features(run)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, cut_off)
    with pytest.raises(CutOffError):
        run.run()
    again = build_run(tmp_path, **options)
    train_from_features(again)
    starts = starts_of(again)
    again.run()
    assert starts == EXPECTED[iteration // 2 * 2 :]
    assert differences(expected, final_state(again)) == []


def test_features_are_computed_once_a_phase(tmp_path, monkeypatch) -> None:
    computed: list[tuple[str, str, int]] = []
    compute = FeatureCache._compute

    def note(self, phase, loader, name, **options):
        table = compute(self, phase, loader, name, **options)
        computed.append((phase.start, name, table.count))
        return table

    monkeypatch.setattr(FeatureCache, "_compute", note)
    run = build_run(tmp_path, **SMALL)
    train_from_features(run)
    run.run()
    assert computed == [
        (stage, name, count)
        for stage in ("head", "layer4", "layer3", "layer2")
        for name, count in (("train-0", 29), ("validation", 7))
    ]


def test_features_are_computed_in_batches_of_the_size_that_trains(tmp_path, monkeypatch) -> None:
    sizes: list[int] = []
    compute = FeatureCache._run

    def note(self, image, start):
        sizes.append(len(image))
        return compute(self, image, start)

    monkeypatch.setattr(FeatureCache, "_run", note)
    run = build_run(tmp_path, **{**SMALL, "epochs": 1, "preset": "linear_probe"})
    cache = train_from_features(run)
    (phase,) = cache.plan.phases
    cache.table(phase, run.train_loader, "train-0", whole_batches=True)  # 29 images
    cache.table(phase, run.validation_loader, "validation", whole_batches=False)  # 7
    assert sizes == [4] * 8 + [4, 3]


def test_compiled_network_trains_from_features(small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(wrapping, "BACKEND", "eager")
    options, expected = small
    run = build_run(tmp_path, **options, compile=True)
    train_from_features(run)
    run.run()
    assert differences(expected["network"], final_state(run)["network"]) == []


def test_what_is_kept_and_why_not_is_said(config, data, tmp_path, capsys) -> None:
    changed = dataclasses.replace(config.training, epochs=2, frozen_epochs=1.5)
    config = dataclasses.replace(config, out=tmp_path, training=changed)
    fine_tune(config, data, initialise(config, data))
    shown = capsys.readouterr().err
    assert (
        "epochs 0 to 1.5, head on trains: its input is computed once for 36 training images and "
        "12 validation images, 96.0 KiB in memory\n"
        "epochs 1.5 to 2, conv1 on trains: all is computed anew, since no stage in front of conv1 "
        "is frozen\n"
    ) in shown
    assert "input of head for 36 images (train-0) in " in shown
    assert "input of head for 12 images (validation) in " in shown


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


def test_disk_that_is_full_is_said_and_not_died_of(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    table = FeatureTable(3, tmp_path / "features.bin")
    with pytest.raises(
        ConfigError,
        match=r"features.bin: 0.1 KiB of features cannot be written \(No space left on device\); "
        "make room, give another `out`, or set training.feature_cache off",
    ):
        table.put(range(3), torch.zeros(3, 7), torch.zeros(3, 1))
    assert not list(tmp_path.iterdir())
