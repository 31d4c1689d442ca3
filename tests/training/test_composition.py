"""Number formats, accumulation, averages and compilation, each through a whole unfreezing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.handlers import CheckpointSaver, StatsHandler
from small_training import STEPS, build_run
from torch import nn

from medres.errors import ConfigError
from medres.models.stages import STAGES, stage_parameters
from medres.training import wrapping
from medres.training.trainer import TrainingRun

EPOCHS = 5  # of `gradual`: head and adapter, then layer4, 3, 2, and layer1 with conv1


def stage_of(network: nn.Module, key: str) -> str:
    """The stage of a parameter or buffer of the tiny network."""
    parts = key.split(".")
    if parts[0] == "stem":
        return "adapter"
    return {"bn1": "conv1", "fc": "head"}.get(parts[1], parts[1])


def watch(run: TrainingRun) -> list[dict[str, torch.Tensor]]:
    """The network's state before each iteration; complete with that after the last."""
    states: list[dict[str, torch.Tensor]] = []
    run.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda _: states.append(copy.deepcopy(run.network.state_dict()))
    )
    return states


def check_schedule_held(run: TrainingRun, states: list[dict[str, torch.Tensor]]) -> None:
    """Frozen tensors and buffers stay as they were, bit by bit; open ones move at every step."""
    accumulate = run.plan.accumulate
    states = [*states, run.network_after]
    for iteration in range(len(states) - 1):
        stages = run.plan.schedule.at(iteration // accumulate)
        stepped = (iteration + 1) % accumulate == 0
        for key, value in states[iteration].items():
            state = stages[stage_of(run.network, key)]
            statistic = "running" in key or key.endswith("num_batches_tracked")
            moves = state.batch_norm == "train" if statistic else state.active and stepped
            same = torch.equal(value, states[iteration + 1][key])
            assert same != moves, (iteration, key)


def run_watched(run: TrainingRun) -> list[dict[str, torch.Tensor]]:
    states = watch(run)
    run.trainer.add_event_handler(
        Events.COMPLETED,
        lambda _: setattr(run, "network_after", copy.deepcopy(run.network.state_dict())),
    )
    run.run()
    return states


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp32", "ema_decay": 0.9},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"precision": "bf16", "accumulate": 3, "ema_decay": 0.9},
        {"precision": "fp16", "accumulate": 2},
        {"optimizer": "sgd", "precision": "bf16", "accumulate": 2},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_frozen_tensors_stay_and_open_ones_move(
    tmp_path: Path, options: dict[str, Any], batch_norm: str
) -> None:
    run = build_run(tmp_path, batch_norm=batch_norm, **options)
    states = run_watched(run)
    assert len(states) == EPOCHS * run.plan.epoch_length
    check_schedule_held(run, states)


def test_network_trains_in_channels_last_from_the_first_to_the_last_step(tmp_path: Path) -> None:
    run = build_run(tmp_path, ema_decay=0.9, precision="bf16")
    layouts = []

    def note(_: Engine) -> None:
        tensors = [*run.network.parameters(), *run.judged.parameters()]
        tensors += [p.grad for p in run.network.parameters() if p.grad is not None]
        layouts.append(
            all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors if t.ndim == 4)
        )

    run.trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, note)
    run.run()
    assert layouts == [True] * (EPOCHS * STEPS)


def gradients(run: TrainingRun) -> list[dict[str, torch.Tensor]]:
    """The gradients of each optimizer step, as they were applied."""
    steps: list[dict[str, torch.Tensor]] = []

    def note(engine: Engine) -> None:
        if engine.state.iteration % run.plan.accumulate == 0:
            steps.append(
                {n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None}
            )

    run.trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, note)
    run.run()
    return steps


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    whole = gradients(build_run(tmp_path / "whole", batch_size=12, optimizer="sgd"))
    parts = gradients(build_run(tmp_path / "parts", batch_size=4, accumulate=3, optimizer="sgd"))
    assert len(whole) == len(parts) == EPOCHS * STEPS
    for one, other in zip(whole, parts, strict=True):
        assert one.keys() == other.keys()
        for name, gradient in one.items():
            torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-6)


def test_average_follows_optimizer_steps_and_leaves_frozen_tensors_alone(tmp_path: Path) -> None:
    run = build_run(tmp_path, ema_decay=0.9, accumulate=2)
    initial = copy.deepcopy(run.network.state_dict())
    counts = []

    @run.trainer.on(Events.ITERATION_COMPLETED)
    def note(engine: Engine) -> None:
        counts.append(int(run.average.average.n_averaged))
        if engine.state.epoch == 1:
            for stage in STAGES[1:-1]:
                for name in stage_parameters(run.network, stage):
                    assert torch.equal(run.judged.state_dict()[name], initial[name]), name

    run.run()
    assert counts == [iteration // 2 for iteration in range(1, len(counts) + 1)]


def test_scale_of_fp16_halves_on_overflow_and_is_saved(tmp_path: Path) -> None:
    run = build_run(tmp_path, precision="fp16", epochs=2, preset="full")

    @run.trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def overflow(engine: Engine) -> None:
        if engine.state.iteration == 2:
            run.network.backbone.fc.weight.grad.fill_(float("inf"))

    states = watch(run)
    run.run()
    assert all(torch.equal(states[1][name], states[2][name]) for name in states[1])
    saved = torch.load(run.last, weights_only=True)["scaling"]
    assert saved["scale"] == 2.0**15
    assert saved["_growth_tracker"] == 4


class Graphs:
    """A backend of `torch.compile` that counts graphs and their runs, and computes eagerly."""

    def __init__(self) -> None:
        self.compiled = self.runs = 0

    def __call__(self, module: Any, _: list[torch.Tensor]) -> Any:
        self.compiled += 1

        def forward(*inputs: Any) -> Any:
            self.runs += 1
            return module(*inputs)

        return forward


@pytest.mark.parametrize("options", [{}, {"precision": "bf16", "ema_decay": 0.9, "accumulate": 2}])
def test_compiled_network_runs_its_graphs_in_every_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    graphs = Graphs()
    monkeypatch.setattr(wrapping, "BACKEND", graphs)
    run = build_run(tmp_path / "compiled", batch_norm="eval", compile=True, **options)
    runs, modes = [], []
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: runs.append(graphs.runs))
    run.trainer.add_event_handler(
        IterationEvents.FORWARD_COMPLETED,
        lambda _: modes.append(
            {m.training for m in run.network.modules() if isinstance(m, nn.BatchNorm2d)}
        ),
    )
    with torch._dynamo.config.patch(recompile_limit=2):  # 8 by default; here are 5 phases
        states = run_watched(run)
    check_schedule_held(run, states)
    assert modes == [{False}] * (EPOCHS * run.plan.epoch_length)
    # At least one graph in each iteration to the last, and new ones at each phase's start alone.
    assert all(later > earlier for earlier, later in zip([0, *runs], runs, strict=False))
    assert graphs.compiled % EPOCHS == 0
    eager = build_run(tmp_path / "eager", **options)
    for old, new in zip(run_watched(eager), states, strict=True):
        for name in old:
            torch.testing.assert_close(old[name], new[name], rtol=1e-4, atol=1e-5)


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrapping.shutil, "which", lambda _: None)
    with pytest.raises(
        ConfigError, match=r"training.compile: torch.compile needs a C\+\+ compiler"
    ):
        wrapping.check_compiler(torch.device("cpu"))
    wrapping.check_compiler(torch.device("cuda"))


@pytest.mark.slow
def test_inductor_trains_as_eager_code_does(tmp_path: Path) -> None:
    compiled, eager = (
        run_watched(build_run(tmp_path / name, compile=name == "compiled", batch_norm="train"))
        for name in ("compiled", "eager")
    )
    for old, new in zip(eager, compiled, strict=True):
        for name in old:
            torch.testing.assert_close(old[name], new[name], rtol=1e-3, atol=1e-4)


def test_monais_own_handlers_serve_our_trainer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = build_run(tmp_path / "run", epochs=2, preset="full")
    saver = CheckpointSaver(
        save_dir=str(tmp_path / "monai"),
        save_dict={"network": run.network, "optimizer": run.optimizer},
        save_final=True,
        epoch_level=True,
        save_interval=1,
    )
    saver.attach(run.trainer)
    StatsHandler(name="stats", output_transform=lambda output: output["loss"].item()).attach(
        run.trainer
    )
    run.run()
    assert capsys.readouterr().out.count("-- Loss: ") == 2 * STEPS
    saved = torch.load(tmp_path / "monai" / "checkpoint_final_iteration=6.pt", weights_only=True)
    last = torch.load(run.last, weights_only=True)
    assert saved.keys() == {"network", "optimizer"}
    for name, tensor in last["network"].items():
        assert torch.equal(tensor, saved["network"][name])
