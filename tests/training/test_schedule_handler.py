import copy
import json

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import stage_parameters
from medres.training.losses import ClassificationLoss
from medres.training.optimizer import build_optimizer
from medres.training.presets import build_schedule
from medres.training.schedule_handler import ScheduleHandler

EPOCHS, STEPS = 5, 2


def loader():
    generator = torch.Generator().manual_seed(0)
    items = [
        {"image": torch.randn(1, 32, 32, generator=generator), "label": torch.tensor([i % 2 * 1.0])}
        for i in range(STEPS * 4)
    ]
    return DataLoader(Dataset(items), batch_size=4)


def build(preset="gradual", *, batch_norm="train", set_to_none=True, epochs=EPOCHS):
    """A real MONAI trainer with validation after every epoch."""
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "adapter")
    optimizer = build_optimizer(network, 0.01)
    schedule = build_schedule(
        preset,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        frozen_epochs=1,
        batch_norm=batch_norm,
        stem="adapter",
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
    )
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"), val_data_loader=loader(), network=network, decollate=False
    )
    handler = ScheduleHandler(schedule, network, optimizer)
    handler.attach(trainer)
    ValidationHandler(interval=1, validator=evaluator).attach(trainer)
    return trainer, network, optimizer, schedule, handler


def stage_of(network, key):
    """The stage of a parameter or buffer."""
    parts = key.split(".")
    if parts[0] == "stem":
        return "adapter"
    return {"bn1": "conv1", "fc": "head"}.get(parts[1], parts[1])


@pytest.mark.parametrize(("batch_norm", "set_to_none"), [("train", False), ("eval", True)])
def test_frozen_tensors_and_buffers_stay_bit_identical_in_monais_trainer(batch_norm, set_to_none):
    trainer, network, _, schedule, _ = build(batch_norm=batch_norm, set_to_none=set_to_none)
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
            state = stages[stage_of(network, key)]
            is_statistic = "running" in key or key.endswith("num_batches_tracked")
            moves = state.batch_norm == "train" if is_statistic else state.active
            if not moves:
                assert torch.equal(value, states[step + 1][key]), (step, key)
            elif is_statistic:
                assert not torch.equal(value, states[step + 1][key]), (step, key)


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
