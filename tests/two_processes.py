"""What each of two processes does in `tests/training/test_distributed.py`.

python two_processes.py FOLDER [fail]   with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT set
"""

import copy
import sys
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from small_training import build_run, final_state, train_from_features
from torch.nn.parallel import DistributedDataParallel

from medres.training import distributed, wrapping


def train_together(folder: Path, *, compiled: bool = False) -> dict:
    """A whole unfreezing of two images a process and step; gradients as they were applied."""
    share = {"rank": distributed.rank(), "processes": 2}
    run = build_run(folder, batch_size=2, optimizer="sgd", compile=compiled, **share)
    gradients, wrappers = [], []

    @run.trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def note(engine: Engine) -> None:
        network = engine.network
        wrappers.append(network._orig_mod if compiled else network)
        gradients.append(
            {n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None}
        )

    result = run.run()
    assert all(isinstance(wrapper, DistributedDataParallel) for wrapper in wrappers)
    return {
        "gradients": gradients,
        "wrappers": len({id(wrapper) for wrapper in wrappers}),
        "validation": [(e.validation_loss, e.validation_auroc) for e in result.history],
        "train_loss": [e.train_loss for e in result.history],
    }


class CutOffError(Exception):
    """In place of a kill."""


def train_and_resume(folder: Path) -> dict:
    """Moving statistics, an average, accumulation, bf16: undisturbed, and cut off and resumed."""
    options = {"rank": distributed.rank(), "processes": 2, "batch_size": 2, "batch_norm": "train"}
    options |= {"accumulate": 2, "ema_decay": 0.9, "precision": "bf16", "checkpoint_steps": 1}
    whole = build_run(folder / "whole", **options)
    whole.run()
    cut = build_run(folder / "cut", **options)

    @cut.trainer.on(Events.ITERATION_COMPLETED)
    def cut_off(engine: Engine) -> None:
        if engine.state.iteration == 9:
            raise CutOffError

    try:
        cut.run()
    except CutOffError:
        distributed.wait_for_all()
    again = build_run(folder / "cut", **options)
    again.run()
    return {
        "network": copy.deepcopy(whole.network.state_dict()),
        "states": [final_state(whole), final_state(again)],
    }


def train_from_features_too(folder: Path) -> dict:
    """Phases that begin within an epoch, from images and from features kept in both places."""
    options = {"rank": distributed.rank(), "processes": 2, "batch_size": 2, "batch_norm": "train"}
    options |= {"epochs": 7, "frozen_epochs": 4 / 3, "adapter_frozen_steps": -1, "ema_decay": 0.9}
    states = []
    for place, memory in (("images", None), ("memory", 2**30), ("file", 0)):
        run = build_run(folder / place, **options)
        if memory is not None:
            train_from_features(run, memory=memory)
        run.run()
        states.append(final_state(run))
    return {"states": states, "network": copy.deepcopy(run.network.state_dict())}


def fail_alone(folder: Path) -> None:
    """The second process fails while the first waits for its gradients."""
    run = build_run(folder, batch_size=2, rank=distributed.rank(), processes=2)

    @run.trainer.on(Events.ITERATION_STARTED)
    def fail(engine: Engine) -> None:
        if engine.state.iteration == 4 and distributed.rank() == 1:
            raise CutOffError

    run.run()


def main(folder: Path, mode: str) -> None:
    torch.set_num_threads(1)
    wrapping.BACKEND = "eager"  # dynamo's graphs alone: inductor would take a minute
    with distributed.process_group():
        if mode == "fail":
            fail_alone(folder)
            return
        rank = distributed.rank()
        share = torch.arange(7.0)[rank::2].reshape(-1, 1)
        results = {
            "gathered": distributed.gather_shares(share, 7),
            "mean": distributed.mean_over_processes(torch.tensor(float(rank))),
            "first": distributed.from_first(torch.tensor([rank, 5.0])),
            "together": train_together(folder / "together"),
            "compiled": train_together(folder / "compiled", compiled=True),
            "resumed": train_and_resume(folder),
            "features": train_from_features_too(folder / "features"),
        }
        torch.save(results, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
