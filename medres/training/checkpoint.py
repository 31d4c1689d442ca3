"""The state of a run: when it is written, whole or not at all, and loaded without running code."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medres.errors import BundleError
from medres.files import written_whole


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Save tensors and plain values; a process killed meanwhile leaves the last whole state."""
    with written_whole(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load what `save_checkpoint` wrote, onto the CPU.

    Raises:
        BundleError: not a file of tensors and plain values, or a damaged one.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what zip, pickle and the file system raise
        raise BundleError(
            f"{path}: not a checkpoint of tensors and plain values ({type(error).__name__}); "
            "give a run folder whose checkpoints are whole, or a new one"
        ) from error
    return state


class CheckpointClock:
    """When the state is written within an epoch: after so many minutes, or at every so many steps.

    Args:
        minutes: since the last state was written; 0 for never.
        steps: at multiples of so many optimizer steps; 0 for never.
    """

    def __init__(self, minutes: float, steps: int) -> None:
        self.minutes, self.steps = minutes, steps
        self.restart()

    def restart(self) -> None:
        """A state has just been written, or a run begins."""
        self.written = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether to write now, after optimizer step number `step`, from 1."""
        if self.steps and step % self.steps == 0:
            return True
        return 0 < self.minutes <= (time.monotonic() - self.written) / 60


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """PyTorch's generators of the CPU and of the device.

    No layer here draws from them, and images draw from (seed, epoch, index); but one may come to.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Go on from what `random_state` gave; on another device, from its CPU part."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
