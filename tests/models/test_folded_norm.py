import pytest
import torch
from torch import nn

from medres.models.ensemble import ResNetEnsemble
from medres.models.folded_norm import fold_batch_norm
from medres.models.resnet import GrayscaleResNet


def trained_statistics(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("depth", "stem"), [(18, "port"), (18, "duplicate"), (18, "adapter"), (50, "port")]
)
def test_the_folded_network_computes_the_same_in_float64(depth: int, stem: str) -> None:
    torch.manual_seed(0)
    network = trained_statistics(GrayscaleResNet(depth, stem)).double()
    images = torch.randn(2, 1, 45, 38, dtype=torch.float64)
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-10, atol=1e-12)


def test_members_of_an_ensemble_are_folded_too() -> None:
    torch.manual_seed(0)
    members = [{"depth": 18, "stem": "port", "num_outputs": 1}] * 2
    network = trained_statistics(ResNetEnsemble(members, "binary"))
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 4, 16, 18])
def test_images_a_few_at_a_time_are_what_they_are_together(count: int) -> None:
    """And the largest result of a pass is a quarter of what conv1 gives of all of 16."""
    torch.manual_seed(0)
    network = trained_statistics(GrayscaleResNet(18, "port"))
    images = torch.randn(count, 1, 32, 32)
    few = fold_batch_norm(network).backbone.conv1
    sizes = []
    few[0].register_forward_hook(lambda _, __, out: sizes.append(len(out)))
    conv1, relu, pool = few
    with torch.no_grad():
        torch.testing.assert_close(few(images), pool(relu(conv1(images))), rtol=1e-6, atol=1e-6)
    assert sizes[:-1] == [4] * (count // 4) + [count % 4] * (count % 4 > 0)
