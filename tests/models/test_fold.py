import itertools

import pytest
import torch
from torch import nn

from medres.config import STEM_INITS
from medres.errors import WeightsError
from medres.models.fold import convert_stem, fold_stem
from medres.models.resnet import GrayscaleResNet

R1 = [("duplicate", "equal"), ("port", "sum"), ("adapter", "ones")]
R0 = [("duplicate", "imagenet"), ("port", "imagenet"), ("adapter", "imagenet")]


def network_of(stem: str, init: str, depth: int = 18, num_outputs: int = 3) -> GrayscaleResNet:
    statistics = {"display_mean": 0.4, "display_std": 0.2} if init == "imagenet" else {}
    torch.manual_seed(0)
    return GrayscaleResNet(depth, stem, num_outputs, stem_init=init, **statistics)


def trained_adapter(as_if_trained, bias: tuple[float, ...] | None = None) -> GrayscaleResNet:
    network = as_if_trained(network_of("adapter", "imagenet" if bias else "ones").double())
    with torch.no_grad():
        weight = network.stem.conv.weight
        weight.copy_(weight.new_tensor([0.8, 1.3, -0.4]).view(3, 1, 1, 1))
        if bias:
            network.stem.conv.bias.copy_(torch.tensor(bias))
    return network


@torch.no_grad()
def difference(found: nn.Module, expected: nn.Module, side: tuple[int, int] = (41, 30)) -> float:
    """Of the logits, and of conv1 at every site, borders included; relative."""
    image = torch.randn(2, 1, *side, generator=torch.Generator().manual_seed(4)).double()
    pairs = [
        (found(image), expected(image)),
        *[tuple(n.backbone.conv1(n.stem(image)) for n in (found, expected))],
    ]
    return max(float((f - e).abs().max() / e.abs().max()) for f, e in pairs)


@pytest.mark.parametrize(
    ("stem", "init"), [(stem, init) for stem, inits in STEM_INITS.items() for init in inits]
)
def test_every_stem_folds_into_conv1_exactly(stem, init, as_if_trained):
    network = as_if_trained(network_of(stem, init).double())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_stem(network)
    channels = 2 if init == "imagenet" else 1
    assert folded.backbone.conv1.weight.shape == (64, channels, 7, 7)
    assert folded.stem_start.stem == "port"
    assert not list(folded.stem.parameters())
    assert not folded.training
    assert difference(folded, network) < 1e-10
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("depth", [34, 50, 101, 152])
def test_deeper_networks_fold(depth, as_if_trained):
    for stem, init in (("adapter", "third"), ("adapter", "imagenet")):
        network = as_if_trained(network_of(stem, init, depth).double())
        assert difference(fold_stem(network), network) < 1e-10


def test_network_in_float32_folds_within_its_precision(as_if_trained):
    network = as_if_trained(network_of("adapter", "imagenet", num_outputs=1000))
    folded = fold_stem(network)
    assert folded.backbone.conv1.weight.dtype == torch.float32
    image = torch.randn(2, 1, 45, 38)
    with torch.no_grad():
        found, expected = folded(image), network(image)
    assert (found - expected).abs().max() / expected.abs().max() < 5e-6


def test_adapter_trained_without_bias_folds_into_one_channel(as_if_trained):
    network = trained_adapter(as_if_trained)
    folded = fold_stem(network)
    kernels = network.backbone.conv1.weight
    expected = 0.8 * kernels[:, 0] + 1.3 * kernels[:, 1] - 0.4 * kernels[:, 2]
    torch.testing.assert_close(folded.backbone.conv1.weight[:, 0], expected, rtol=1e-9, atol=1e-12)
    assert difference(folded, network) < 1e-10


def test_adapter_with_a_bias_folds_into_two_channels_only(as_if_trained):
    network = trained_adapter(as_if_trained, bias=(0.3, -0.2, 0.1))
    folded = fold_stem(network)
    assert folded.stem_start.init == "imagenet"
    assert difference(folded, network) < 1e-10
    for stem, init in R1:
        with pytest.raises(WeightsError, match=r"cannot take over an adapter's bias .*border"):
            convert_stem(network, stem, init)


def test_adapter_whose_bias_is_zero_folds_into_one_channel(as_if_trained):
    network = trained_adapter(as_if_trained, bias=(0.0, 0.0, 0.0))
    assert fold_stem(network).backbone.conv1.in_channels == 1


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(R1, 2)))
def test_r1_stems_convert_into_each_other(source, target, as_if_trained):
    network = as_if_trained(network_of(*source).double())
    converted = convert_stem(network, *target)
    assert (converted.stem_start.stem, converted.stem_start.init) == target
    assert difference(converted, network) < 1e-10


@pytest.mark.parametrize(("source", "target"), [(R0[0], R0[2]), (R0[2], R0[0]), (R0[2], R0[1])])
def test_r0_stems_convert_into_each_other(source, target, as_if_trained):
    network = as_if_trained(network_of(*source).double())
    assert difference(convert_stem(network, *target), network) < 1e-10


def test_two_channels_do_not_unfold(as_if_trained):
    network = as_if_trained(network_of("port", "imagenet").double())
    for stem in ("duplicate", "adapter"):
        with pytest.raises(WeightsError, match=r"conv1 takes a channel of ones.*give stem 'port'"):
            convert_stem(network, stem, "imagenet")


def test_fold_at_a_precision_that_loses_the_function_is_refused(as_if_trained):
    network = as_if_trained(network_of("adapter", "imagenet")).to(torch.bfloat16)
    with pytest.raises(WeightsError, match=r"differs from the original's by .*use the original"):
        fold_stem(network)


def test_fold_of_a_stem_that_is_not_medres_own_is_refused(as_if_trained):
    network = as_if_trained(network_of("duplicate", "equal").double())
    network.stem = nn.Sequential(network.stem, nn.Tanh())
    with pytest.raises(WeightsError, match=r"differs from the original's by .* in float64"):
        fold_stem(network)
    network.stem = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 3, 1)).double()
    with pytest.raises(WeightsError, match=r"stem: stem.0.weight, .* medres does not know"):
        fold_stem(network)


def test_fold_of_a_network_that_holds_no_numbers_is_refused(as_if_trained):
    network = as_if_trained(network_of("adapter", "ones"))
    with torch.no_grad():
        network.backbone.layer4[1].conv2.weight.fill_(torch.nan)
    with pytest.raises(WeightsError, match="differs from the original's by nan"):
        fold_stem(network)
