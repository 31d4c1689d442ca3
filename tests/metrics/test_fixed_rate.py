from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.fixed_rate import (
    rate_at_estimate,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)

cases = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-1.0, 0.0, 0.2, 0.25, 0.5, 3.0])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def slow_sensitivity(y, s, specificity: float) -> float:
    """The best of all thresholds, one at a time, and of calling none."""
    best = 0.0
    for threshold in set(s):
        right = [v < threshold for label, v in zip(y, s, strict=True) if not label]
        if np.mean(right) >= specificity - 1e-9:
            found = [v >= threshold for label, v in zip(y, s, strict=True) if label]
            best = max(best, float(np.mean(found)))
    return best


@given(cases, st.floats(0.01, 1))
def test_sensitivity_at_a_specificity_equals_the_slow_twin(rows, target: float):
    y, s = zip(*rows, strict=True)
    estimate = sensitivity_at_specificity(y, s, target, resamples=3)
    assert estimate.value == pytest.approx(slow_sensitivity(y, s, target), abs=1e-12)
    mirrored = specificity_at_sensitivity(
        [1 - label for label in y], [-v for v in s], target, resamples=3
    )
    if len(set(s)) == len(s) or target < 1:
        assert 0 <= mirrored.low <= mirrored.value <= mirrored.high <= 1


@given(cases, st.floats(0.01, 1))
def test_specificity_at_a_sensitivity_is_of_a_threshold_that_has_it(rows, target: float):
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    value = specificity_at_sensitivity(y, s, target, resamples=3).value
    at = [(s[y == 1] >= t).mean() >= target - 1e-9 for t in s]
    assert value == pytest.approx(max((s[y == 0] < t).mean() for t in s[at]))


def test_interval_is_wider_than_wilsons_at_the_same_threshold():
    generator = torch.Generator().manual_seed(0)
    y = (torch.arange(300) < 100).double()
    s = torch.randn(300, generator=generator) + 1.5 * y
    estimate = sensitivity_at_specificity(y, s, 0.9)
    assert estimate.low < estimate.value < estimate.high
    assert estimate.high - estimate.low > 0.2  # Wilson's is .19 wide
    assert estimate.method == "patient bootstrap (BTII), 2000 resamples"


@pytest.mark.slow
@pytest.mark.parametrize(("m", "n"), [(50, 50), (30, 200), (100, 100)])
def test_interval_covers_the_true_sensitivity(m: int, n: int):
    # binormal, d = 1.5: sensitivity .5868 at specificity .9
    covered = 0
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        y = (torch.arange(m + n) < m).double()
        s = torch.randn(m + n, generator=generator, dtype=torch.float64) + 1.5 * y
        estimate = sensitivity_at_specificity(y, s, 0.9, resamples=400, seed=seed)
        covered += estimate.low <= 0.58677 <= estimate.high
    assert 0.92 <= covered / 400 <= 0.985


def test_repeated_patients_are_drawn_together():
    generator = torch.Generator().manual_seed(1)
    y = (torch.arange(60) < 30).double()
    s = torch.randn(60, generator=generator) + y
    once = sensitivity_at_specificity(y, s, 0.8)
    again = sensitivity_at_specificity(
        y.repeat(3), s.repeat(3), 0.8, patient_ids=np.tile(np.arange(60), 3)
    )
    assert again.value == once.value
    assert again.high - again.low > 0.9 * (once.high - once.low)


def test_interval_holds_a_value_of_1():
    estimate = rate_at_estimate(1.0, torch.full((100,), 0.9, dtype=torch.float64))
    assert (estimate.low, estimate.high) == (pytest.approx(0.9), 1.0)


def test_one_class_and_impossible_targets_are_refused():
    with pytest.raises(UndefinedMetricError, match="sensitivity at a fixed rate is undefined"):
        sensitivity_at_specificity([1, 1], [0.1, 0.2], 0.9)
    with pytest.raises(MetricInputError, match=r"specificity 1.5; give a share above 0 and up to"):
        sensitivity_at_specificity([0, 1], [0.1, 0.2], 1.5)
    with pytest.raises(MetricInputError, match="sensitivity 0; give a share"):
        specificity_at_sensitivity([0, 1], [0.1, 0.2], 0)
