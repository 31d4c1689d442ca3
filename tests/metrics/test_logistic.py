from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from medres.metrics.logistic import find_root, fit_intercept, fit_line, separated


def columns(*values) -> list[torch.Tensor]:
    return [torch.tensor(v, dtype=torch.float64).reshape(-1, 1) for v in values]


def drawn(seed: int, n: int = 200, slope: float = 1.0, intercept: float = 0.0):
    generator = torch.Generator().manual_seed(seed)
    logit = 2 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    chance = torch.sigmoid(intercept + slope * logit)
    y = (torch.rand(n, 3, generator=generator, dtype=torch.float64) < chance).double()
    return y, logit, torch.ones_like(y)


def test_root_of_a_line_is_found_to_the_last_bits():
    low, high, zero = torch.tensor([[-40, 0], [40, 4], [1 / 3, 2]], dtype=torch.float64)
    root = find_root(lambda x: x - zero, low, high)
    assert root.tolist() == pytest.approx([1 / 3, 2.0], abs=1e-15)


def test_line_equals_scikit_learns_unpenalised_fit():
    y, logit, weight = drawn(1, slope=0.6, intercept=-0.4)
    intercept, slope = fit_line(y, logit, weight)
    for f in range(3):
        other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
            logit[:, f : f + 1].numpy(), y[:, f].numpy()
        )
        assert float(slope[f]) == pytest.approx(other.coef_[0, 0], abs=1e-6)
        assert float(intercept[f]) == pytest.approx(other.intercept_[0], abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 5), st.floats(-3, 3))
def test_line_has_no_slope_of_the_likelihood_left(seed: int, slope: float, intercept: float):
    y, logit, weight = drawn(seed, n=60, slope=slope, intercept=intercept)
    fits = ~separated(y, logit, weight)
    a, b = fit_line(y, logit, weight)
    residual = torch.sigmoid(a + b * logit) - y
    left = torch.stack([residual.sum(0), (residual * logit).sum(0)]).abs().amax(0)
    assert left[fits].tolist() == pytest.approx([0.0] * int(fits.sum()), abs=1e-7)


def test_weights_are_repetitions_and_0_leaves_a_row_out():
    y, logit, _ = drawn(2, n=40)
    weight = torch.randint(0, 4, y.shape, generator=torch.Generator().manual_seed(3)).double()
    a, b = fit_line(y, logit, weight)
    in_the_large = fit_intercept(y, logit, weight)
    for f in range(3):
        times = weight[:, f].long()
        rows = [t[:, f].repeat_interleave(times)[:, None] for t in (y, logit)]
        again = fit_line(*rows, torch.ones_like(rows[0]))
        assert [float(v) for v in again] == pytest.approx([float(a[f]), float(b[f])], abs=1e-8)
        large = fit_intercept(*rows, torch.ones_like(rows[0]))
        assert float(large) == pytest.approx(float(in_the_large[f]), abs=1e-12)


def test_intercept_brings_the_mean_to_the_share_of_positives():
    y, logit, weight = drawn(4, intercept=-1.5)
    a = fit_intercept(y, logit, weight)
    assert torch.sigmoid(a + logit).mean(0).tolist() == pytest.approx(y.mean(0).tolist(), abs=1e-14)


def test_intercept_of_one_class_is_none():
    assert fit_intercept(*columns([1, 1], [0.3, -2], [1, 1])).isnan().all()
    assert fit_intercept(*columns([0, 1], [0.3, -2], [1, 0])).isnan().all()


@pytest.mark.parametrize(
    ("y", "logit", "expected"),
    [
        ([0, 0, 1, 1], [0.0, 1.0, 2.0, 3.0], True),
        ([1, 1, 0, 0], [0.0, 1.0, 2.0, 3.0], True),
        ([0, 0, 1, 1], [0.0, 2.0, 2.0, 3.0], True),  # quasi-complete: they touch
        ([0, 1, 0, 1], [0.0, 1.0, 2.0, 3.0], False),
        ([0, 1, 0, 1], [2.0, 2.0, 2.0, 2.0], True),
        ([1, 1, 1, 1], [0.0, 1.0, 2.0, 3.0], True),
    ],
)
def test_separated_classes_have_no_finite_line(y, logit, expected: bool):
    assert bool(separated(*columns(y, logit, [1, 1, 1, 1]))) is expected


def test_separation_looks_at_weighted_rows_alone():
    y, logit, weight = columns([0, 1, 0, 1], [0.0, 1.0, 2.0, 3.0], [1, 1, 0, 1])
    assert bool(separated(y, logit, weight))
