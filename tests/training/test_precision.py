import pytest
import torch
from torch import nn

from medres.errors import ConfigError
from medres.training.precision import (
    AutocastInferer,
    describe_device,
    resolve_device,
    resolve_precision,
)


def test_auto_device_is_one_that_computes() -> None:
    device = resolve_device("auto")
    assert torch.ones(2, device=device).sum() == 2


@pytest.mark.parametrize("name", ["cuda:99", "abacus"])
def test_device_that_is_not_there_names_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"device: '{name}' is not there; .* cpu, or give auto"):
        resolve_device(name)


def test_asked_for_precision_is_kept_and_auto_resolves() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"
    assert resolve_precision("auto", cpu) in ("fp32", "bf16")


def test_bf16_inferer_computes_in_bf16_and_gives_float32() -> None:
    class Remember(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = self.linear(x)
            return self.seen

    network, x = Remember(), torch.randn(3, 4)
    assert AutocastInferer("bf16")(x, network).dtype == torch.float32
    assert network.seen.dtype == torch.bfloat16
    assert torch.equal(AutocastInferer("fp32")(x, network), network.linear(x))


def test_cpu_is_described_with_its_threads() -> None:
    assert describe_device(torch.device("cpu")) == f"cpu ({torch.get_num_threads()} threads)"
