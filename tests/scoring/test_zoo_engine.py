"""What becomes of images that a bundle's network fails on."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medres.bundle.chain_reader import ChainInput
from medres.errors import ConfigError
from medres.scoring.pictures import Facts, Planned
from medres.scoring.run import Settings
from medres.scoring.zoo import ZooEngine

FULL = torch.OutOfMemoryError("CUDA out of memory")


@dataclass
class Network:
    """Stands in for a bundle: an error for an image that begins with 1, and NaN for 2."""

    error: Exception
    input_shape: tuple[int, ...] = (1, 4, 4)
    digest: str = "ab" * 32
    title: str = "Shapes 1"

    def predict(self, images: torch.Tensor, *_: object) -> torch.Tensor:
        first = images[:, 0, 0, 0]
        if (first == 1).any():
            raise self.error
        return torch.where(first == 2, torch.nan, 0.25)[:, None].double()


def outcomes(error: Exception, firsts: list[int], side: int = 4) -> dict[str, str]:
    """Status, or why not, of images by their name."""
    scratch: Any = SimpleNamespace()
    engine = ZooEngine(Network(error), Settings(), scratch, scratch)  # type: ignore[arg-type]
    batch = []
    for number, first in enumerate(firsts):
        pixels = np.full((1, side, side), first, np.float32)
        planned = Planned(number, 0, f"{number}", "", "", None, False, 0, 0, Facts())
        batch.append((planned, ChainInput(pixels, "", False)))
    return {o["image"]: o.get("reason", o["status"]) for o in engine._forward(batch)}


def test_image_that_the_network_fails_on_costs_no_other() -> None:
    found = outcomes(RuntimeError("shape"), [0, 1, 0, 2, 0])
    assert found == {
        **dict.fromkeys("024", "scored"),
        **dict.fromkeys("13", "decode_failed"),
    }


def test_image_too_large_for_the_device_is_rejected_alone() -> None:
    assert outcomes(FULL, [0, 1, 0], side=5) == {"0": "scored", "1": "too_large", "2": "scored"}


def test_device_without_room_for_a_pass_ends_the_run() -> None:
    message = "device: cpu has no memory for 16 images at once of Shapes 1; give another"
    with pytest.raises(ConfigError, match=message):
        outcomes(FULL, [0, 1])


def test_device_that_has_failed_ends_the_run() -> None:
    with pytest.raises(RuntimeError, match="CUDA error: unspecified launch failure"):
        outcomes(RuntimeError("CUDA error: unspecified launch failure"), [1], side=5)
