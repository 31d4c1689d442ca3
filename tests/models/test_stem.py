"""One function at the start: each stem against torchvision's network on the duplicated image.

The reference is R1 (the same normalised value z in three channels) unless a test says R0 (the gray
image duplicated, then ImageNet's own normalisation per channel). Images are small and of odd
sides, so that most of conv1's sites touch the border.
"""

import pytest
import torch

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stem import (
    ChannelAdapter,
    DuplicateChannel,
    build_stem,
    fold_adapter,
    port_conv1,
    port_kernels,
    spread_kernels,
)

STEMS = ("duplicate", "port", "adapter")
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert expected.abs().max() > 0.1  # else the comparison would be of nothing
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def gray_image(height: int = 45, width: int = 38) -> torch.Tensor:
    return torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(1))


def largest_error(depth, rgb_network, with_random_norms) -> float:
    """The worst stem of a depth against torchvision's network."""
    image = gray_image()
    with torch.no_grad():
        expected = rgb_network(depth)(image.repeat(1, 3, 1, 1))
        errors = []
        for stem in STEMS:
            torch.manual_seed(0)
            network = with_random_norms(GrayscaleResNet(depth, stem, 3))
            errors.append(relative_error(network(image), expected))
    return max(errors)


@pytest.mark.parametrize("depth", [18, 50])
def test_stems_start_as_the_rgb_network_in_float64(
    depth, rgb_network, with_random_norms, double_precision
):
    assert largest_error(depth, rgb_network, with_random_norms) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("depth", [34, 101, 152])
def test_stems_of_other_depths_start_as_the_rgb_network_in_float64(
    depth, rgb_network, with_random_norms, double_precision
):
    assert largest_error(depth, rgb_network, with_random_norms) < 1e-10


@pytest.mark.parametrize("depth", [18, 50])
def test_stems_start_as_the_rgb_network_in_float32(depth, rgb_network, with_random_norms):
    assert largest_error(depth, rgb_network, with_random_norms) < 5e-6


@pytest.mark.parametrize("stem", ["duplicate", "adapter"])
def test_stem_of_three_channels_is_the_rgb_network_to_the_bit(stem, rgb_network, with_random_norms):
    reference = rgb_network(18)
    torch.manual_seed(0)
    network = with_random_norms(GrayscaleResNet(18, stem, 3))
    with torch.no_grad():
        assert torch.equal(network(gray_image()), reference(gray_image().repeat(1, 3, 1, 1)))


def test_port_equals_the_rgb_conv1_at_every_site_borders_included(rgb_network, double_precision):
    conv1 = rgb_network(18).conv1
    image = gray_image(17, 12)
    expected = conv1(image.repeat(1, 3, 1, 1))
    assert relative_error(port_conv1(conv1)(image), expected) < 1e-14


def test_port_by_the_mean_would_break_a_network_with_frozen_statistics(
    rgb_network, with_random_norms, double_precision
):
    reference = rgb_network(18)
    torch.manual_seed(0)
    network = with_random_norms(GrayscaleResNet(18, "port", 3))
    with torch.no_grad():
        network.backbone.conv1.weight.div_(3)
        error = relative_error(network(gray_image()), reference(gray_image().repeat(1, 3, 1, 1)))
    assert error > 0.02  # why port sums: the test above would see a mean


def test_imagenet_adapter_starts_as_imagenet_normalisation_r0(
    rgb_network, with_random_norms, double_precision
):
    mean, std = 0.42, 0.19
    reference = rgb_network(18)
    torch.manual_seed(0)
    network = with_random_norms(
        GrayscaleResNet(
            18, "adapter", 3, adapter_init="imagenet", adapter_mean=mean, adapter_std=std
        )
    )
    gray = torch.rand(2, 1, 33, 29, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = reference((gray - IMAGENET_MEAN) / IMAGENET_STD)
        found = network((gray - mean) / std)
    assert relative_error(found, expected) < 1e-10


def test_folded_adapter_equals_adapter_and_conv1(rgb_network, double_precision):
    conv1 = rgb_network(18).conv1
    adapter = ChannelAdapter()
    with torch.no_grad():
        adapter.conv.weight.copy_(torch.tensor([0.7, -0.2, 1.4]).view(3, 1, 1, 1))
        image = gray_image(15, 21)
        expected = conv1(adapter(image))
        conv1.weight.copy_(fold_adapter(conv1.weight, adapter.conv.weight))
        assert relative_error(conv1(image.repeat(1, 3, 1, 1)), expected) < 1e-14


def test_spread_kernels_undo_ported_ones_on_equal_channels(double_precision):
    kernels = torch.randn(4, 1, 7, 7)
    assert torch.allclose(port_kernels(spread_kernels(kernels)), kernels, rtol=1e-15, atol=0)


def test_ported_kernels_of_half_precision_are_summed_and_kept_in_float32():
    kernels = torch.tensor([1.0, 2.0**-11, 2.0**-12]).half().view(1, 3, 1, 1)
    assert port_kernels(kernels).dtype == torch.float32
    assert port_kernels(kernels).item() == 1 + 2.0**-11 + 2.0**-12


def test_duplicate_channel_makes_no_copy():
    image = torch.rand(2, 1, 4, 5)
    tripled = DuplicateChannel()(image)
    assert tripled.shape == (2, 3, 4, 5)
    assert tripled.data_ptr() == image.data_ptr()
    assert tripled.stride(1) == 0


@pytest.mark.parametrize("stem", STEMS)
def test_stem_computes_the_same_in_channels_last(stem, with_random_norms):
    torch.manual_seed(0)
    network = with_random_norms(GrayscaleResNet(18, stem, 3))
    with torch.no_grad():
        expected = network(gray_image())
        network = network.to(memory_format=torch.channels_last)
        found = network(gray_image().contiguous(memory_format=torch.channels_last))
    assert relative_error(found, expected) < 5e-6


def test_stem_of_another_name_is_refused():
    with pytest.raises(ConfigError, match=r"stem: 'gray' is not accepted; give one of duplicate"):
        build_stem("gray")


def test_adapter_of_another_start_is_refused():
    with pytest.raises(ConfigError, match="adapter_init: 'third' is not accepted"):
        build_stem("adapter", "third")


def test_imagenet_adapter_without_statistics_is_refused():
    with pytest.raises(ConfigError, match=r"needs adapter_mean and adapter_std .* found 0.5 and 0"):
        build_stem("adapter", "imagenet", 0.5, 0.0)


def test_adapter_of_ones_with_statistics_is_refused():
    with pytest.raises(ConfigError, match="'ones' takes no adapter_mean and adapter_std"):
        build_stem("adapter", "ones", 0.5, 0.2)


def test_adapter_arguments_for_another_stem_are_refused():
    with pytest.raises(ConfigError, match="stem: 'port' has no adapter"):
        build_stem("port", "imagenet", 0.5, 0.2)
