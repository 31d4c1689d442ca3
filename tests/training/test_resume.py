"""A run cut off anywhere and started again ends as an undisturbed one, bit for bit."""

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from small_training import STEPS, build_run, differences, final_state

OPTIONS = {"ema_decay": 0.9, "checkpoint_steps": 1, "batch_norm": "train"}
"""An average of the weights and moving statistics: all that a state can have."""


class CutOffError(Exception):
    """In place of a kill."""


def cut_off_at(run, iteration: int, event: Events = Events.ITERATION_COMPLETED) -> None:
    def cut_off(engine: Engine) -> None:
        if engine.state.iteration == iteration:
            raise CutOffError

    run.trainer.add_event_handler(event, cut_off)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict:
    run = build_run(tmp_path_factory.mktemp("undisturbed"), accumulate=2, **OPTIONS)
    run.run()
    return final_state(run)


# Before the first state; between two halves of a step; around an epoch's and a phase's end.
@pytest.mark.parametrize("iteration", [1, 5, 6, 12, 16, 30])
def test_run_cut_off_after_any_iteration_ends_in_the_same_state(
    undisturbed: dict, tmp_path: Path, iteration: int
) -> None:
    run = build_run(tmp_path, accumulate=2, **OPTIONS)
    cut_off_at(run, iteration)
    with pytest.raises(CutOffError):
        run.run()
    torch.rand(3)  # whoever resumes has another state of the generator
    again = build_run(tmp_path, accumulate=2, **OPTIONS)
    again.run()
    assert differences(undisturbed, final_state(again)) == []


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.EPOCH_COMPLETED])
def test_run_cut_off_again_and_again_ends_in_the_same_state(
    undisturbed: dict, tmp_path: Path, event: Events
) -> None:
    for epoch in (1, 2, 4):
        run = build_run(tmp_path, accumulate=2, **OPTIONS)
        cut_off_at(run, 2 * STEPS * epoch, event)
        with pytest.raises(CutOffError):
            run.run()
    run = build_run(tmp_path, accumulate=2, **OPTIONS)
    run.run()
    assert differences(undisturbed, final_state(run)) == []


def test_resumed_run_trains_on_no_image_twice(tmp_path: Path) -> None:
    def images_seen(run) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []
        run.trainer.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine: seen.append(engine.state.output["image"].clone()),
        )
        return seen

    whole = build_run(tmp_path / "whole", checkpoint_steps=1)
    expected = images_seen(whole)
    whole.run()
    first = build_run(tmp_path / "cut", checkpoint_steps=1)
    before = images_seen(first)
    cut_off_at(first, 5)
    with pytest.raises(CutOffError):
        first.run()
    second = build_run(tmp_path / "cut", checkpoint_steps=1)
    after = images_seen(second)
    second.run()
    assert len(after) == len(expected) - len(before)
    for old, new in zip(expected, [*before, *after], strict=True):
        assert torch.equal(old, new)


def test_state_is_written_within_an_epoch_only_where_it_is_due(tmp_path: Path) -> None:
    written = []
    run = build_run(tmp_path, epochs=2, preset="full", accumulate=2, checkpoint_steps=2)
    save = run._save
    run._save = lambda engine: (written.append(engine.state.iteration), save(engine))
    run.run()
    assert written == [4, 6, 8, 12]  # steps 2 and 4; the ends of the epochs of 6 iterations


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    run = build_run(tmp_path, epochs=1, preset="full")
    run.last.parent.mkdir()
    leftover = run.last.parent / ".last-abc123.pt"
    leftover.write_bytes(b"half")
    run.run()
    assert not leftover.exists()
    assert sorted(path.name for path in run.last.parent.iterdir()) == ["best.pt", "last.pt"]


def test_history_lost_between_two_files_is_written_again(tmp_path: Path) -> None:
    build_run(tmp_path, epochs=1, preset="full").run()
    history = (tmp_path / "epochs.jsonl").read_text()
    (tmp_path / "epochs.jsonl").unlink()
    build_run(tmp_path, epochs=1, preset="full").run()
    assert (tmp_path / "epochs.jsonl").read_text() == history
