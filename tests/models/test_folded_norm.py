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
