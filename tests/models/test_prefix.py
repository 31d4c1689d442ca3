"""The frozen stages in front: no graph, the same values, and what is not frozen."""

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from medres.errors import ConfigError
from medres.models.prefix import frozen_prefix, run_from, run_stages
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGES, Stage, apply_stage_states

IMAGE = torch.randn(3, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def network(stem: str = "duplicate", open_stages: tuple[Stage, ...] = ("head",)) -> GrayscaleResNet:
    torch.manual_seed(0)
    built = GrayscaleResNet(18, stem, 2)
    apply_stage_states(built, open_stages, open_stages)
    return built.train()


@pytest.mark.parametrize("stem", ["duplicate", "port", "adapter"])
@pytest.mark.parametrize(
    ("open_stages", "prefix"),
    [
        (("head",), STAGES[:6]),
        (("layer4", "head"), STAGES[:5]),
        (("layer1", "layer2", "layer3", "layer4", "head"), STAGES[:2]),
        (("layer2", "head"), STAGES[:3]),
        (("conv1", "head"), STAGES[:1]),
        ((), STAGES[:6]),
    ],
)
def test_prefix_ends_before_the_first_stage_that_trains(stem, open_stages, prefix) -> None:
    assert frozen_prefix(network(stem, open_stages)) == prefix


def test_adapter_that_trains_leaves_no_prefix() -> None:
    assert frozen_prefix(network("adapter", ("adapter", "head"))) == ()


def test_prefix_is_counted_from_the_stage_that_is_asked_for() -> None:
    assert frozen_prefix(network(), "layer3") == ("layer3", "layer4")
    assert frozen_prefix(network(), "head") == ()


def test_batch_norm_that_follows_the_batch_ends_the_prefix() -> None:
    trained = network()
    trained.set_batch_norm_eval(["conv1", "layer1", "layer3", "layer4"])
    assert frozen_prefix(trained) == ("adapter", "conv1", "layer1")


def test_one_open_parameter_ends_the_prefix() -> None:
    trained = network()
    trained.backbone.layer2[0].bn1.bias.requires_grad_(True)
    assert frozen_prefix(trained) == ("adapter", "conv1", "layer1")


def outputs_with_a_graph(trained: GrayscaleResNet) -> list[str]:
    """The modules of a forward pass whose output hangs on a graph."""
    found: list[str] = []

    def note(name: str, output: torch.Tensor) -> None:
        if output.grad_fn is not None:
            found.append(name)

    for name, module in trained.named_modules():
        if name:
            module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
    trained(IMAGE)
    return found


@pytest.mark.parametrize("stem", ["duplicate", "port", "adapter"])
def test_frozen_prefix_has_no_graph(stem) -> None:
    found = outputs_with_a_graph(network(stem, ("layer4", "head")))
    assert found
    assert all(
        name.startswith(("backbone.layer4", "backbone.fc", "backbone.avg")) for name in found
    )
    assert outputs_with_a_graph(network(stem)) == ["backbone.fc"]


def test_gradient_of_the_image_has_its_graph() -> None:
    image = IMAGE.clone().requires_grad_(True)
    network()(image).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def plain(trained: GrayscaleResNet, image: torch.Tensor) -> torch.Tensor:
    return trained.backbone(trained.stem(image))


@pytest.mark.parametrize("stem", ["duplicate", "port", "adapter"])
@pytest.mark.parametrize("open_stages", [("head",), ("layer3", "layer4", "head"), STAGES[1:]])
def test_logits_and_gradients_are_those_of_the_plain_network(stem, open_stages) -> None:
    ours, twin = network(stem, open_stages), network(stem, open_stages)
    logits, expected = ours(IMAGE), plain(twin, IMAGE)
    assert torch.equal(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for (name, own), other in zip(ours.named_parameters(), twin.parameters(), strict=True):
        assert (own.grad is None) == (other.grad is None), name
        if own.grad is not None:
            assert torch.equal(own.grad, other.grad), name


def test_frozen_prefix_keeps_its_statistics() -> None:
    trained = network("port", ("layer4", "head"))
    before = copy.deepcopy(trained.state_dict())
    trained(IMAGE).sum().backward()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(
        module.training
        for module in trained.backbone.layer3.modules()
        if isinstance(module, _BatchNorm)
    )


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("start", STAGES[1:])
def test_network_goes_on_from_the_input_of_any_stage(depth, start) -> None:
    built = GrayscaleResNet(depth, "port", 2).eval()
    features = run_stages(built, IMAGE, "adapter", start)
    assert torch.equal(built(features, start), plain(built, IMAGE))
    assert torch.equal(run_from(built, features, start), plain(built, IMAGE))


def test_input_of_the_head_is_pooled() -> None:
    built = GrayscaleResNet(50, "duplicate").eval()
    assert run_stages(built, IMAGE, "adapter", "head").shape == (3, 2048)
    assert run_stages(built, IMAGE, "adapter", "layer4").shape == (3, 1024, 3, 3)


def test_start_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="stage: 'layer5' is not accepted; give some of adapter"):
        network()(IMAGE, "layer5")


def test_compiled_network_keeps_the_prefix_without_a_graph() -> None:
    trained = network("port", ("layer4", "head"))
    compiled = torch.compile(trained, backend="eager", fullgraph=True)
    logits = compiled(IMAGE)
    assert torch.equal(logits, plain(trained, IMAGE))
    logits.sum().backward()
    assert trained.backbone.layer4[0].conv1.weight.grad is not None
    assert trained.backbone.layer3[0].conv1.weight.grad is None
    apply_stage_states(trained, ("layer3", "layer4", "head"), ("layer3", "layer4", "head"))
    compiled(IMAGE).sum().backward()
    assert trained.backbone.layer3[0].conv1.weight.grad is not None
