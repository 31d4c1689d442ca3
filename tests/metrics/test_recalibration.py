from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.recalibration import (
    IsotonicScaling,
    PlattScaling,
    Temperature,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    recalibration_from_json,
)


def drawn(seed: int, n: int = 400, temperature: float = 1.0, findings: int = 3):
    """Labels drawn from σ(logit), and the logits times a temperature."""
    generator = torch.Generator().manual_seed(seed)
    logit = 2 * torch.randn(n, findings, generator=generator, dtype=torch.float64)
    chance = torch.rand(n, findings, generator=generator, dtype=torch.float64)
    return (chance < torch.sigmoid(logit)).double(), logit * temperature


def drawn_classes(seed: int, n: int = 400, temperature: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    logit = 2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    named = torch.multinomial(logit.softmax(1), 1, generator=generator)[:, 0]
    return torch.nn.functional.one_hot(named, 4).double(), logit * temperature


def slow_temperature(loss) -> float:
    """The minimum of the loss of one inverse temperature, by Brent's method."""
    found = minimize_scalar(lambda u: loss(np.exp(u)), bracket=(-2.0, 2.0), options={"xtol": 1e-9})
    return float(np.exp(-found.x))


def binary_loss(y, logit, beta):
    line = beta * logit
    return float(np.mean(np.logaddexp(0, line) - y * line))


def test_temperature_finds_the_one_that_the_logits_were_multiplied_with():
    y, logit = drawn(1, n=20_000, temperature=2.5, findings=1)
    fit = fit_temperature(y[:, 0], logit[:, 0])
    assert fit.values[0] == pytest.approx(2.5, rel=0.03)
    assert (fit.activation, fit.n) == ("sigmoid", 20_000)
    assert fit_temperature(y, logit / 2.5).values[0] == pytest.approx(fit.values[0] / 2.5, rel=1e-9)


def test_temperature_equals_brents_minimum_for_each_finding_and_shared():
    y, logit = drawn(2, temperature=0.7)
    one_each = fit_temperature(y, logit, shared=False)
    for f, value in enumerate(one_each.values):
        column = y[:, f].numpy(), logit[:, f].numpy()
        slow = slow_temperature(lambda beta, c=column: binary_loss(*c, beta))
        assert value == pytest.approx(slow, rel=1e-6)
    shared = slow_temperature(lambda beta: binary_loss(y.numpy(), logit.numpy(), beta))
    assert fit_temperature(y, logit).values == pytest.approx((shared,), rel=1e-6)


def test_temperature_of_a_softmax_equals_brents_minimum():
    y, logit = drawn_classes(3, temperature=3.0)

    def loss(beta: float) -> float:
        return -float((logit * beta).log_softmax(1).mul(y).sum(1).mean())

    fit = fit_temperature(y, logit, activation="softmax")
    assert fit.values == pytest.approx((slow_temperature(loss),), rel=1e-6)
    assert fit.apply(logit).sum(1).tolist() == pytest.approx([1.0] * 400)


def test_two_softmax_classes_are_one_sigmoid():
    y, logit = drawn(4, findings=1)
    pair = fit_temperature(
        torch.cat([1 - y, y], 1),
        torch.cat([torch.zeros_like(logit), logit], 1),
        activation="softmax",
    )
    assert pair.values == pytest.approx(fit_temperature(y, logit).values, rel=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_scaled_logits_have_a_scaled_temperature(seed: int, factor: float):
    y, logit = drawn(seed, n=100, findings=1)
    plain = fit_temperature(y, logit).values[0]
    assert fit_temperature(y, factor * logit).values[0] == pytest.approx(factor * plain, rel=1e-9)


def test_missing_labels_are_left_out():
    y, logit = drawn(5)
    masked, noise = y.clone(), logit.clone()
    masked[100:], noise[100:] = torch.nan, torch.nan
    assert fit_temperature(masked, noise).values == pytest.approx(
        fit_temperature(y[:100], logit[:100]).values
    )
    assert fit_temperature(masked, noise).n == 100
    assert fit_platt(masked, noise).n == (100, 100, 100)
    first = fit_isotonic(masked[:, 0], noise[:, 0])
    assert first == fit_isotonic(y[:100, 0], logit[:100, 0])
    y, logit = drawn_classes(6)
    y[200:] = torch.nan
    assert fit_temperature(y, logit, activation="softmax").n == 200


def test_applying_keeps_type_and_shape():
    fit = Temperature((2.0,), "sigmoid", 100)
    assert fit.apply(torch.tensor([0.0, 4.0])).tolist() == pytest.approx([0.5, 0.8807970])
    assert fit.apply(torch.zeros(5, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    each = Temperature((1.0, 4.0), "sigmoid", 100)
    assert each.scale(torch.tensor([[2.0, 2.0]])).tolist() == [[2.0, 0.5]]
    platt = PlattScaling((0.0, -1.0), (1.0, 0.5), (9, 9))
    assert platt.apply(torch.tensor([[0.0, 2.0]])).tolist() == [[0.5, 0.5]]
    steps = IsotonicScaling((0.0, 1.0, 3.0), (0.1, 0.1, 0.9), 20)
    assert steps.apply(torch.tensor([-5.0, 0.5, 2.0, 9.0])).tolist() == pytest.approx(
        [0.1, 0.1, 0.5, 0.9]
    )
    level = IsotonicScaling((0.0,), (0.3,), 20)
    assert level.apply(torch.tensor([[1.0], [2.0]])).tolist() == [[pytest.approx(0.3)]] * 2


def test_platt_equals_scikit_learns():
    y, logit = drawn(7, temperature=2.0)
    fit = fit_platt(y, logit)
    for f in range(3):
        a, b = _sigmoid_calibration(logit[:, f].numpy(), y[:, f].numpy())
        assert fit.slopes[f] == pytest.approx(-a, abs=1e-4)
        assert fit.intercepts[f] == pytest.approx(-b, abs=1e-4)


def test_platt_stays_finite_where_a_cut_parts_the_classes():
    fit = fit_platt([0] * 10 + [1] * 10, [*range(20)])
    assert 0.3 < fit.slopes[0] < 0.6


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([-2.0, -1.0, 0.0, 0.3, 1.0, 4.0])),
        min_size=1,
        max_size=60,
    )
)
def test_isotonic_equals_scikit_learns_ties_included(rows):
    rows = [*rows, *[(0, -1.5), (1, 1.5)] * 10]
    y, s = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    fit = fit_isotonic(y, s)
    other = IsotonicRegression(out_of_bounds="clip").fit(s, y)
    at = np.linspace(-3, 5, 81)
    assert fit.apply(torch.from_numpy(at)).tolist() == pytest.approx(
        other.predict(at).tolist(), abs=1e-12
    )
    assert list(fit.scores) == sorted(set(fit.scores))


@pytest.mark.parametrize(
    "fit",
    [
        Temperature((1.5,), "softmax", 40),
        PlattScaling((0.1,), (1.2,), (40,)),
        IsotonicScaling((0.0, 1.0), (0.2, 0.7), 40),
    ],
)
def test_records_survive_json(fit):
    assert recalibration_from_json(json.loads(json.dumps(fit.as_json()))) == fit


def test_records_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"temperatures \[0.0\]; each is a number above 0"):
        Temperature.from_json({"values": [0], "activation": "sigmoid", "n": 1})
    with pytest.raises(ValueError, match="activation 'relu'; it is 'sigmoid' or 'softmax'"):
        Temperature.from_json({"values": [1], "activation": "relu", "n": 1})
    with pytest.raises(ValueError, match="recalibration method 'beta'; medres has 'temperature'"):
        recalibration_from_json({"method": "beta"})


def test_too_few_rows_of_a_class_are_said():
    y, logit = drawn(8, n=60)
    y[:, 1] = 0
    for fit in (fit_platt, lambda *a: fit_temperature(*a, shared=False)):
        with pytest.raises(UndefinedMetricError, match=r"for columns \[1\]: 0 rows of the rarer"):
            fit(y, logit)
    few = "temperature is undefined for these rows: 1 rows of the rarer class; it needs 10"
    with pytest.raises(UndefinedMetricError, match=few):
        fit_temperature([0] * 20 + [1], [0.0] * 21)
    with pytest.raises(UndefinedMetricError, match="isotonic scaling is undefined for these rows"):
        fit_isotonic([0] * 20 + [1], [0.0] * 21)
    one_class = torch.eye(3)[[0] * 30 + [1] * 9].double()
    with pytest.raises(UndefinedMetricError, match="9 rows are outside the most frequent class"):
        fit_temperature(one_class, torch.zeros(39, 3), activation="softmax")


def test_labels_foretold_without_an_error_have_no_temperature():
    y = [0] * 15 + [1] * 15
    with pytest.raises(UndefinedMetricError, match="foretell every label, so that ever lower"):
        fit_temperature(y, [-1.0] * 15 + [0.5] * 15)
    pair = torch.nn.functional.one_hot(torch.tensor(y), 2)
    with pytest.raises(UndefinedMetricError, match="foretell every label"):
        fit_temperature(pair, pair * 2.0, activation="softmax")


def test_labels_that_the_logits_point_away_from_have_no_temperature():
    y, logit = drawn(9, findings=1)
    with pytest.raises(UndefinedMetricError, match="point away from the labels, so that ever high"):
        fit_temperature(y, -logit)
    with pytest.raises(UndefinedMetricError, match=r"columns \[0\]: higher logits do not go with"):
        fit_platt(y, -logit)
    with pytest.raises(UndefinedMetricError, match="higher logits do not go with"):
        fit_platt(y, 0 * logit)
    y, logit = drawn_classes(10)
    with pytest.raises(UndefinedMetricError, match="point away"):
        fit_temperature(y, -logit, activation="softmax")


def test_impossible_input_is_refused():
    y, logit = drawn(11)
    with pytest.raises(MetricInputError, match="activation 'relu' is unknown"):
        fit_temperature(y, logit, activation="relu")
    with pytest.raises(MetricInputError, match="a softmax has one temperature and at least two"):
        fit_temperature(y, logit, activation="softmax", shared=False)
    with pytest.raises(MetricInputError, match="rows of y_true are not one-hot"):
        fit_temperature(y, logit, activation="softmax")
    with pytest.raises(MetricInputError, match="labels in y_true are neither 0, 1 nor NaN"):
        fit_platt(y + 1, logit)
    with pytest.raises(MetricInputError, match="scores in y_score are NaN or infinite"):
        fit_platt(y, logit / 0)
