from collections import Counter

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import (
    STAGES,
    apply_stage_states,
    batch_norms,
    stage_parameters,
    trainable_stages,
)


@pytest.mark.parametrize("stem", ["duplicate", "port", "adapter"])
@pytest.mark.parametrize("depth", [18, 50])
def test_every_parameter_belongs_to_exactly_one_stage(depth, stem):
    network = GrayscaleResNet(depth, stem)
    counts = Counter(name for stage in STAGES for name in stage_parameters(network, stage))
    assert counts == Counter(name for name, _ in network.named_parameters())


@pytest.mark.parametrize("depth", [18, 50])
def test_every_batch_norm_belongs_to_exactly_one_stage(depth):
    network = GrayscaleResNet(depth)
    found = Counter(id(norm) for norm in batch_norms(network, STAGES))
    assert found == Counter(id(m) for m in network.modules() if isinstance(m, _BatchNorm))


def test_conv1_includes_its_batch_norm():
    assert set(stage_parameters(GrayscaleResNet(18), "conv1")) == {
        "backbone.conv1.weight",
        "backbone.bn1.weight",
        "backbone.bn1.bias",
    }


def test_only_an_adapter_network_has_an_adapter_stage():
    assert trainable_stages(GrayscaleResNet(18, "adapter")) == STAGES
    assert trainable_stages(GrayscaleResNet(18, "duplicate")) == STAGES[1:]
    assert trainable_stages(GrayscaleResNet(18, "port")) == STAGES[1:]


def test_applied_states_freeze_the_other_stages_and_their_statistics():
    network = GrayscaleResNet(18, "adapter")
    apply_stage_states(network, ["adapter", "layer4", "head"], ["adapter"])
    trains = {name for name, p in network.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in trains} == {"conv", "layer4", "fc"}
    assert network.batch_norm_eval == {"adapter", "conv1", "layer1", "layer2", "layer3"}


def test_freezing_drops_stale_gradients():
    network = GrayscaleResNet(18)
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    apply_stage_states(network, ["head"])
    assert {n for n, p in network.named_parameters() if p.grad is not None} == {
        "backbone.fc.weight",
        "backbone.fc.bias",
    }


def test_opening_again_lets_everything_train():
    network = GrayscaleResNet(18)
    apply_stage_states(network, [])
    apply_stage_states(network, STAGES)
    assert all(p.requires_grad for p in network.parameters())
    assert network.batch_norm_eval == frozenset()


def test_frozen_trunk_computes_no_graph():
    network = GrayscaleResNet(18)
    apply_stage_states(network, ["head"])
    features = []
    network.backbone.fc.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    network(torch.randn(2, 1, 32, 32))
    assert not features[0].requires_grad


@pytest.mark.parametrize("depth", [18, 50])
def test_affine_only_opens_the_norms_of_a_stage_by_type(depth):
    network = GrayscaleResNet(depth)
    apply_stage_states(network, STAGES, affine_only=["layer2", "layer3"])
    for stage in STAGES[1:]:
        norms = {id(p) for norm in batch_norms(network, [stage]) for p in norm.parameters()}
        for name, parameter in stage_parameters(network, stage).items():
            expected = stage not in ("layer2", "layer3") or id(parameter) in norms
            assert parameter.requires_grad == expected, name
    trains = {name for name, p in network.named_parameters() if p.requires_grad}
    assert "backbone.layer2.0.downsample.1.weight" in trains
    assert "backbone.layer2.0.downsample.0.weight" not in trains


def test_affine_only_of_a_frozen_stage_stays_frozen():
    network = GrayscaleResNet(18)
    apply_stage_states(network, ["head"], affine_only=["layer1"])
    assert not any(p.requires_grad for p in stage_parameters(network, "layer1").values())


def test_unknown_stage_is_refused():
    with pytest.raises(ConfigError, match="stage: 'fc' is not accepted; give some of adapter, con"):
        apply_stage_states(GrayscaleResNet(18), ["fc"])
