"""Grad-CAM: MONAI's as oracle, evidence at a known place, and a network left as it was."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.visualize import GradCAM
from monai.visualize.visualizer import default_upsampler
from scipy.stats import spearmanr
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medres.errors import ConfigError
from medres.models.ensemble import ResNetEnsemble
from medres.models.grad_cam import grad_cam
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGES, apply_stage_states, stage_modules
from medres.transforms.geometry import FitGeometryd, fit_square, unfit_square

pytestmark = pytest.mark.usefixtures("freed")

Trained = Callable[[nn.Module], nn.Module]

STEMS = [
    ("duplicate", "equal"),
    ("duplicate", "imagenet"),
    ("port", "sum"),
    ("port", "imagenet"),
    ("adapter", "ones"),
    ("adapter", "imagenet"),
]


def build(depth: int = 18, stem: str = "port", init: str = "auto", outputs: int = 3) -> nn.Module:
    torch.manual_seed(depth)
    statistics = {"display_mean": 0.45, "display_std": 0.2} if init == "imagenet" else {}
    network = GrayscaleResNet(depth, stem, outputs, stem_init=init, **statistics)
    nn.init.normal_(network.backbone.get_submodule("fc").weight)  # some cells for, some against
    return network


def monai_cells(network: nn.Module, image: torch.Tensor, finding: int) -> torch.Tensor:
    """MONAI's map before it is drawn, (B, 1, h, w), on a scale of which the largest is 1."""
    cells = GradCAM(network, "backbone.layer4").compute_map(image, class_idx=finding).detach()
    return on_unit_scale(cells)


def on_unit_scale(cells: torch.Tensor) -> torch.Tensor:
    return (cells / cells.amax(dim=(2, 3), keepdim=True)).nan_to_num()  # 0 / 0: nothing for it


def at_cells(heat: torch.Tensor) -> torch.Tensor:
    return heat[..., ::32, ::32]


@pytest.mark.parametrize(("stem", "init"), STEMS)
def test_every_stem_gives_monais_map(
    stem: str, init: str, as_if_trained: Trained, gray_image: Callable[..., torch.Tensor]
) -> None:
    network, image = as_if_trained(build(18, stem, init)), gray_image(100, 80)
    heats = [grad_cam(network, image, finding) for finding in range(3)]
    assert heats[0].shape == (2, 1, 100, 80)
    assert at_cells(heats[0]).shape == (2, 1, 4, 3)
    assert sum(float(heat.max()) for heat in heats) >= 1
    for finding, heat in enumerate(heats):
        assert torch.allclose(at_cells(heat), monai_cells(network, image, finding), atol=1e-5)


@pytest.mark.parametrize("depth", [34, 50, 101, 152])
def test_every_depth_gives_monais_map(
    depth: int, as_if_trained: Trained, gray_image: Callable[..., torch.Tensor]
) -> None:
    network, image = as_if_trained(build(depth)), gray_image(70, 40)
    heats = [grad_cam(network, image, finding) for finding in range(3)]
    assert sum(float(heat.max()) for heat in heats) >= 1
    for finding, heat in enumerate(heats):
        assert torch.allclose(at_cells(heat), monai_cells(network, image, finding), atol=1e-4)


def test_a_frozen_trunk_has_the_same_map_and_monais_fails_on_it(
    as_if_trained: Trained, gray_image: Callable[..., torch.Tensor]
) -> None:
    network, image = as_if_trained(build()), gray_image(70, 40)
    expected = grad_cam(network, image, 0)
    for trained in (("head",), ()):
        apply_stage_states(network, trained)
        assert torch.equal(grad_cam(network, image, 0), expected)
    with pytest.raises((IndexError, RuntimeError)):
        monai_cells(network, image, 0)


def state_of(network: nn.Module) -> list[object]:
    return [
        *((name, m.training, len(m._forward_hooks)) for name, m in network.named_modules()),
        *((n, p.requires_grad, p.grad is None) for n, p in network.named_parameters()),
    ]


def test_the_network_stays_as_it_was(gray_image: Callable[..., torch.Tensor]) -> None:
    network, image = build(), gray_image(40, 40)
    apply_stage_states(network, ("layer4", "head"), batch_norm_eval=("layer4",))
    network(image).sum().backward()
    network.train()
    network.backbone.get_submodule("layer3").eval()  # a mode that `train` alone would not restore
    state = state_of(network)
    grads = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    heat = grad_cam(network, image.requires_grad_(), 0)
    assert not heat.requires_grad
    assert image.grad is None
    assert state_of(network) == state
    assert all(torch.equal(p.grad, grads[n]) for n, p in network.named_parameters() if n in grads)
    assert all(torch.equal(tensors[n], tensor) for n, tensor in network.state_dict().items())
    with pytest.raises(ConfigError):
        grad_cam(network, image, 3)
    assert state_of(network) == state


def test_it_works_where_gradients_are_off(gray_image: Callable[..., torch.Tensor]) -> None:
    network, image = build(), gray_image(40, 40)
    expected = grad_cam(network, image, 0)
    with torch.inference_mode():
        assert torch.equal(grad_cam(network, image + 0, 0), expected)
    with torch.no_grad():
        assert torch.equal(grad_cam(network, image, 0), expected)


# --- evidence at a known place ---------------------------------------------------------------


def planted(depth: int = 18) -> nn.Module:
    """Brightness passes through the trunk unchanged: bright is finding 0, and dark is finding 1.

    Every residual branch is zero. Channel 0 carries relu(z), channel 1 relu(-z), in all layers.
    """
    network = GrayscaleResNet(depth, "port", 2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
            if isinstance(module, _BatchNorm):
                module.weight.fill_(1.0)
        conv1 = network.backbone.conv1.weight
        conv1[0], conv1[1] = 1 / 49, -1 / 49
        for name, module in network.named_modules():
            if name.endswith("downsample.0"):
                module.weight[0, 0], module.weight[1, 1] = 1.0, 1.0
        head = network.backbone.get_submodule("fc")
        head.weight.zero_()
        head.bias.zero_()
        head.weight[0, 0], head.weight[1, 1] = 1.0, 1.0
        head.weight[0, 1], head.weight[1, 0] = -1.0, -1.0
    return network.eval().requires_grad_(False)


def with_spots(bright: tuple[int, int], dark: tuple[int, int], shape: tuple[int, int]):
    """(1, 1, H, W): a bright and a dark Gaussian spot, 25 pixels wide, on zero."""
    rows, columns = torch.meshgrid(*(torch.arange(n).float() for n in shape), indexing="ij")
    spots = [
        torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 25**2))
        for row, column in (bright, dark)
    ]
    return (spots[0] - spots[1])[None, None]


def centroid(heat: torch.Tensor) -> tuple[float, float]:
    weights = heat.squeeze() / heat.sum()
    rows, columns = (torch.arange(n, dtype=weights.dtype) for n in weights.shape)
    return float(weights.sum(1) @ rows), float(weights.sum(0) @ columns)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize(("bright", "dark"), [((64, 160), (160, 50)), ((100, 75), (120, 190))])
def test_planted_evidence_is_found_where_it_is(
    depth: int, bright: tuple[int, int], dark: tuple[int, int]
) -> None:
    network, image = planted(depth), with_spots(bright, dark, (224, 224))
    for finding, place in enumerate((bright, dark)):
        heat = grad_cam(network, image, finding)
        assert float(heat.min()) == 0
        assert float(heat.max()) == 1
        # Half a cell, 16 pixels, is what a map stretched over the image is wrong by.
        assert centroid(heat) == pytest.approx(place, abs=6)


def test_where_nothing_speaks_for_a_finding_the_map_is_zero() -> None:
    heat = grad_cam(planted(), torch.full((1, 1, 64, 64), -1.0), 0)
    assert torch.equal(heat, torch.zeros(1, 1, 64, 64))


@pytest.mark.parametrize("geometry", ["pad", "crop", "squash"])
@pytest.mark.parametrize("shape", [(300, 500), (700, 448)])
def test_the_map_returns_to_the_images_own_rows_and_columns(
    geometry: str, shape: tuple[int, int]
) -> None:
    bright, dark = (shape[0] // 3, shape[1] // 2), (2 * shape[0] // 3, shape[1] // 2 + 40)
    image = with_spots(bright, dark, shape)[0]
    square = fit_square(image, 320, geometry, 0.0)
    for finding, place in enumerate((bright, dark)):
        heat = unfit_square(grad_cam(planted(), square[None], finding)[0], shape, geometry)
        assert heat.shape == (1, *shape)
        assert 0 <= float(heat.min()) <= float(heat.max()) <= 1
        row, column = divmod(int(heat.argmax()), shape[1])
        assert abs(row - place[0]) <= 20 * max(shape) / 320
        assert abs(column - place[1]) <= 20 * max(shape) / 320


def test_what_crop_cut_off_has_no_evidence() -> None:
    heat = unfit_square(torch.ones(1, 32, 32), (64, 200), "crop")
    assert heat[0, 32].nonzero().min() >= 66
    assert heat[0, 32].nonzero().max() <= 133


# --- weights matter --------------------------------------------------------------------------


def cascade(network: nn.Module) -> Iterator[str]:
    """New random weights for one stage after another, from the head down."""
    for stage in reversed(STAGES):
        for top in stage_modules(network, stage):
            for module in top.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        yield stage


def test_randomised_weights_change_the_map(
    as_if_trained: Trained, gray_image: Callable[..., torch.Tensor]
) -> None:
    # Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018, section 3: a map that stays as
    # it was while the weights are replaced shows the image's edges, not what was learnt.
    network, image = as_if_trained(build(18, "adapter")), gray_image(224, 224)
    before = [at_cells(grad_cam(network, image, finding)).flatten() for finding in range(3)]
    torch.manual_seed(1)
    likeness = {stage: max_correlation(network, image, before) for stage in cascade(network)}
    assert max(likeness.values()) < 0.7
    assert likeness["conv1"] < 0.5


def max_correlation(network: nn.Module, image: torch.Tensor, before: list[torch.Tensor]) -> float:
    """The largest |Spearman's rank correlation| of the three findings' maps with those before."""
    return max(
        abs(float(np.nan_to_num(spearmanr(old, heat).statistic)))
        for finding, old in enumerate(before)
        if (heat := at_cells(grad_cam(network, image, finding)).flatten()).unique().numel() > 1
    )


def test_randomised_weights_lose_planted_evidence() -> None:
    network, image = planted(), with_spots((64, 160), (160, 50), (224, 224))
    torch.manual_seed(2)
    for stage in cascade(network):
        if stage == "layer4":
            break
    assert centroid(grad_cam(network, image, 0)) != pytest.approx((64, 160), abs=16)


# --- ensembles and other networks ------------------------------------------------------------


@pytest.mark.parametrize("finding", [0, 1])
def test_an_ensemble_sums_what_its_members_see(
    finding: int, as_if_trained: Trained, gray_image: Callable[..., torch.Tensor]
) -> None:
    arguments = [{"depth": 18, "stem": stem, "num_outputs": 2} for stem in ("port", "adapter")]
    ensemble, image, temperatures = ResNetEnsemble(arguments), gray_image(96, 70), (1.5, 0.5)
    for member in ensemble.members:
        as_if_trained(member)
        nn.init.normal_(member.backbone.fc.weight, std=0.02)
        member.backbone.fc.weight.data[1] = -member.backbone.fc.weight.data[0]
    ensemble.temperature.copy_(torch.tensor(temperatures))
    # d logit(mean p) / d logit_k = p_k (1 - p_k) / (K p (1 - p)), and the head is linear.
    pairs = list(zip(ensemble.eval().members, temperatures, strict=True))
    p = torch.stack([(m(image)[:, finding] / t).sigmoid().detach() for m, t in pairs])
    mean, seen = p.mean(dim=0), torch.zeros(2, 1, 3, 3)
    for (member, t), own in zip(pairs, p, strict=True):
        net = member.backbone
        features = net.relu(net.bn1(net.conv1(member.stem(image))))
        features = net.layer4(net.layer3(net.layer2(net.layer1(net.maxpool(features)))))
        weighted = features * net.fc.weight[finding].view(1, -1, 1, 1)
        share = (own * (1 - own) / (2 * t * mean * (1 - mean))).view(-1, 1, 1, 1)
        seen += weighted.sum(dim=1, keepdim=True).detach() * share
    heat, expected = at_cells(grad_cam(ensemble, image, finding)), on_unit_scale(seen.relu())
    assert torch.allclose(heat, expected, atol=1e-4)


def small_network(inplace: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=4),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


class Pair(nn.Module):
    """Two networks beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = small_network(), small_network()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.first(image) + self.second(image)


def test_any_network_with_a_named_layer_is_drawn_as_monai_draws_it(
    gray_image: Callable[..., torch.Tensor],
) -> None:
    network, image = small_network(), gray_image(60, 44)
    largest = 0.0
    for finding in range(2):
        monais = GradCAM(small_network(inplace=False), "1")
        cells = monais.compute_map(image, class_idx=finding).detach()
        heat = grad_cam(network, image, finding, ["1"])
        assert torch.allclose(heat, on_unit_scale(default_upsampler((60, 44))(cells)), atol=1e-5)
        largest = max(largest, float(heat.max()))
    assert largest == 1


def test_half_precision_gives_a_map_of_float32(gray_image: Callable[..., torch.Tensor]) -> None:
    network, image = planted(), with_spots((30, 40), (60, 20), (80, 70))
    heat = grad_cam(network.bfloat16(), image.bfloat16(), 0)
    assert heat.dtype == torch.float32
    assert torch.allclose(heat, grad_cam(planted(), image, 0), atol=0.05)
    assert grad_cam(planted().double(), image.double(), 0).dtype == torch.float64


# --- in MONAI --------------------------------------------------------------------------------


def test_a_config_names_it_and_the_chain_brings_the_map_back() -> None:
    parts = ConfigParser(
        {
            "network": {"_target_": "medres.models.resnet.GrayscaleResNet", "depth": 18},
            "explain": {
                "_target_": "medres.models.grad_cam.grad_cam",
                "_mode_": "callable",
                "network": "@network",
                "finding": 0,
            },
        }
    )
    fit = FitGeometryd("image", 64, "pad")
    items = [fit({"image": MetaTensor(torch.rand(1, 50, 90))}) for _ in range(2)]
    batch = list_data_collate(items)
    heat = parts.get_parsed_content("explain")(image=batch["image"])
    assert isinstance(heat, MetaTensor)
    assert heat.shape == (2, 1, 64, 64)
    back = [fit.inverse(item)["image"] for item in decollate_batch({**batch, "image": heat})]
    assert [tuple(image.shape) for image in back] == [(1, 50, 90)] * 2


# --- errors ----------------------------------------------------------------------------------


def test_what_cannot_be_explained_is_refused() -> None:
    image = torch.zeros(1, 1, 40, 40)
    with pytest.raises(
        ConfigError, match="finding: 2 is not accepted; the network has 2 outputs, counted from 0"
    ):
        grad_cam(planted(), image, 2)
    with pytest.raises(ConfigError, match="finding: -1 is not accepted"):
        grad_cam(planted(), image, -1)
    with pytest.raises(ConfigError, match="Sequential holds no GrayscaleResNet; give the names"):
        grad_cam(small_network(), image, 0)
    with pytest.raises(ConfigError, match="layers: the network has no 'layer9'; give a module's"):
        grad_cam(small_network(), image, 0, ["layer9"])
    with pytest.raises(ConfigError, match="layers: not each of 0, 1 runs once and leads to the ou"):
        grad_cam(small_network(), image, 0, ["0", "1"])
    pair = Pair()
    with pytest.raises(ConfigError, match=r"maps of \(9, 9\), \(7, 7\) cells; give layers of equ"):
        grad_cam(pair, image, 0, ["first.0", "second.1"])
    with pytest.raises(ConfigError, match=r"expects images \(B, 1, H, W\)"):
        grad_cam(planted(), image.expand(1, 3, 40, 40), 0)
