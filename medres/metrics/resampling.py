"""How often each patient is drawn in a bootstrap resample: multinomial counts, at memory speed.

Drawing n of n patients with replacement gives multinomial counts. Drawing and counting n numbers
costs ten times the statistic that follows, so the counts come from the Poisson side: independent
Poisson(λ) counts are multinomial given their total. With λ a little below 1 the total falls short
of n, and the missing draws, about 8 √n, are made one by one and added: multinomial with total n
again. Each Poisson count costs one table look-up of 16 random bits.

The table rounds each probability to 2^-16; the counts' variance is off by less than 1 in 1,000
for it. A resample whose Poisson total lies more than 4 standard deviations out, 1 in 15,000,
has a few draws too many or too few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

SHORTFALL = 4.0
"""Standard deviations by which the mean Poisson total lies below n, and by which it may vary."""

BLOCK_ELEMENTS = 1 << 19
"""Counts held at a time, resamples × rows, so that what is computed from them stays in cache."""

LANES = 4
"""Numbers of 16 bits in a random word of 64."""


def poisson_mean(n: int) -> float:
    """λ of the counts before the missing draws are added; 0 for few patients: all are missing."""
    return max(0.0, 1 - SHORTFALL / math.sqrt(n))


def poisson_table(mean: float) -> Tensor:
    """(65536,) uint8: the Poisson count for each value of 16 random bits, by inverse cumulation."""
    ends, tail, probability = [], 0.0, math.exp(-mean)
    for count in range(16):
        tail += probability
        ends.append(round(tail * 2**16))
        probability *= mean / (count + 1)
    bounds = torch.tensor([0, *ends[:-1], 2**16])
    return torch.repeat_interleave(torch.arange(16, dtype=torch.uint8), bounds.diff())


def draw_counts(
    n: int, resamples: int, seed: int, device: torch.device, rows: int | None = None
) -> Iterator[Tensor]:
    """Blocks of resamples: how often each of n patients was drawn, each resample n draws in all.

    The random words come from a `torch.Generator` on the device, resample after resample, so that
    the same seed gives the same draws on the same kind of device, whatever the size of the blocks.

    Args:
        n: patients, at least 1.
        resamples: how many in all.
        seed: of the draws.
        device: where the counts go.
        rows: of the statistic, if more than n: blocks are sized by it.

    Yields:
        (B, n) uint8, never more than BLOCK_ELEMENTS / rows resamples (but at least one).
    """
    mean = poisson_mean(n)
    poisson_total = mean * n
    missing = min(n, math.ceil(n - poisson_total + SHORTFALL * math.sqrt(poisson_total)))
    table = poisson_table(mean).to(device)
    generator = torch.Generator(device=device).manual_seed(seed)
    words = math.ceil(n / LANES)
    extra_words = math.ceil(missing / 2)
    block = max(1, BLOCK_ELEMENTS // max(n, rows or 0))
    order = torch.arange(missing, device=device)
    for start in range(0, resamples, block):
        shape = (min(block, resamples - start), words + extra_words)
        bits = torch.empty(shape, dtype=torch.int64, device=device)
        bits.random_(-(2**63), None, generator=generator)
        lanes = bits.view(torch.int16)[:, : LANES * words].to(torch.int32) & 0xFFFF
        counts = table.index_select(0, lanes.flatten()).view(shape[0], -1)[:, :n]
        extra = bits.view(torch.int32)[:, 2 * words : 2 * words + missing].to(torch.int64)
        patient = ((extra & 0xFFFFFFFF) * n) >> 32
        short = n - counts.sum(1, dtype=torch.int32)
        needed = (order < short[:, None]).to(torch.uint8)
        yield counts.scatter_add_(1, patient, needed)
