"""Which device computes, and in which number format."""

from __future__ import annotations

from typing import Any, Literal

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from medres.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """The device of that name; `auto` takes the first of cuda, mps and cpu that is there.

    Raises:
        ConfigError: no such device, or none of that kind on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device: {name!r} is not there; this machine has {_devices()}, or give auto"
        ) from error
    return device


def _devices() -> str:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join([*cuda, *mps, "cpu"])


def describe_device(device: torch.device) -> str:
    """A device's name for people and records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)" if device.type == "cpu" else "mps"


def resolve_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """What `auto` means on a device: bf16 where the hardware multiplies it natively."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    if device.type == "cpu":
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return "bf16" if native() else "fp32"
    return "fp32"


class AutocastInferer(SimpleInferer):
    """MONAI's `SimpleInferer` under bf16 autocast, on any device; logits come out in float32.

    MONAI's own `amp=True` reaches CUDA alone.
    """

    def __init__(self, precision: Literal["fp32", "bf16"]) -> None:
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Logits of a batch, float32."""
        with torch.autocast(
            inputs.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        ):
            logits: Tensor = super().__call__(inputs, network, *args, **kwargs)
        return logits.float()
