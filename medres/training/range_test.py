"""Learning-rate range test: how large a rate does this training bear?

A copy of the network trains for some steps while the rate rises exponentially (Smith, WACV 2017,
arXiv:1506.01186); the loss falls, and then diverges. All stages that the schedule ever opens train,
each at its share of the rate, so what is found is `training.learning_rate`. Nothing of the run
itself is touched: not its network, not its random numbers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import apply_stage_states
from medres.training.optimizer import OptimizerName, build_optimizer
from medres.training.precision import AutocastInferer, ComputePrecision
from medres.training.schedule import Schedule

DIVERGED = 4.0
"""The sweep ends where the running loss is so many times its lowest: as in fastai."""
RUNNING = 0.9
"""Weight of the past in that running loss."""
SMOOTHING = 0.04
"""Standard deviation of the smoothing, as a share of the sweep's steps."""
FEWEST_STEPS = 10
MARGIN = 0.05
"""A smoothed loss that never falls by this share of its first value suggests nothing."""


@dataclass(frozen=True)
class RangeTest:
    """A finished sweep.

    Attributes:
        learning_rates: rising exponentially, one a step; of stages with share 1.
        losses: of each step's batch, before it.
        smoothed: the same through a Gaussian window, centred, so that no lag moves its slope.
        steepest: rate at which the smoothed loss falls fastest per decade; None where it does not.
        valley: rate half-way along the smoothed loss's longest descent, as fastai reads it.
        diverged: whether the loss grew beyond measure before the highest rate.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    valley: float | None
    diverged: bool

    @property
    def suggestion(self) -> float | None:
        """The lower of the two readings; None where the loss never falls."""
        readings = [rate for rate in (self.steepest, self.valley) if rate is not None]
        return min(readings, default=None)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, the suggestion first."""
        return {"suggestion": self.suggestion, **asdict(self)}


def sweep_rates(low: float, high: float, steps: int) -> list[float]:
    """Rates from low to high, each the same factor above the one before.

    Raises:
        ConfigError: no rise, or fewer than ten steps.
    """
    if not 0 < low < high:
        raise ConfigError(
            f"learning-rate range: {low:g} to {high:g} is not accepted; give two rates above 0, "
            "the lower first"
        )
    if steps < FEWEST_STEPS:
        raise ConfigError(f"steps: {steps} is not accepted; give at least {FEWEST_STEPS}")
    return [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]


def find_learning_rate(
    network: GrayscaleResNet,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: nn.Module,
    schedule: Schedule,
    *,
    optimizer: OptimizerName = "adamw",
    weight_decay: float = 1e-4,
    precision: ComputePrecision = "fp32",
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    seed: int = 0,
) -> RangeTest:
    """Sweep the learning rate on a copy of a network.

    Args:
        network: stays as it is.
        batches: images (B, 1, H, W) and labels (B, F) on the network's device, one pair a step.
        loss: of logits and labels.
        schedule: which stages train, at which share of the rate, and the batch-norm policy.
        optimizer: as the training's.
        weight_decay: likewise.
        precision: of the forward pass.
        low: the first rate.
        high: the last, where the loss does not diverge before.
        steps: from low to high, at least ten.
        seed: of whatever the network itself draws.

    Raises:
        ConfigError: no rising range, too few steps, or batches for fewer than ten.
    """
    rates = sweep_rates(low, high, steps)
    copied = copy.deepcopy(network)
    sweep = _Sweep(copied, schedule, build_optimizer(copied, weight_decay, name=optimizer))
    inferer, losses, running, diverged = AutocastInferer(precision), [], _Running(), False
    devices = [p.device for p in copied.parameters() if p.device.type == "cuda"][:1]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for rate, (image, label) in zip(rates, batches, strict=False):
            value = loss(inferer(image, copied.train()), label)
            losses.append(float(value.detach()))
            diverged = running.grows_beyond_measure(losses[-1])
            if diverged:
                break
            sweep.step(value, rate)
    while losses and not math.isfinite(losses[-1]):
        losses.pop()
    if len(losses) < FEWEST_STEPS:
        raise ConfigError(
            f"learning-rate range: {len(losses)} steps with a finite loss are too few; give a "
            "lower first rate, more steps or more batches"
        )
    return read_sweep(rates[: len(losses)], losses, diverged=diverged)


def read_sweep(
    rates: Sequence[float], losses: Sequence[float], *, diverged: bool = False
) -> RangeTest:
    """Smooth the losses of a sweep, and read the rates off them.

    Args:
        rates: rising, at least two.
        losses: finite, one a rate.
        diverged: whether the sweep ended early.
    """
    smoothed = smooth(losses, max(1.0, SMOOTHING * len(losses)))
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    falls = smoothed[lowest] < smoothed[0] - MARGIN * abs(smoothed[0])
    steepest = rates[_steepest(rates, smoothed, lowest)] if falls else None
    valley = rates[_valley(smoothed)] if falls else None
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), steepest, valley, diverged)


def smooth(values: Sequence[float], deviation: float) -> list[float]:
    """A running mean with Gaussian weights, centred; at the ends over what there is.

    Args:
        values: evenly spaced.
        deviation: of the weights, in places, above 0.
    """
    smoothed = []
    for centre in range(len(values)):
        weights = [math.exp(-0.5 * ((i - centre) / deviation) ** 2) for i in range(len(values))]
        total = math.fsum(w * v for w, v in zip(weights, values, strict=True))
        smoothed.append(total / math.fsum(weights))
    return smoothed


def _steepest(rates: Sequence[float], smoothed: Sequence[float], lowest: int) -> int:
    """Where the loss falls fastest per decade, before its lowest point."""
    slopes = [
        (right - left) / math.log10(high / low)
        for (left, right), (low, high) in zip(pairwise(smoothed), pairwise(rates), strict=True)
    ]
    return min(range(max(1, lowest)), key=slopes.__getitem__)


def _valley(smoothed: Sequence[float]) -> int:
    """Half-way along the longest subsequence that falls throughout."""
    length, origin = [1] * len(smoothed), list(range(len(smoothed)))
    for end in range(len(smoothed)):
        for start in range(end):
            if smoothed[end] < smoothed[start] and length[end] < length[start] + 1:
                length[end], origin[end] = length[start] + 1, origin[start]
    last = max(range(len(smoothed)), key=length.__getitem__)
    return origin[last] + (last - origin[last]) // 2


class _Sweep:
    """The optimizer's steps, with every stage open that the schedule ever opens."""

    def __init__(
        self, network: GrayscaleResNet, schedule: Schedule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.optimizer = optimizer
        plans = [plan for plan in schedule.stages if plan.opens_at is not None]
        highest = max(plan.learning_rate for plan in schedule.stages)
        self.shares = {plan.stage: plan.learning_rate / highest for plan in plans}
        apply_stage_states(
            network,
            list(self.shares),
            list(self.shares) if schedule.batch_norm == "eval" else (),
            [plan.stage for plan in plans if plan.tensors == "batch_norm"],
        )

    def step(self, loss: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.shares.get(group["stage"], 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class _Running:
    """A running mean of the losses, without the bias of its start."""

    def __init__(self) -> None:
        self.sum, self.weight, self.lowest = 0.0, 0.0, math.inf

    def grows_beyond_measure(self, loss: float) -> bool:
        self.sum = RUNNING * self.sum + (1 - RUNNING) * loss
        self.weight = RUNNING * self.weight + (1 - RUNNING)
        mean = self.sum / self.weight
        self.lowest = min(self.lowest, mean)
        return not math.isfinite(loss) or mean > DIVERGED * self.lowest
