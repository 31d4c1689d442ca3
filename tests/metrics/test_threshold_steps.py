"""Counts at the thresholds of a scale, against counting."""

import numpy as np
import pytest
import torch

from medres.metrics.operating_point import confusion
from medres.metrics.threshold_steps import threshold_steps


def steps_of(y, s, *, probabilities=True, **more):
    label, score = (torch.tensor(a, dtype=torch.float64) for a in (y, s))
    return threshold_steps(label, score, probabilities=probabilities, independent=True, **more)


def counts_at_step(steps, k):
    place = np.searchsorted(steps.at, k, side="right") - 1
    return steps.tp[place], steps.fp[place]


def test_steps_of_four_probabilities_by_hand():
    steps = steps_of([0, 1, 0, 1], [0.1, 0.35, 0.35, 0.80001])
    assert (steps.decimals, steps.lowest, steps.highest) == (4, 0, 10_000)
    # A row is called where score ≥ threshold: 0.1 still at 0.1000, no more at 0.1001.
    assert steps.at == (0, 1001, 3501, 8001)
    assert steps.tp == (2, 2, 1, 0)
    assert steps.fp == (2, 1, 0, 0)


@pytest.mark.parametrize("scale", [1.0, 0.04, 1e-5, 30.0, 1e7])
def test_steps_equal_counting_at_every_kind_of_scale(scale):
    rng = np.random.default_rng(7)
    s = np.round(rng.beta(1, 3, 5000) * scale, 12)
    y = (rng.random(5000) < s / scale).astype(float)
    steps = steps_of(y, s, probabilities=scale <= 1)
    unit = 10.0**steps.decimals
    assert steps.highest - steps.lowest in range(1000, 10_002)
    assert steps.highest >= s.max() * unit > steps.highest / 10 - 1
    for k in [steps.lowest, *rng.integers(steps.lowest, steps.highest, 60).tolist(), steps.highest]:
        threshold = k / unit if steps.decimals >= 0 else k * 10.0**-steps.decimals
        counts = confusion(y, s, threshold)
        assert counts_at_step(steps, k) == (counts.tp, counts.fp)


def test_steps_reach_down_to_a_negative_score_and_hold_a_single_one():
    steps = steps_of([0, 1, 1], [-3.25, 0.5, 2.0], probabilities=False)
    assert counts_at_step(steps, steps.lowest) == (2, 1)
    assert (steps.lowest, steps.decimals) == (-3250, 3)
    alone = steps_of([1, 0], [2.0, 2.0], probabilities=False)
    assert (alone.tp[0], alone.fp[0]) == (1, 1)
    assert (alone.tp[-1], alone.fp[-1]) == (0, 0)


def test_steps_span_all_that_a_score_can_be():
    steps = steps_of([0, 1, 0, 1], [-1.7e308, 1.7e308, 0.0, 1e308], probabilities=False)
    assert (steps.decimals, steps.lowest, steps.highest) == (-305, -1700, 1700)
    assert counts_at_step(steps, -1700) == (2, 2)
    assert counts_at_step(steps, 0) == (2, 1)
    assert counts_at_step(steps, 1001) == (1, 0)


def test_steps_hold_a_locked_threshold_beyond_the_scores():
    assert steps_of([0, 1], [0.01, 0.02]).decimals == 5
    assert steps_of([0, 1], [0.01, 0.02], locked=0.4).decimals == 4


def test_steps_are_few_whatever_the_number_of_scores():
    rng = np.random.default_rng(1)
    steps = steps_of(rng.integers(0, 2, 100_000), rng.random(100_000))
    assert len(steps.at) == len(steps.tp) == len(steps.fp) <= 10_001
    assert sorted(steps.at) == list(steps.at)
    assert steps.as_json()["at"][0] == 0
