"""How far an image lies from the training images: Mahalanobis, with a covariance of few numbers.

The covariance is that of probabilistic principal components: the leading directions keep their own
variance, all others share the mean of what is left. So it exists with fewer images than channels,
and needs no number to be tuned (Tipping & Bishop, J R Stat Soc B 61 (1999) 611-622, eqs. 7 and 8;
the Mahalanobis distance of features: Lee et al., NeurIPS 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

COMPONENTS = 32
LEAST_SPREAD = 0.01
"""Of a part's usual spread: what never varied in training still may, a little."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Distance:
    """Distance of one part's values from those of the training images.

    Attributes:
        mean: (D,) float64 of the training images.
        spread: (D,) their standard deviations, none of them 0.
        directions: (K, D) orthonormal, of standardised values.
        variances: (K,) along the directions.
        rest: (1,) variance along every other direction.
    """

    mean: Tensor
    spread: Tensor
    directions: Tensor
    variances: Tensor
    rest: Tensor

    @classmethod
    def fit(cls, values: Tensor) -> Distance:
        """Of training images' values (N, D), N at least 2."""
        n, d = values.shape
        spread = values.std(dim=0)
        floor = LEAST_SPREAD * spread.square().mean().sqrt() + TINY
        spread = spread.clamp_min(float(floor))
        mean = values.mean(dim=0)
        standardised = (values - mean) / spread
        k = max(1, min(COMPONENTS, (n - 1) // 4, d - 1))
        directions, variances = _leading(standardised, k)
        left = standardised.square().sum() / (n - 1) - variances.sum()
        rest = (left / (d - k)).clamp_min(LEAST_SPREAD**2)
        return cls(mean, spread, directions, variances.clamp_min(LEAST_SPREAD**2), rest[None])

    def of(self, values: Tensor) -> Tensor:
        """(N,) logarithms of the squared distance of values (N, D), per dimension."""
        standardised = (values - self.mean) / self.spread
        along = standardised @ self.directions.T
        squares = (along.square() / self.variances).sum(dim=1)
        beside = standardised.square().sum(dim=1) - along.square().sum(dim=1)
        squares = squares + beside.clamp_min(0) / self.rest
        return (squares / len(self.mean) + TINY).log()

    def tensors(self) -> dict[str, Tensor]:
        """By name, for a file."""
        return {name: getattr(self, name) for name in asdict(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Distance:
        """The inverse of `tensors`."""
        return cls(**tensors)


def _leading(standardised: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k directions (K, D) of largest variance, and the variances (K,).

    By a randomised decomposition with a fixed seed: of 4,000 images and 2,048 channels the whole
    one takes minutes, and nothing but the leading directions is wanted.
    """
    n, d = standardised.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, values, directions = torch.svd_lowrank(standardised, q=min(k + 8, n, d), niter=4)
    return directions[:, :k].T.contiguous(), values[:k].square() / (n - 1)
