"""Which device computes, and in which number format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from medres.errors import ConfigError
from medres.training.distributed import local_rank, world_size

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ComputePrecision = Literal["fp32", "bf16", "fp16"]
AUTOCAST: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """The device of that name; `auto` takes the first of cuda, mps and cpu that is there.

    Of several processes on a machine each takes a GPU of its own.

    Raises:
        ConfigError: no such device, or none of that kind on this machine.
    """
    if name == "auto":
        name = _first_device()
    if name == "cuda" and world_size() > 1:
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # of "meta" there is nothing to be had
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device: {name!r} is not there; this machine has {_devices()}, or give auto"
        ) from error
    return device


def _first_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _devices() -> str:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join([*cuda, *mps, "cpu"])


def describe_device(device: torch.device) -> str:
    """A device's name for people and records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)" if device.type == "cpu" else "mps"


def resolve_precision(precision: Precision, device: torch.device) -> ComputePrecision:
    """The number format of the forward pass on a device.

    `auto` is bf16 where the device multiplies it natively: CPUs with AVX512_BF16 or AMX, GPUs from
    compute capability 8.0 (Ampere). Elsewhere bf16 is emulated and slower than fp32. GPUs from 7.0
    (Volta, Turing) have tensor cores for fp16 alone, and get that. All else, MPS included, computes
    in fp32.

    Raises:
        ConfigError: fp16 on a device other than CUDA.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"training.precision: fp16 is not accepted on {device.type}; it needs a CUDA device, "
            "whose tensor cores are what makes it fast; give bf16, fp32 or auto"
        )
    if precision != "auto":
        return precision
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """Whether this processor has AVX512_BF16 or AMX; False where PyTorch cannot tell."""
    return any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


class AutocastInferer(SimpleInferer):
    """MONAI's `SimpleInferer` under autocast, on any device; logits come out in float32.

    MONAI's own `amp=True` reaches CUDA alone.
    """

    def __init__(self, precision: ComputePrecision) -> None:
        super().__init__()
        self.precision = precision

    def __call__(self, inputs: Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Logits of a batch, float32."""
        narrow = AUTOCAST.get(self.precision)
        with torch.autocast(inputs.device.type, dtype=narrow, enabled=narrow is not None):
            logits: Tensor = super().__call__(inputs, network, *args, **kwargs)
        return logits.float()


class LossScaling:
    """Keeps fp16's gradients above its smallest numbers: a `GradScaler` in MONAI's trainer.

    MONAI makes a scaler of its own when a run begins, whose state no checkpoint has; this one takes
    its place. A step whose gradients overflow is left out, and the next is scaled less.

    Args:
        device: of the training.
    """

    def __init__(self, device: torch.device) -> None:
        self.scaler = torch.amp.GradScaler(device.type)

    def attach(self, engine: Engine) -> None:
        """Serve a `SupervisedTrainer`."""
        engine.add_event_handler(Events.STARTED, self._serve)

    def _serve(self, engine: Engine) -> None:
        engine.amp, engine.scaler = True, self.scaler
        engine.amp_kwargs = {"enabled": False}  # the inferer casts; the loss stays in float32

    def state_dict(self) -> dict[str, Any]:
        """The scale and how long it has held."""
        state: dict[str, Any] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a saved scale."""
        self.scaler.load_state_dict(dict(state))
