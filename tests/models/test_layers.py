"""The list of layers, against torchvision's own figures."""

import pytest
import torchvision

from medres.models.ensemble import ResNetEnsemble
from medres.models.layers import Layer, list_layers
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGES


@pytest.mark.parametrize("depth", [18, 50])
def test_every_parameter_stands_in_one_layer(depth: int) -> None:
    layers = list_layers(GrayscaleResNet(depth, "duplicate", 1000), 64)
    own = torchvision.models.get_model(f"resnet{depth}")
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in own.parameters())
    assert len(layers) == len({layer.name for layer in layers})


def test_layers_come_in_their_order_with_shapes_stages_and_kinds() -> None:
    layers = list_layers(GrayscaleResNet(18, "adapter", 3), 64)
    assert layers[0] == Layer(0, "adapter", "stem.conv", "Conv2d 1×1", (3, 64, 64), 3, 1)
    assert layers[1] == Layer(0, "conv1", "backbone.conv1", "Conv2d 7×7 / 2", (64, 32, 32), 9408, 1)
    named = {layer.name: layer for layer in layers}
    assert named["backbone.maxpool"].kind == "MaxPool2d 3×3 / 2"
    assert named["backbone.layer1.0.relu"].runs == 2
    assert named["backbone.layer2.0.downsample.0"].output == (128, 8, 8)
    assert named["backbone.avgpool"].stage == "pool"
    assert layers[-1] == Layer(0, "head", "backbone.fc", "Linear", (3,), 512 * 3 + 3, 1)
    stages = list(dict.fromkeys(layer.stage for layer in layers))
    assert stages == [*STAGES[:-1], "pool", "head"]


def test_an_ensemble_lists_every_member_and_stays_as_it_is() -> None:
    members = [{"depth": 18, "stem": "port"}, {"depth": 34, "stem": "adapter"}]
    ensemble = ResNetEnsemble(members).train()
    layers = list_layers(ensemble, 64)
    assert {layer.member for layer in layers} == {0, 1}
    assert sum(layer.parameters for layer in layers) == sum(
        p.numel() for p in ensemble.parameters()
    )
    assert ensemble.training
    assert not any(module._forward_hooks for module in ensemble.modules())
