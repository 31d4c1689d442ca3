"""The trainer through real MONAI engines, on pictures and random weights."""

import dataclasses
import json
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
from medres.errors import ConfigError
from medres.training.fine_tuning import FineTuned, fine_tune, initialise
from medres.training.plan import fingerprint
from medres.training.trainer import TrainingRun
from medres.training.training_data import TrainingData, prepare_training_data
from medres.training.validation import macro_auroc

NAN = float("nan")


@pytest.fixture(scope="module")
def config(pictures: Path) -> RunConfig:
    return RunConfig(
        data=DataConfig(manifest=pictures),
        pixels=PixelsConfig(size=32),
        model=ModelConfig(stem="port", weights="none"),
        training=TrainingConfig(
            preset="full",
            epochs=3,
            batch_size=17,
            warmup_epochs=0.5,
            precision="fp32",
            augmentation=AugmentationConfig(flip_probability=0.5, noise=0.1),
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
def undisturbed(config, data, tmp_path_factory) -> tuple[FineTuned, Path]:
    out = tmp_path_factory.mktemp("undisturbed")
    return train(config, data, out, ema_decay=0.9), out


def test_imagenet_start_takes_its_statistics_from_the_data(config, data) -> None:
    model = ModelConfig(stem="adapter", stem_init="imagenet", weights="none")
    network = initialise(dataclasses.replace(config, model=model), data).network
    fitted = data.preprocessing.statistics
    assert network.arguments()["display_mean"] == fitted.mean
    assert network.stem.conv.weight[0].item() == pytest.approx(fitted.std / 0.229)
    assert network.stem.conv.bias[2].item() == pytest.approx((fitted.mean - 0.406) / 0.225)


def test_run_leaves_history_events_and_checkpoints(undisturbed) -> None:
    trained, out = undisturbed
    lines = [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert list((out / "events").iterdir())
    best = torch.load(out / "checkpoints" / "best.pt", weights_only=True)
    assert best["epoch"] == trained.result.best_epoch
    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(tensor, best["network"][name])


def test_run_that_was_cut_off_ends_as_an_undisturbed_one(
    config, data, undisturbed, tmp_path, monkeypatch
) -> None:
    class CutOffError(Exception):
        pass

    def cut_off(engine) -> None:
        if engine.state.epoch == 2 and engine.state.iteration % engine.state.epoch_length == 1:
            raise CutOffError

    build = TrainingRun._build_trainer

    def build_and_cut_off(self):
        trainer = build(self)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, cut_off)
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_build_trainer", build_and_cut_off)
        with pytest.raises(CutOffError):
            train(config, data, tmp_path, ema_decay=0.9)
    assert len((tmp_path / "epochs.jsonl").read_text().splitlines()) == 1
    resumed = train(config, data, tmp_path, ema_decay=0.9)
    expected, _ = undisturbed
    assert [dataclasses.replace(r, images_per_second=0) for r in resumed.result.history] == [
        dataclasses.replace(r, images_per_second=0) for r in expected.result.history
    ]
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


def test_finished_run_is_not_trained_again(config, data, undisturbed) -> None:
    trained, out = undisturbed
    before = (out / "checkpoints" / "last.pt").read_bytes()
    again = train(config, data, out, ema_decay=0.9)
    assert again.result == trained.result
    assert (out / "checkpoints" / "last.pt").read_bytes() == before


def test_folder_of_another_configuration_is_refused(config, data, undisturbed) -> None:
    _, out = undisturbed
    with pytest.raises(ConfigError, match="holds a run with another configuration"):
        train(config, data, out, ema_decay=0.9, learning_rate=1e-4)


def test_training_stops_when_validation_gets_no_better(config, data, tmp_path) -> None:
    # A learning rate that changes nothing: the first epoch stays the best.
    trained = train(
        config, data, tmp_path, epochs=6, patience=2, learning_rate=1e-12, select_by="loss"
    )
    assert trained.result.stopped_early
    assert len(trained.result.history) < 6
    assert len(trained.result.history) == trained.result.best_epoch + 2


def test_too_few_images_for_a_batch_are_refused(config, data, tmp_path) -> None:
    with pytest.raises(ConfigError, match="500 is more than the 36 training images"):
        train(config, data, tmp_path, batch_size=500)


def test_random_weights_resolve_to_full_and_say_so(config, data, tmp_path) -> None:
    trained = train(
        config, data, tmp_path, preset="gradual", batch_size=8, epochs=1, warmup_epochs=0
    )
    assert trained.resolved.preset == "full"
    assert trained.resolved.batch_size > 16
    assert trained.resolved.batch_norm == "train"
    assert any("random" in note for note in trained.notes)


def test_macro_auroc_leaves_out_what_has_one_class() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [NAN, 0.0]])
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.3], [0.0, 0.4]])
    assert macro_auroc(labels, scores) == 1.0
    assert macro_auroc(labels[:, 1:], scores[:, 1:]) is None


def test_fingerprint_follows_every_part() -> None:
    assert fingerprint({"a": 1}, "x") == fingerprint({"a": 1}, "x")
    assert fingerprint({"a": 1}, "x") != fingerprint({"a": 2}, "x")


def test_run_without_cache_is_the_same_run(config, data, undisturbed, tmp_path) -> None:
    trained = train(config, data, tmp_path, ema_decay=0.9, cache_gib=0.0)
    expected, _ = undisturbed
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(tensor, trained.network.state_dict()[name]), name


def test_training_tells_how_it_goes(config, data, tmp_path: Path) -> None:
    told = []

    def watch(event: str) -> None:
        history = tmp_path / "epochs.jsonl"
        told.append((event, len(history.read_text().splitlines()) if history.exists() else 0))

    config = dataclasses.replace(config, out=tmp_path)
    fine_tune(config, data, initialise(config, data), show=False, watch=watch)
    assert told == [("began", 0), ("epoch", 1), ("epoch", 2), ("epoch", 3)]
    fine_tune(config, data, initialise(config, data), show=False, watch=watch)
    assert len(told) == 4  # there is nothing left to train


@pytest.mark.parametrize(
    ("error", "event"),
    [(RuntimeError("out of memory"), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_training_tells_that_it_breaks_off(config, data, tmp_path: Path, error, event) -> None:
    told = []

    def watch(event: str) -> None:
        told.append(event)
        if event == "epoch":
            raise error

    config = dataclasses.replace(config, out=tmp_path)
    with pytest.raises(type(error)):
        fine_tune(config, data, initialise(config, data), show=False, watch=watch)
    assert told == ["began", "epoch", event]
