"""Two processes over gloo on the loopback device train as one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from small_training import STEPS, build_run, differences

from medres.errors import ConfigError
from medres.training import distributed

SCRIPT = Path(__file__).parents[1] / "two_processes.py"
EPOCHS = 5


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two real processes has come to."""
    folder = tmp_path_factory.mktemp("two")
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
        )
        for rank in ("0", "1")
    ]
    for process in processes:
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors.decode()[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The same training in this process, with batches of four."""
    run = build_run(tmp_path_factory.mktemp("alone"), batch_size=4, optimizer="sgd")
    gradients = []

    @run.trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def note(_: Engine) -> None:
        gradients.append(
            {n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None}
        )

    return {"history": run.run().history, "gradients": gradients}


@pytest.mark.parametrize("kind", ["together", "compiled"])
def test_two_processes_have_the_gradients_of_one_in_every_phase(
    results: list[dict], alone: dict, kind: str
) -> None:
    expected = alone["gradients"]
    for result in results:
        found = result[kind]["gradients"]
        assert len(found) == len(expected) == EPOCHS * STEPS
        for step, (own, other) in enumerate(zip(expected, found, strict=True)):
            assert own.keys() == other.keys(), step
            for name, gradient in own.items():
                torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-6)
    sizes = [len(gradients) for gradients in expected[::STEPS]]
    assert sizes == sorted(set(sizes))  # each epoch opened a stage


def test_network_is_wrapped_once_a_phase(results: list[dict]) -> None:
    for kind in ("together", "compiled"):
        assert [result[kind]["wrappers"] for result in results] == [EPOCHS, EPOCHS]


def test_validation_is_of_all_processes_and_counts_each_image_once(
    results: list[dict], alone: dict
) -> None:
    expected = torch.tensor([[e.validation_loss, e.validation_auroc] for e in alone["history"]])
    for result in results:  # 7 images: 4 and 3
        found = torch.tensor(result["together"]["validation"])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        losses = torch.tensor([e.train_loss for e in alone["history"]])
        found = torch.tensor(result["together"]["train_loss"])
        torch.testing.assert_close(found, losses, rtol=1e-4, atol=1e-6)
    assert results[0]["together"]["validation"] == results[1]["together"]["validation"]


def test_all_processes_end_with_the_same_network(results: list[dict]) -> None:
    networks = [result["resumed"]["network"] for result in results]
    assert differences(*networks) == []


def test_run_of_two_processes_resumes_bit_by_bit(results: list[dict]) -> None:
    undisturbed, resumed = results[0]["resumed"]["states"]
    assert differences(undisturbed, resumed) == []


def test_two_processes_train_from_features_as_from_images(results: list[dict]) -> None:
    from_images, from_memory, from_file = results[0]["features"]["states"]
    assert differences(from_images, from_memory) == []
    assert differences(from_images, from_file) == []
    assert differences(*[result["features"]["network"] for result in results]) == []


def test_shares_are_gathered_in_the_order_of_the_whole(results: list[dict]) -> None:
    for result in results:
        assert result["gathered"].flatten().tolist() == [0, 1, 2, 3, 4, 5, 6]
        assert result["mean"] == 0.5
        assert result["first"].tolist() == [0, 5]


def test_single_process_is_told_nothing() -> None:
    value = torch.arange(3.0)
    assert distributed.gather_shares(value, 3) is value
    assert distributed.mean_over_processes(value) is value
    assert distributed.from_first(value) is value
    assert distributed.is_first()
    with distributed.process_group():
        assert (distributed.rank(), distributed.world_size(), distributed.local_rank()) == (0, 1, 0)


def test_more_processes_than_validation_images_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    with pytest.raises(
        ConfigError, match="3 validation images are too few for 4 processes; start at most 3"
    ):
        distributed.check_shares(3, "validation")


@pytest.mark.slow
def test_error_in_one_process_ends_all(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, str(SCRIPT.parent)])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", str(SCRIPT), str(tmp_path), "fail"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode != 0
    assert "CutOffError" in ended.stderr
