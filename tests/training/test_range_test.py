"""The range test on losses with a known answer, and on a real network that it must leave alone."""

import copy
import itertools
import json
import math

import numpy as np
import pytest
import torch

from medres.config import StageConfig, StagesConfig
from medres.errors import ConfigError
from medres.models.resnet import GrayscaleResNet
from medres.training.losses import ClassificationLoss
from medres.training.presets import build_schedule
from medres.training.range_test import find_learning_rate, read_sweep, smooth, sweep_rates


def curve(steepest=1e-3, lowest=1e-1, steps=100):
    """Rates, and a loss that falls fastest at `steepest` and diverges after `lowest`."""
    rates = sweep_rates(1e-6, 1.0, steps)
    decades = [math.log10(rate) for rate in rates]
    losses = [
        0.7
        - 0.4 / (1 + math.exp(-4 * (decade - math.log10(steepest))))
        + 0.5 * math.exp(6 * (decade - math.log10(lowest) - 0.6))
        for decade in decades
    ]
    return rates, losses


@pytest.mark.parametrize("steepest", [1e-4, 1e-3, 5e-3])
def test_steepest_descent_is_found_within_a_step_or_two(steepest):
    rates, losses = curve(steepest)
    found = read_sweep(rates, losses)
    assert found.steepest == pytest.approx(steepest, rel=0.35)
    assert found.suggestion == min(found.steepest, found.valley)


def test_noise_does_not_move_the_suggestion_by_more_than_a_third_of_a_decade():
    rng = np.random.default_rng(0)
    rates, losses = curve(1e-3)
    for _ in range(20):
        noisy = [loss + rng.normal(0, 0.02) for loss in losses]
        assert abs(math.log10(read_sweep(rates, noisy).steepest / 1e-3)) < 1 / 3


def test_valley_is_that_of_fastai():
    """fastai.callback.schedule.valley, written out once more."""
    _, losses = curve(2e-3)
    rates, smoothed = read_sweep(*curve(2e-3)).learning_rates, read_sweep(*curve(2e-3)).smoothed
    n, best, end = len(losses), [1] * len(losses), 0
    for i in range(1, n):
        for j in range(i):
            if smoothed[i] < smoothed[j] and best[i] < best[j] + 1:
                best[i] = best[j] + 1
        if best[end] < best[i]:
            end = i
    start = end - best[end] + 1
    theirs = start + int((end - start) / 3) + int((end - start) / 6)
    found = read_sweep(*curve(2e-3)).valley
    assert abs(rates.index(found) - theirs) <= 1


def test_a_loss_that_never_falls_suggests_nothing():
    rates = sweep_rates(1e-6, 1.0, 50)
    found = read_sweep(rates, [0.7 + 0.001 * (-1) ** step for step in range(50)])
    assert (found.steepest, found.valley, found.suggestion) == (None, None, None)
    assert json.loads(json.dumps(found.as_json()))["suggestion"] is None


def test_smoothing_keeps_a_straight_line_and_moves_no_edge():
    line = [2.0 * place for place in range(40)]
    assert smooth(line, 2.0)[10:30] == pytest.approx(line[10:30])
    step = [0.0] * 20 + [1.0] * 20
    middle = smooth(step, 3.0)
    assert middle[19] + middle[20] == pytest.approx(1.0)  # half-way between the two sides
    assert smooth([3.0] * 5, 1.0) == pytest.approx([3.0] * 5)


def test_rates_rise_by_equal_factors_from_end_to_end():
    rates = sweep_rates(1e-5, 1e-1, 41)
    assert (rates[0], rates[-1]) == (1e-5, pytest.approx(1e-1))
    factors = [after / before for before, after in itertools.pairwise(rates)]
    assert factors == pytest.approx([10**0.1] * 40)


def batches(count, *, size=32):
    """Images whose mean tells the label."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        label = torch.tensor([[0.0], [1.0]] * 4)
        noise = torch.randn(8, 1, size, size, generator=generator)
        yield noise + 2 * label.view(8, 1, 1, 1) - 1, label


def find(network, *, preset="discriminative", batch_norm="train", count=30, **options):
    settings = {"steps": 30, "low": 1e-6, "high": 10.0, **options}
    stages = settings.pop("stages", None)
    schedule = build_schedule(
        preset,
        epochs=10,
        steps_per_epoch=10,
        frozen_epochs=1,
        batch_norm=batch_norm,
        stem=network.stem_start.stem,
        stages=stages,
    )
    return find_learning_rate(
        network, batches(count), ClassificationLoss("binary"), schedule, **settings
    )


def network(stem="adapter"):
    torch.manual_seed(0)
    return GrayscaleResNet(18, stem)


def test_real_network_learns_and_then_diverges():
    found = find(network())
    assert min(found.smoothed) < 0.9 * found.smoothed[0]
    assert 1e-5 < found.suggestion < 1.0
    assert len(found.learning_rates) == len(found.losses) == len(found.smoothed)


def test_network_random_numbers_and_gradients_stay_as_they_are():
    own = network()
    own(torch.randn(2, 1, 32, 32)).sum().backward()
    before = copy.deepcopy(own.state_dict())
    gradients = [p.grad.clone() for p in own.parameters()]
    state, modes = torch.get_rng_state(), [m.training for m in own.modules()]
    find(own)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in own.modules()] == modes
    assert all(p.requires_grad for p in own.parameters())
    for key, value in own.state_dict().items():
        assert torch.equal(value, before[key]), key
    for parameter, gradient in zip(own.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_same_seed_gives_the_same_sweep():
    torch.manual_seed(5)
    first = find(network())
    torch.manual_seed(6)
    assert find(network()) == first


def test_stages_that_never_open_stay_frozen_and_others_keep_their_shares(monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def watch(self, *args, **kwargs):
        rates = {group["stage"]: group["lr"] for group in self.param_groups}
        trains = {g["stage"] for g in self.param_groups for p in g["params"] if p.requires_grad}
        seen.append((rates, trains))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    stages = StagesConfig(layer4=StageConfig(opens_at_epoch="never"))
    find(network(), preset="gradual", stages=stages, high=1e-3)
    rates, trains = seen[-1]
    assert trains == {"adapter", "conv1", "layer1", "layer2", "layer3", "head"}
    assert rates["layer1"] / rates["head"] == pytest.approx(0.5)
    assert rates["layer4"] == 0.0
    assert rates["head"] == pytest.approx(1e-3)


def test_divergence_ends_the_sweep_early():
    found = find(network(), low=1e-4, high=1e6)
    assert found.diverged
    assert len(found.losses) < 30


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"low": 0.0}, "learning-rate range: 0 to 10 is not accepted; give two rates above 0"),
        ({"low": 20.0}, "learning-rate range: 20 to 10 is not accepted"),
        ({"steps": 9}, "steps: 9 is not accepted; give at least 10"),
        ({"count": 9}, "learning-rate range: 9 steps with a finite loss are too few"),
    ],
)
def test_impossible_sweeps_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        find(network("port"), **options)
