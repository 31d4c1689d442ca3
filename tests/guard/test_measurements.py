import math

import guarded_model
import pytest
import torch

from medres.data.normalization import IntensityStatistics
from medres.guard.measurements import (
    LAYERS,
    Measurements,
    input_limits,
    measure_pixels,
    measuring,
)
from medres.models.ensemble import ResNetEnsemble
from medres.models.resnet import GrayscaleResNet


@pytest.fixture(scope="module")
def network() -> GrayscaleResNet:
    return guarded_model.build_network()


@torch.no_grad()
def test_listening_leaves_the_logits_as_they_are_and_ends_with_the_block(network) -> None:
    images = guarded_model.anatomy(4, 0)
    plain = network(images)
    with measuring(network, (-2.0, 3.0)):
        assert torch.equal(network(images), plain)
    hooks = [module._forward_hooks for module in network.modules()]
    assert not any(hooks)


@torch.no_grad()
def test_layers_are_the_channel_means_behind_each_block(network) -> None:
    images = guarded_model.anatomy(4, 0)
    measured = guarded_model.measure(network, images)
    assert {n: v.shape[1] for n, v in measured.parts.items()} == {
        "pixels": 14,
        "outline": 256,
        "layer1": 64,
        "layer2": 128,
        "layer3": 256,
        "layer4": 512,
    }
    features = network.backbone.maxpool(
        network.backbone.relu(network.backbone.bn1(network.backbone.conv1(images)))
    )
    for name in LAYERS:
        features = network.backbone.get_submodule(name)(features)
        torch.testing.assert_close(
            measured.parts[name], features.mean(dim=(2, 3)).double(), rtol=1e-4, atol=1e-5
        )
    assert all(values.dtype == torch.float64 for values in measured.parts.values())


def test_outline_is_the_image_in_sixteen_squares_a_side() -> None:
    images = torch.zeros(1, 1, 32, 32)
    images[0, 0, 2:4, 6:8] = 1.0
    measured = guarded_model.measure(guarded_model.build_network(), images)
    expected = torch.zeros(16, 16, dtype=torch.float64)
    expected[1, 3] = 1.0
    assert torch.equal(measured.parts["outline"][0].reshape(16, 16), expected)


def test_pixels_of_a_hand_worked_image() -> None:
    image = torch.tensor([[0.0, 1.0] * 4, [0.0, 1.0] * 4] * 4)[None, None]  # eight columns
    found = measure_pixels(image, (0.0, 1.0))[0]
    # quantiles .02 .1 .25 .4 of 32 zeros and 32 ones, .5 between them, .6 .75 .9 .98
    assert found[:9].tolist() == [0.0] * 4 + [0.5] + [1.0] * 4
    assert found[9:11].tolist() == [0.5, 0.5]  # at the lower, at the upper limit
    assert found[11].item() == pytest.approx(math.log((0 + 1) / 2 + 1e-4))  # rows equal
    assert found[12].item() == pytest.approx(math.log(1e-4))  # columns averaged in pairs
    assert found[13].item() == pytest.approx(math.log(1e-4))


def test_quantiles_are_of_brightness_and_what_is_near_a_limit_counts_as_clipped() -> None:
    ramp = torch.arange(121.0).reshape(1, 1, 11, 11)  # the quantile q is 120 q
    found = measure_pixels(ramp, (1.0, 119.0))[0]
    quantiles = [2.4, 12.0, 30.0, 48.0, 60.0, 72.0, 90.0, 108.0, 117.6]
    assert found[:9].tolist() == pytest.approx(quantiles)
    assert found[9:11].tolist() == pytest.approx([2 / 121, 2 / 121])  # 0 and 1; 119 and 120
    near = torch.tensor([[-1.996, -1.994, 2.994, 2.996]]).repeat(4, 1)[None, None]  # .005 apart
    assert measure_pixels(near, (-2.0, 3.0))[0, 9:11].tolist() == [0.25, 0.25]


def test_of_a_large_image_every_second_row_and_column_is_looked_at() -> None:
    image = torch.zeros(128, 128)  # two grids of 64; odd rows stay dark
    image[::2, 64:] = 0.5
    image[::2, 1::2] = 1.0  # odd columns, which quantiles and shares pass over
    found = measure_pixels(image[None, None], (0.0, 1.0))[0]
    assert found[:9].tolist() == [0.0] * 4 + [0.25] + [0.5] * 4
    assert found[9:11].tolist() == [0.5, 0.0]
    # Of even columns, down: no step in 32 of 64, .5 in the others. Of even rows, to the right: 63
    # steps of 1 in the left half, then 64 of .5.
    contrast = (0.25 + (63 + 32) / 127) / 2
    assert found[11].item() == pytest.approx(math.log(contrast + 1e-4))


def test_limits_are_those_of_the_normalised_input() -> None:
    statistics = IntensityStatistics(0.0, 1.0, 0.4, 0.2, (0.1, 99.9), 10, 5, 1000)
    assert input_limits(statistics) == pytest.approx((-2.0, 3.0))


@torch.no_grad()
def test_of_an_ensemble_the_first_member_is_measured_on_its_own_input(network) -> None:
    ensemble = ResNetEnsemble([network.arguments(), network.arguments()]).eval()
    ensemble.members[0].load_state_dict(network.state_dict())
    ensemble.set_inputs((0.0, 1.0, 0.5, 0.25), [(0.0, 1.0, 0.4, 0.2), (0.1, 0.9, 0.4, 0.2)])
    pixels = torch.rand(3, 1, 32, 32)
    found = guarded_model.measure(ensemble, (pixels - 0.5) / 0.25)
    own = guarded_model.measure(network, (pixels - 0.4) / 0.2)
    for name, values in own.parts.items():
        torch.testing.assert_close(found.parts[name], values, rtol=1e-4, atol=1e-4)


def test_measurements_are_chosen_and_joined_by_image(network) -> None:
    measured = guarded_model.measure(network, guarded_model.anatomy(5, 0))
    assert len(measured) == 5
    again = Measurements.cat([measured[:2], measured[torch.tensor([2, 3, 4])]])
    assert all(torch.equal(again.parts[name], measured.parts[name]) for name in measured.parts)
