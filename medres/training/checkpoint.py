"""The state of a run after an epoch: whole on disk or absent, and loaded without running code."""

from __future__ import annotations

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
