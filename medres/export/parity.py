"""How far an exported program's probabilities are from the model's, and how far they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medres.export.program import Precision
from medres.metrics.ranking import auroc_tensor

LIMITS: dict[Precision, float] = {"fp32": 1e-4, "bf16": 0.01, "int8": 0.02}
"""Largest difference of a probability: fp32 is rounding, bf16 and int8 what a decision near a
threshold can bear. Measured: docs/export.md."""
AUROC_LIMIT = 0.002
"""Largest change of a finding's AUROC, in any precision."""


@dataclass(frozen=True)
class Parity:
    """Probabilities of a file beside the model's, on the same images.

    Attributes:
        images: how many.
        largest: |Δp| over all images and findings; infinite where a probability is NaN.
        mean: of |Δp|.
        auroc: of each finding the model's and the file's; only where labels define it.
    """

    images: int
    largest: float
    mean: float
    auroc: dict[str, tuple[float, float]]

    @property
    def auroc_change(self) -> float | None:
        """The largest change of a finding's AUROC; None where none is defined."""
        changes = [abs(found - own) for own, found in self.auroc.values()]
        return max(changes) if changes else None

    def refusal(self, precision: Precision) -> str:
        """Why a file of this precision is not accepted; empty where it is."""
        limit, change = LIMITS[precision], self.auroc_change
        if not self.largest <= limit:
            return (
                f"a probability differs by {self.largest:.2g} from the model's on {self.images} "
                f"images; {precision} may differ by {limit:g}"
            )
        if change is not None and not change <= AUROC_LIMIT:
            return (
                f"an AUROC changes by {change:.2g} on {self.images} images; it may change by "
                f"{AUROC_LIMIT:g}"
            )
        return ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": self.images,
            "largest_difference": self.largest,
            "mean_difference": self.mean,
            "auroc": {
                name: {"model": own, "file": found} for name, (own, found) in self.auroc.items()
            },
        }


def measure_parity(
    expected: NDArray[Any],
    found: NDArray[Any],
    findings: Sequence[str] = (),
    labels: NDArray[Any] | None = None,
) -> Parity:
    """Compare probabilities.

    Args:
        expected: (N, F) of the model.
        found: (N, F) of the file.
        findings: F names, with labels.
        labels: (N, F) in {0, 1, NaN}; None where there are none.
    """
    if found.shape != expected.shape:
        return Parity(len(expected), float("inf"), float("inf"), {})
    difference = np.abs(found.astype(np.float64) - expected)
    difference[np.isnan(difference)] = np.inf
    auroc: dict[str, tuple[float, float]] = {}
    if labels is not None and bool(np.isfinite(difference).all()):
        own, other = (auroc_tensor(labels, scores) for scores in (expected, found))
        auroc = {
            name: (float(own.value[index]), float(other.value[index]))
            for index, name in enumerate(findings)
            if bool(own.defined[index] & other.defined[index])
        }
    return Parity(len(expected), float(difference.max()), float(difference.mean()), auroc)


def worst(parities: Sequence[Parity]) -> Parity:
    """The one with the largest difference: of several ways of running the same images."""
    return max(parities, key=lambda parity: parity.largest)
