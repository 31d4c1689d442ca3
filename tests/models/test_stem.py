"""Each stem against torchvision's own network, by the reference that it names.

R1: the normalised image z in three channels. R0: the image as displayed in three channels, then
ImageNet's normalisation of each. R2: z in three channels, tinted. Small and odd images have most of
conv1's sites at the border.
"""

import copy
import itertools

import pytest
import torch
from torch import nn

from medres.config import STEM_INITS
from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stem import StemStart, build_conv1, build_stem
from medres.models.weights import load_state

EXACT = {
    ("duplicate", "equal"): "R1",
    ("duplicate", "imagenet"): "R0",
    ("port", "sum"): "R1",
    ("port", "mean"): "R1",
    ("port", "luma"): "R2",
    ("port", "imagenet"): "R0",
    ("adapter", "ones"): "R1",
    ("adapter", "imagenet"): "R0",
    ("adapter", "third"): "R1",
}
SHRUNK = {("port", "bare_mean"), ("port", "bare_luma"), ("adapter", "bare_third")}
SIDES = [(28, 28), (64, 64), (45, 38), (17, 12), (7, 9), (224, 224)]
MEAN, STD = 0.41, 0.22  # of the data, in display units
CLASSES = 1000  # as ImageNet's


def normalised(gray: torch.Tensor) -> torch.Tensor:
    return (gray - MEAN) / STD


def rgb_image(reference: str, gray: torch.Tensor) -> torch.Tensor:
    """What the RGB network is shown."""
    like = {"dtype": gray.dtype}
    if reference == "R0":
        mean = torch.tensor([0.485, 0.456, 0.406], **like).view(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225], **like).view(3, 1, 1)
        return (gray.repeat(1, 3, 1, 1) - mean) / std
    tint = {"R1": [1.0, 1.0, 1.0], "R2": [3 * 0.2989, 3 * 0.5870, 3 * 0.1140]}[reference]
    return normalised(gray) * torch.tensor(tint, **like).view(3, 1, 1)


def statistics(init: str) -> dict[str, float]:
    return {"display_mean": MEAN, "display_std": STD} if init == "imagenet" else {}


def start_of(stem: str, init: str) -> StemStart:
    return StemStart(stem, init, **statistics(init))


def started(rgb: nn.Module, depth: int, stem: str, init: str) -> GrayscaleResNet:
    """A network of a stem with the RGB network's weights, in their precision."""
    state = rgb.state_dict()
    outputs, dtype = state["fc.weight"].shape[0], state["fc.weight"].dtype
    with torch.device("meta"):  # nothing drawn that is overwritten
        network = GrayscaleResNet(depth, stem, outputs, stem_init=init, **statistics(init))
    network = network.to_empty(device="cpu").to(dtype).eval()
    load_state(network, state)
    return network


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert 0.1 < expected.abs().max() < 1e5  # else the comparison would be of nothing
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


@torch.no_grad()
def logit_errors(rgb, depth, gray, combinations=tuple(EXACT)) -> dict[tuple[str, str], float]:
    expected = {r: rgb(rgb_image(r, gray)) for r in {EXACT[c] for c in combinations}}
    return {
        c: relative_error(started(rgb, depth, *c)(normalised(gray)), expected[EXACT[c]])
        for c in combinations
    }


def test_every_stem_and_start_is_tested() -> None:
    offered = {(stem, init) for stem, inits in STEM_INITS.items() for init in inits}
    assert offered == EXACT.keys() | SHRUNK
    assert {c: start_of(*c).reference for c in EXACT} == EXACT
    assert {start_of(*c).reference for c in SHRUNK} == {"none"}


@pytest.mark.parametrize("combination", EXACT)
@pytest.mark.parametrize("side", SIDES)
def test_conv1_sees_what_the_rgb_network_sees_at_every_site(
    combination, side, rgb_network, gray_image, double_precision
):
    conv1, start = rgb_network(18, CLASSES).conv1, start_of(*combination)
    gray = gray_image(*side)
    with torch.no_grad():
        expected = conv1(rgb_image(EXACT[combination], gray))
        found = build_conv1(conv1, start)(build_stem(start)(normalised(gray)))
    assert relative_error(found, expected) < 1e-14
    assert relative_error(found[..., 0, :], expected[..., 0, :]) < 1e-13  # one border alone


@pytest.mark.parametrize("side", [(28, 28), (45, 38), (64, 64)])
def test_stems_start_as_their_reference_in_float64(side, rgb_network, gray_image, double_precision):
    errors = logit_errors(rgb_network(18, CLASSES), 18, gray_image(*side))
    assert max(errors.values()) < 1e-10, errors


@pytest.mark.parametrize("side", [(28, 28), (45, 38), (64, 64)])
def test_stems_start_as_their_reference_in_float32(side, rgb_network, gray_image):
    errors = logit_errors(rgb_network(18, CLASSES), 18, gray_image(*side))
    assert max(errors.values()) < 5e-6, errors


@pytest.mark.parametrize("depth", [34, 50, 101, 152])
def test_deeper_networks_start_as_their_reference_in_float64(
    depth, rgb_network, gray_image, double_precision
):
    some = [("port", "sum"), ("port", "imagenet")]
    errors = logit_errors(rgb_network(depth, CLASSES), depth, gray_image(28, 33), some)
    assert max(errors.values()) < 1e-10, errors


@torch.no_grad()
def own_rounding(rgb: nn.Module, gray: torch.Tensor) -> float:
    """The RGB network in float32 against itself in float64, the worse of R0 and R1."""
    errors = []
    for reference in ("R0", "R1"):
        expected = rgb.double()(rgb_image(reference, gray.double()))
        found = rgb.float()(rgb_image(reference, gray.float())).double()
        errors.append(relative_error(found, expected))
    return max(errors)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_depth_and_stem_starts_as_its_reference(depth, dtype, rgb_network, gray_image):
    """In float32 no closer than the RGB network is to itself: each side rounds once."""
    rgb = rgb_network(depth, CLASSES)
    for side in ((33, 28), (64, 64), *([(224, 224)] if depth == 18 else [])):
        gray = gray_image(*side)
        limit = 1e-10 if dtype == torch.float64 else max(5e-6, 2 * own_rounding(rgb, gray))
        errors = logit_errors(rgb.to(dtype), depth, gray.to(dtype))
        assert max(errors.values()) < limit, errors


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
@torch.no_grad()
def test_float32_up_to_conv1_costs_little_at_every_depth(depth, rgb_network, gray_image):
    """What of float32 is the stem's: z, the stem and conv1 in it, all behind in float64."""
    rgb, gray = rgb_network(depth, CLASSES), gray_image(64, 64)
    exact = {r: rgb.double()(rgb_image(r, gray.double())) for r in ("R0", "R1", "R2")}
    for combination, reference in EXACT.items():
        network = started(rgb.float(), depth, *combination)
        seen = network.backbone.conv1(network.stem(normalised(gray.float())))
        behind = copy.deepcopy(network.backbone).double()
        behind.conv1 = nn.Identity()
        assert relative_error(behind(seen.double()), exact[reference]) < 5e-6, combination


@pytest.mark.parametrize("combination", [("duplicate", "equal"), ("adapter", "ones")])
def test_r1_on_three_channels_is_the_rgb_network_to_the_bit(combination, rgb_network, gray_image):
    rgb = rgb_network(18, CLASSES)
    with torch.no_grad():
        found = started(rgb, 18, *combination)(normalised(gray_image()))
        assert torch.equal(found, rgb(rgb_image("R1", gray_image())))


@pytest.mark.parametrize("combination", EXACT)
def test_stems_of_one_seed_agree_from_random_weights(combination, gray_image, double_precision):
    stem, init = combination
    torch.manual_seed(3)
    rgb = GrayscaleResNet(18, "duplicate", 4).eval().backbone
    torch.manual_seed(3)
    network = GrayscaleResNet(18, stem, 4, stem_init=init, **statistics(init)).eval()
    with torch.no_grad():
        found, expected = (
            network(normalised(gray_image())),
            rgb(rgb_image(EXACT[combination], gray_image())),
        )
    assert (found - expected).abs().max() / expected.abs().max() < 1e-10


@pytest.mark.parametrize("combination", SHRUNK)
def test_seeds_bare_stems_break_a_network_with_frozen_statistics(
    combination, rgb_network, gray_image, double_precision
):
    rgb = rgb_network(18, CLASSES)
    reference = "R2" if combination[1] == "bare_luma" else "R1"
    with pytest.warns(UserWarning, match="a third of the image's contrast"):
        network = started(rgb, 18, *combination)
    with torch.no_grad():
        found = network(normalised(gray_image()))
        expected = rgb(rgb_image(reference, gray_image()))
        tripled = network(3 * normalised(gray_image()))
    assert relative_error(found, expected) > 0.3
    assert relative_error(tripled, expected) < 1e-10  # it was shown a third of the image


def test_constant_behind_conv1_is_wrong_at_the_border_alone(
    rgb_network, gray_image, double_precision
):
    """Why R0 takes a channel of ones: 38 % of conv1's sites touch the border at 28, 5 % at 224."""
    conv1, start = rgb_network(18, CLASSES).conv1, start_of("port", "imagenet")
    kernels = start.kernels(conv1.weight.detach())
    for side, share in ((28, 0.383), (224, 0.053)):
        gray = gray_image(side, side)
        bias = kernels[:, 1].sum(dim=(1, 2))
        with torch.no_grad():
            found = nn.functional.conv2d(
                normalised(gray), kernels[:, :1], bias, stride=2, padding=3
            )
            wrong = (found - conv1(rgb_image("R0", gray))).abs().amax(dim=(0, 1)) > 1e-6
        assert wrong.double().mean().item() == pytest.approx(share, abs=1e-3)
        assert not wrong[2:-1, 2:-1].any()


def test_imagenet_start_shows_conv1_imagenets_own_pixels(gray_image, double_precision):
    channels = build_stem(start_of("adapter", "imagenet"))(normalised(gray_image()))
    torch.testing.assert_close(channels, rgb_image("R0", gray_image()), rtol=0, atol=1e-14)


@pytest.mark.parametrize("combination", EXACT)
def test_stem_computes_the_same_in_channels_last(combination, rgb_network, gray_image):
    network, image = started(rgb_network(18, CLASSES), 18, *combination), normalised(gray_image())
    with torch.no_grad():
        expected = network(image)
        network = network.to(memory_format=torch.channels_last)
        found = network(image.contiguous(memory_format=torch.channels_last))
    assert relative_error(found, expected) < 5e-6


def test_duplicate_channel_makes_no_copy() -> None:
    image = torch.rand(2, 1, 4, 5)
    tripled = build_stem(StemStart("duplicate"))(image)
    assert tripled.shape == (2, 3, 4, 5)
    assert tripled.data_ptr() == image.data_ptr()
    assert tripled.stride(1) == 0


def test_adapter_learns_what_the_fixed_normalisation_does_not() -> None:
    def parameters(stem: str) -> list[str]:
        return [name for name, _ in build_stem(start_of(stem, "imagenet")).named_parameters()]

    assert parameters("adapter") == ["conv.weight", "conv.bias"]
    assert parameters("duplicate") == parameters("port") == []


def test_auto_is_r1_for_every_stem() -> None:
    inits = {stem: StemStart(stem).init for stem in STEM_INITS}
    assert inits == {"duplicate": "equal", "port": "sum", "adapter": "ones"}


def test_stem_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stem: 'gray' is not accepted; give one of duplicate"):
        StemStart("gray")


def test_start_of_another_stem_is_refused_with_what_this_stem_takes() -> None:
    inits = {init for known in STEM_INITS.values() for init in known}
    for stem, init in itertools.product(STEM_INITS, inits):
        if init not in STEM_INITS[stem]:
            with pytest.raises(ConfigError) as caught:
                start_of(stem, init)
            assert str(caught.value) == (
                f"stem_init: {init!r} is not accepted with stem {stem!r}; give one of "
                f"{', '.join(STEM_INITS[stem])}, or auto"
            )


@pytest.mark.parametrize("values", [(None, None), (0.5, None), (0.5, 0.0), (0.5, float("nan"))])
def test_imagenet_start_without_statistics_is_refused(values) -> None:
    with pytest.raises(ConfigError, match=r"needs display_mean and display_std above 0.*found"):
        StemStart("adapter", "imagenet", *values)


def test_other_starts_with_statistics_are_refused() -> None:
    with pytest.raises(ConfigError, match="'sum' takes no display_mean and display_std; leave the"):
        StemStart("port", "auto", 0.5, 0.2)
