import copy
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medres.errors import ConfigError, WeightsError
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import stage_parameters
from medres.training.optimizer import apply_schedule, build_optimizer
from medres.training.presets import build_schedule

OPTIMIZERS = ("adamw", "adam", "sgd")


def names_of(optimizer, **wanted):
    """Names of the tensors in the groups with these values."""
    return [
        name
        for group in optimizer.param_groups
        if all(group[key] == value for key, value in wanted.items())
        for name in group["param_names"]
    ]


def train_steps(network, optimizer, schedule, steps):
    """Real steps: forward and backward through the whole network."""
    for step in steps:
        apply_schedule(network, optimizer, schedule, step)
        image = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=False)  # the harder case: stale gradients stay zeros
        network.train()(image).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("stem", ["duplicate", "port", "adapter"])
@pytest.mark.parametrize("depth", [18, 50])
def test_optimizer_holds_every_tensor_once_under_its_name(depth, stem):
    network = GrayscaleResNet(depth, stem)
    optimizer = build_optimizer(network)
    held = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    assert held == Counter(id(p) for p in network.parameters())
    own = dict(network.named_parameters())
    for group in optimizer.param_groups:
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            assert own[name] is parameter
            assert name in stage_parameters(network, group["stage"])


@pytest.mark.parametrize("depth", [18, 50])
def test_norms_and_biases_do_not_decay_and_all_else_does(depth):
    network = GrayscaleResNet(depth, "adapter")
    optimizer = build_optimizer(network, 0.05)
    norms = {
        f"{prefix}.{name}"
        for prefix, module in network.named_modules()
        if isinstance(module, _BatchNorm)
        for name, _ in module.named_parameters()
    }
    assert "backbone.layer2.0.downsample.1.weight" in norms  # which a search for `bn` misses
    decayed = set(names_of(optimizer, weight_decay=0.05))
    free = set(names_of(optimizer, weight_decay=0.0))
    assert free == norms | {"backbone.fc.bias"}
    assert decayed == {name for name, _ in network.named_parameters()} - free


def test_groups_carry_stage_and_name():
    optimizer = build_optimizer(GrayscaleResNet(18, "adapter"))
    assert [group["name"] for group in optimizer.param_groups][:5] == [
        "adapter.decay",
        "conv1.decay",
        "conv1.no_decay",
        "layer1.decay",
        "layer1.no_decay",
    ]
    assert names_of(optimizer, name="conv1.no_decay") == [
        "backbone.bn1.weight",
        "backbone.bn1.bias",
    ]


def test_adam_decays_through_the_gradient_and_adamw_does_not():
    weights = {}
    for name in ("adam", "adamw"):
        torch.manual_seed(0)
        network = GrayscaleResNet(18)
        optimizer = build_optimizer(network, 0.1, name=name, learning_rate=0.01)
        before = network.backbone.fc.weight.detach().clone()
        network.backbone.fc.weight.grad = torch.zeros_like(before)
        optimizer.step()
        weights[name] = network.backbone.fc.weight / before
    # AdamW: w - lr·λ·w. Adam: the decay is the gradient, and its first step is lr long.
    assert weights["adamw"].detach() == pytest.approx(0.999, rel=1e-6)
    assert (weights["adam"].detach() < 0.9999).all()
    assert weights["adam"].std() > 1e-3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_momentum_cycles_as_in_pytorchs_one_cycle(name):
    network = GrayscaleResNet(18)
    optimizer = build_optimizer(network, name=name)
    schedule = build_schedule(
        "full", epochs=4, steps_per_epoch=10, course="one_cycle", cycle_momentum=True
    )
    theirs = build_optimizer(network, name=name)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=1e-3, total_steps=40)
    for step in range(40):
        apply_schedule(network, optimizer, schedule, step)
        own, other = optimizer.param_groups[0], theirs.param_groups[0]
        assert own["lr"] == pytest.approx(other["lr"], rel=1e-6)
        if name == "sgd":
            assert own["momentum"] == pytest.approx(other["momentum"])
        else:
            assert own["betas"] == pytest.approx(other["betas"])
        theirs.step()
        if step < 39:
            scheduler.step()


def test_schedule_without_cycling_leaves_the_optimizers_momentum():
    network = GrayscaleResNet(18)
    optimizer = build_optimizer(network)
    apply_schedule(network, optimizer, build_schedule("full", epochs=2, steps_per_epoch=2), 0)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}


def test_another_optimizer_is_refused():
    with pytest.raises(
        ConfigError, match="optimizer: 'lamb' is not accepted; give one of adamw, adam, sgd"
    ):
        build_optimizer(GrayscaleResNet(18), name="lamb")


def test_applied_schedule_sets_rates_gradients_and_batch_norm():
    network = GrayscaleResNet(18, "adapter")
    optimizer = build_optimizer(network)
    schedule = build_schedule(
        "gradual", epochs=10, steps_per_epoch=2, frozen_epochs=2, stem="adapter"
    )
    for step in (0, 5, 19, 2):  # backwards too: nothing is remembered
        apply_schedule(network, optimizer, schedule, step)
        states = schedule.at(step)
        for group in optimizer.param_groups:
            assert group["lr"] == states[group["stage"]].learning_rate
            assert all(p.requires_grad == states[group["stage"]].active for p in group["params"])
        held = {stage for stage, state in states.items() if state.batch_norm == "eval"}
        assert network.batch_norm_eval == held


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_stages_are_bit_identical_until_they_open(name):
    torch.manual_seed(0)
    network = GrayscaleResNet(18, "adapter")
    optimizer = build_optimizer(network, 0.1, name=name)
    schedule = build_schedule(
        "gradual", epochs=10, steps_per_epoch=1, frozen_epochs=2, stem="adapter"
    )
    for step in range(10):
        before = copy.deepcopy(network.state_dict())
        train_steps(network, optimizer, schedule, [step])
        for stage, state in schedule.at(step).items():
            tensors = dict(stage_parameters(network, stage))
            moved = [n for n, p in tensors.items() if not torch.equal(p, before[n])]
            assert bool(moved) == state.active, (step, stage)
        for key, value in network.state_dict().items():
            if "running" in key and network.batch_norm_eval & {"layer1"} and "layer1" in key:
                assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stage_frozen_again_is_moved_by_no_momentum_decay_or_stale_gradient(name):
    torch.manual_seed(0)
    network = GrayscaleResNet(18)
    optimizer = build_optimizer(network, 0.1, name=name)
    options = {"epochs": 9, "steps_per_epoch": 1, "frozen_epochs": 8}
    train_steps(network, optimizer, build_schedule("full", **options), range(3))
    frozen = build_schedule("freeze_then_finetune", **options)
    before = copy.deepcopy(network.state_dict())
    train_steps(network, optimizer, frozen, range(3))
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}


def test_first_step_of_an_opened_stage_is_small():
    torch.manual_seed(0)
    network = GrayscaleResNet(18)
    optimizer = build_optimizer(network)
    schedule = build_schedule(
        "freeze_then_finetune",
        epochs=3,
        steps_per_epoch=10,
        frozen_epochs=1,
        stage_warmup_epochs=1,
        course="constant",
    )
    before = network.backbone.layer1[0].conv1.weight.clone()
    train_steps(network, optimizer, schedule, range(9, 11))
    step = (network.backbone.layer1[0].conv1.weight - before).abs().max()
    assert 0 < step < 1.01 * 5e-4 / 10  # Adam's first step is a full rate long: a tenth of it


def test_moments_go_on_bit_by_bit_after_loading():
    torch.manual_seed(0)
    network = GrayscaleResNet(18)
    schedule = build_schedule("gradual", epochs=5, steps_per_epoch=2, frozen_epochs=1)
    optimizer = build_optimizer(network)
    train_steps(network, optimizer, schedule, range(3))  # in the middle of a phase
    resumed = GrayscaleResNet(18)
    resumed.load_state_dict(copy.deepcopy(network.state_dict()))
    resumed_optimizer = build_optimizer(resumed)
    resumed_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((network, optimizer), (resumed, resumed_optimizer)):
        train_steps(*pair, schedule, range(3, 6))
    for key, value in network.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_state_of_another_stem_is_refused():
    state = build_optimizer(GrayscaleResNet(18, "adapter")).state_dict()
    with pytest.raises(
        WeightsError, match=r"group 0 is 'adapter.decay' with 1 .* expected 'conv1."
    ):
        build_optimizer(GrayscaleResNet(18, "port")).load_state_dict(state)


def test_state_with_groups_in_another_order_is_refused():
    optimizer = build_optimizer(GrayscaleResNet(18))
    state = optimizer.state_dict()
    groups = state["param_groups"]  # of the same number of tensors: PyTorch would not notice
    assert len(groups[4]["params"]) == len(groups[6]["params"])
    state["param_groups"] = [*groups[:4], groups[6], groups[5], groups[4], *groups[7:]]
    with pytest.raises(WeightsError, match=r"group 4 is 'layer3.decay' with 5 tensors, expected"):
        optimizer.load_state_dict(state)


def test_state_with_fewer_groups_is_refused():
    optimizer = build_optimizer(GrayscaleResNet(18))
    state = optimizer.state_dict()
    del state["param_groups"][-1]
    with pytest.raises(WeightsError, match=r"expected 'head.no_decay' with 1; give the state of a"):
        optimizer.load_state_dict(state)


def test_schedule_for_another_stem_is_refused():
    network = GrayscaleResNet(18)
    schedule = build_schedule("full", epochs=2, steps_per_epoch=2, stem="adapter")
    with pytest.raises(ConfigError, match=r"schedule: is for the stages adapter, .*own stem"):
        apply_schedule(network, build_optimizer(network), schedule, 0)


def test_every_decayed_tensor_is_a_weight_of_more_than_one_dimension():
    optimizer = build_optimizer(GrayscaleResNet(50, "adapter"), 0.05)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert (parameter.ndim > 1) == (group["weight_decay"] > 0)
            assert isinstance(parameter, nn.Parameter)
