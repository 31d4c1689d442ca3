import copy
import json
from collections import Counter

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from monai.networks.utils import eval_mode

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import batch_norms, stage_parameters
from medres.training.losses import ClassificationLoss
from medres.training.optimizer import apply_schedule, build_optimizer
from medres.training.presets import PRESETS, build_schedule
from medres.training.schedule_handler import ScheduleHandler, optimizer_step

pytestmark = pytest.mark.usefixtures("freed")

EPOCHS, STEPS = 5, 2


def loader():
    generator = torch.Generator().manual_seed(0)
    items = [
        {"image": torch.randn(1, 32, 32, generator=generator), "label": torch.tensor([i % 2 * 1.0])}
        for i in range(STEPS * 4)
    ]
    return DataLoader(Dataset(items), batch_size=4)


def build(
    preset="gradual",
    *,
    batch_norm="train",
    set_to_none=True,
    epochs=EPOCHS,
    depth=18,
    accumulation=1,
    **options,
):
    """A real MONAI trainer with validation after every epoch."""
    torch.manual_seed(0)
    network = GrayscaleResNet(depth, "adapter")
    optimizer = build_optimizer(network, 0.01)
    schedule = build_schedule(
        preset,
        epochs=EPOCHS,
        steps_per_epoch=STEPS // accumulation,
        frozen_epochs=1,
        batch_norm=batch_norm,
        stem="adapter",
        **options,
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader(),
        network=network,
        optimizer=optimizer,
        loss_function=ClassificationLoss("binary"),
        decollate=False,
        optim_set_to_none=set_to_none,
        accumulation_steps=accumulation,
    )
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"), val_data_loader=loader(), network=network, decollate=False
    )
    handler = ScheduleHandler(schedule, network, optimizer, accumulation=accumulation)
    handler.attach(trainer)
    ValidationHandler(interval=1, validator=evaluator).attach(trainer)
    return trainer, network, optimizer, schedule, handler


def stage_of(network, key):
    """The stage of a parameter or buffer."""
    parts = key.split(".")
    if parts[0] == "stem":
        return "adapter"
    return {"bn1": "conv1", "fc": "head"}.get(parts[1], parts[1])


NORM = ("bn1.", "bn2.", "bn3.", "downsample.1.")
ADAPTER_WAITS = {"adapter_frozen_steps": 3, "stage_warmup_epochs": 0.5}


def moves(key, state):
    """Whether a schedule lets a parameter or buffer change in a step."""
    if "running" in key or key.endswith("num_batches_tracked"):
        return state.batch_norm == "train"
    is_norm = any(name in key for name in NORM)
    return state.active and (state.tensors == "all" or is_norm)


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        *((preset, {"batch_norm": "train", "set_to_none": False}) for preset in PRESETS),
        ("gradual", {"batch_norm": "eval"}),
        ("batch_norm_affine", {"batch_norm": "eval"}),
        ("discriminative", ADAPTER_WAITS),
        ("linear_probe", {"adapter_frozen_steps": -1, "set_to_none": False}),
        ("gradual", {"depth": 50, "set_to_none": False}),
        ("batch_norm_affine", {"depth": 50}),
        ("surgical", {"depth": 50}),
    ],
)
def test_frozen_tensors_and_buffers_stay_bit_identical_in_monais_trainer(preset, options):
    trainer, network, optimizer, schedule, _ = build(preset, **options)
    states = []

    @trainer.on(Events.ITERATION_STARTED)
    def keep(_):
        states.append(copy.deepcopy(network.state_dict()))

    trainer.run()
    states.append(network.state_dict())
    assert len(states) == EPOCHS * STEPS + 1
    for step in range(EPOCHS * STEPS):
        stages = schedule.at(step)
        for key, value in states[step].items():
            may_move = moves(key, stages[stage_of(network, key)])
            if not may_move:
                assert torch.equal(value, states[step + 1][key]), (step, key)
            elif "running" in key:
                assert not torch.equal(value, states[step + 1][key]), (step, key)
    parameters = dict(network.named_parameters())
    for key, first in states[0].items():  # and what the schedule ever opens does move
        if key in parameters and any(
            moves(key, schedule.at(step)[stage_of(network, key)]) for step in range(EPOCHS * STEPS)
        ):
            assert not torch.equal(first, states[-1][key]), key
    held = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    assert held == Counter(id(p) for p in network.parameters())


def test_stage_opens_with_an_optimizer_step_when_gradients_are_accumulated():
    trainer, _, optimizer, schedule, _ = build("gradual", accumulation=2)
    opened = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def look(_):
        opened.append({g["stage"] for g in optimizer.param_groups if g["lr"] > 0})

    trainer.run()
    steps = [{n for n, s in schedule.at(step).items() if s.active} for step in range(EPOCHS)]
    assert opened == [stages for stages in steps for _ in range(2)]


@pytest.mark.parametrize(
    ("iteration", "length", "accumulation", "step"),
    [
        (1, 10, 1, 0),
        (10, 10, 1, 9),
        (11, 10, 1, 10),
        (4, 10, 4, 0),
        (5, 10, 4, 1),
        (10, 10, 4, 2),  # the epoch's last step takes the two that are left
        (11, 10, 4, 3),
        (21, 10, 4, 6),
        (9, None, 4, 2),
    ],
)
def test_optimizer_steps_never_span_two_epochs(iteration, length, accumulation, step):
    assert optimizer_step(iteration, length, accumulation) == step


def test_monais_trainer_counts_its_steps_as_the_handler_does():
    steps, expected = [], []
    trainer, _, optimizer, _, _ = build("full", accumulation=1)
    trainer.accumulation_steps = 3  # an epoch of two iterations: one step, with what is left
    update = optimizer.step
    optimizer.step = lambda *args, **kwargs: (steps.append(1), update(*args, **kwargs))[1]

    @trainer.on(Events.ITERATION_COMPLETED)
    def count(engine):
        expected.append(optimizer_step(engine.state.iteration, engine.state.epoch_length, 3) + 1)

    trainer.run()
    assert len(steps) == expected[-1] == EPOCHS


def test_no_accumulation_below_one():
    _, network, optimizer, schedule, _ = build("full")
    with pytest.raises(ConfigError, match="accumulation: 0 is not accepted; give at least 1"):
        ScheduleHandler(schedule, network, optimizer, accumulation=0)


def test_plain_ignite_engine_gives_the_same_weights_as_monais_trainer():
    trainer, expected, _, _, _ = build("gradual", set_to_none=True)
    trainer.run()

    _, network, optimizer, schedule, _ = build("gradual")
    loss = ClassificationLoss("binary")

    def step(_, batch):
        network.train()
        optimizer.zero_grad()
        value = loss(network(batch["image"]), batch["label"])
        value.backward()
        optimizer.step()
        return value.item()

    engine = Engine(step)
    ScheduleHandler(schedule, network, optimizer).attach(engine)
    engine.run(loader(), max_epochs=EPOCHS)
    for key, value in expected.state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key


@pytest.mark.parametrize("depth", [18, 50])
def test_fixed_statistics_survive_train_and_monais_eval_mode(depth):
    network = GrayscaleResNet(depth, "adapter")
    schedule = build_schedule(
        "gradual", epochs=5, steps_per_epoch=2, frozen_epochs=1, stem="adapter"
    )
    apply_schedule(network, build_optimizer(network), schedule, 2)  # layer4 and head are open
    for change in (network.train, lambda: network.eval().train()):
        change()
        assert norms_in_train_mode(network) == {"layer4"}
    with eval_mode(network):
        assert norms_in_train_mode(network) == set()
    assert norms_in_train_mode(network) == {"layer4"}


def norms_in_train_mode(network):
    return {
        stage
        for stage in ("conv1", "layer1", "layer2", "layer3", "layer4")
        for norm in batch_norms(network, [stage])
        if norm.training
    }


def test_rates_of_the_optimizer_are_the_schedules_at_each_iteration():
    trainer, _, optimizer, schedule, _ = build("freeze_then_finetune")
    seen = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: seen.append({g["stage"]: g["lr"] for g in optimizer.param_groups}),
    )
    trainer.run()
    expected = [
        {stage: state.learning_rate for stage, state in schedule.at(step).items()}
        for step in range(EPOCHS * STEPS)
    ]
    assert seen == expected


def test_trainer_resumed_in_the_middle_of_a_phase_goes_on_there():
    undisturbed, network, _, _, _ = build()
    undisturbed.run()

    first, halfway, optimizer, _, handler = build(epochs=3)
    first.run()
    saved = copy.deepcopy(
        (halfway.state_dict(), optimizer.state_dict(), handler.state_dict(), first.state_dict())
    )
    resumed, other, other_optimizer, _, other_handler = build()
    other.load_state_dict(saved[0])
    other_optimizer.load_state_dict(saved[1])
    other_handler.load_state_dict(json.loads(json.dumps(saved[2])))
    resumed.load_state_dict({**saved[3], "max_epochs": EPOCHS})
    resumed.run()
    assert resumed.state.iteration == EPOCHS * STEPS
    for key, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_checkpoint_of_another_schedule_is_refused():
    *_, handler = build("gradual")
    *_, other = build("freeze_then_finetune")
    with pytest.raises(ConfigError, match="made with another preset, stages; resume with the same"):
        handler.load_state_dict(other.state_dict())


def test_schedule_holds_before_the_first_forward():
    trainer, network, _, _, _ = build()
    trainable = []
    network.register_forward_pre_hook(
        lambda *_: trainable.append({n for n, p in network.named_parameters() if p.requires_grad})
    )
    trainer.run()
    head = set(stage_parameters(network, "head")) | set(stage_parameters(network, "adapter"))
    assert trainable[0] == head
