from pathlib import Path

import pytest
import torch

from medres.errors import BundleError
from medres.training import checkpoint
from medres.training.checkpoint import (
    CheckpointClock,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)


def test_checkpoint_reads_back(tmp_path: Path) -> None:
    state = {"network": {"a": torch.arange(3.0)}, "epoch": 2, "best": [0.5, -0.1], "none": None}
    save_checkpoint(tmp_path / "deep" / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "deep" / "last.pt")
    assert torch.equal(loaded["network"]["a"], torch.arange(3.0))
    assert {**loaded, "network": None} == {**state, "network": None}


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(BundleError, match="not a checkpoint of tensors and plain values"):
        load_checkpoint(tmp_path / "last.pt")


def test_checkpoint_that_hides_code_is_refused(tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploited",))

    torch.save({"network": Exploit()}, tmp_path / "last.pt")
    with pytest.raises(BundleError):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "exploited").exists()


def test_clock_is_due_at_every_so_many_steps() -> None:
    clock = CheckpointClock(0, 3)
    assert [step for step in range(1, 10) if clock.is_due(step)] == [3, 6, 9]
    assert not any(CheckpointClock(0, 0).is_due(step) for step in range(1, 10))


def test_clock_is_due_so_many_minutes_after_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    clock = CheckpointClock(0.5, 0)
    now[0] += 29
    assert not clock.is_due(1)
    now[0] += 1
    assert clock.is_due(2)
    clock.restart()
    assert not clock.is_due(3)


def test_generators_go_on_from_their_saved_state() -> None:
    cpu = torch.device("cpu")
    saved = random_state(cpu)
    drawn = torch.rand(3)
    set_random_state(saved, cpu)
    assert torch.equal(torch.rand(3), drawn)
