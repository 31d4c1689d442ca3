import pytest
import torch
from torch import nn

from medres.errors import ConfigError
from medres.training import precision
from medres.training.precision import (
    AutocastInferer,
    describe_device,
    resolve_device,
    resolve_precision,
)


def test_auto_device_is_one_that_computes() -> None:
    device = resolve_device("auto")
    assert torch.ones(2, device=device).sum() == 2


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "meta"])
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


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_fp16_is_refused_where_nothing_computes_it(device: str) -> None:
    with pytest.raises(ConfigError, match=f"fp16 is not accepted on {device}; it needs a CUDA"):
        resolve_precision("fp16", torch.device(device))


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), "fp32"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
)
def test_auto_takes_what_a_gpus_tensor_cores_multiply(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert resolve_precision("auto", torch.device("cuda:0")) == expected


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16")],
)
def test_auto_takes_bf16_on_processors_that_multiply_it(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_precision("auto", torch.device("cpu")) == expected
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


def test_each_process_of_a_machine_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, nothing = [], torch.empty(0)

    def zeros(_: int, *, device: torch.device) -> torch.Tensor:
        asked.append(device)
        return nothing

    monkeypatch.setattr(precision, "world_size", lambda: 2)
    monkeypatch.setattr(precision, "local_rank", lambda: 1)
    monkeypatch.setattr(torch, "zeros", zeros)
    assert resolve_device("cuda") == torch.device("cuda:1")
    assert asked == [torch.device("cuda:1")]


def test_cpu_is_described_with_its_threads() -> None:
    assert describe_device(torch.device("cpu")) == f"cpu ({torch.get_num_threads()} threads)"
