from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import UndefinedMetricError
from medres.metrics.decision_measures import (
    MEASURES,
    accuracy,
    balanced_accuracy,
    clustered_decision_figures,
    decision_figures,
    f1_score,
    matthews_correlation,
    measures,
    negative_likelihood_ratio,
    positive_likelihood_ratio,
    youden_index,
)
from medres.metrics.estimate import Estimate, UndefinedEstimate
from medres.metrics.intervals import patient_groups
from medres.metrics.operating_point import Confusion, decision_indicators
from medres.metrics.predictive_values import predictive_values_at, predictive_values_from

ASAH = Confusion(tp=26, fp=14, tn=58, fn=15)
counts = st.builds(Confusion, *[st.integers(0, 30)] * 4).filter(
    lambda c: c.tp + c.fp + c.tn + c.fn > 0
)


def rows_of(c: Confusion) -> tuple[list[int], list[int]]:
    y = [1] * c.tp + [0] * c.fp + [0] * c.tn + [1] * c.fn
    return y, [1] * (c.tp + c.fp) + [0] * (c.tn + c.fn)


@given(counts)
def test_measures_equal_scikit_learns(c: Confusion):
    y, called = rows_of(c)
    figures = {name: f for name, f in decision_figures(c).items() if isinstance(f, Estimate)}
    assert figures["accuracy"].value == pytest.approx(sklearn.metrics.accuracy_score(y, called))
    if "f1_score" in figures:
        assert figures["f1_score"].value == pytest.approx(sklearn.metrics.f1_score(y, called))
    if "matthews_correlation" in figures:
        other = sklearn.metrics.matthews_corrcoef(y, called)
        assert figures["matthews_correlation"].value == pytest.approx(other, abs=1e-12)
    if "balanced_accuracy" in figures:
        other = sklearn.metrics.balanced_accuracy_score(y, called)
        assert figures["balanced_accuracy"].value == pytest.approx(other)
        assert figures["youden_index"].value == pytest.approx(2 * other - 1, abs=1e-12)
    if "negative_likelihood_ratio" in figures and "positive_likelihood_ratio" in figures:
        plus, minus = sklearn.metrics.class_likelihood_ratios(y, called)
        assert figures["positive_likelihood_ratio"].value == pytest.approx(plus)
        assert figures["negative_likelihood_ratio"].value == pytest.approx(minus)


@given(counts)
def test_every_interval_holds_its_value_and_every_absence_its_reason(c: Confusion):
    for figure in decision_figures(c).values():
        if isinstance(figure, Estimate):
            assert figure.low <= figure.value + 1e-12
            assert figure.value <= figure.high + 1e-12
            assert math.isfinite(figure.low)
            assert math.isfinite(figure.high)
        else:
            assert "rows" in figure.reason


@given(counts)
def test_measures_of_the_complement(c: Confusion):
    turned = decision_figures(Confusion(tp=c.tn, fp=c.fn, tn=c.tp, fn=c.fp))
    for name in ("accuracy", "balanced_accuracy", "youden_index", "matthews_correlation"):
        here, there = decision_figures(c)[name], turned[name]
        assert type(here) is type(there)
        if isinstance(here, Estimate):
            assert (there.value, there.low, there.high) == pytest.approx(
                (here.value, here.low, here.high), abs=1e-12
            )


def test_measures_of_asah_by_hand():
    assert accuracy(ASAH).value == 84 / 113
    assert f1_score(ASAH).value == pytest.approx(52 / 81)
    assert balanced_accuracy(ASAH).value == pytest.approx((26 / 41 + 58 / 72) / 2)
    assert youden_index(ASAH).value == pytest.approx(26 / 41 + 58 / 72 - 1)
    assert matthews_correlation(ASAH).value == pytest.approx(
        (26 * 58 - 14 * 15) / math.sqrt(40 * 41 * 72 * 73)
    )
    plus, minus = positive_likelihood_ratio(ASAH), negative_likelihood_ratio(ASAH)
    assert (plus.value, minus.value) == pytest.approx(
        ((26 / 41) / (14 / 72), (15 / 41) / (58 / 72))
    )


def test_likelihood_ratio_interval_is_simels():
    # Simel et al. 1991: ln LR ± 1.96 sqrt(1/26 − 1/41 + 1/14 − 1/72)
    half = 1.959963984540054 * math.sqrt(1 / 26 - 1 / 41 + 1 / 14 - 1 / 72)
    plus = positive_likelihood_ratio(ASAH)
    assert plus.low == pytest.approx(plus.value * math.exp(-half))
    assert plus.high == pytest.approx(plus.value * math.exp(half))
    assert plus.method == "logarithmic"


def test_youden_interval_is_newcombes_published_difference():
    # Newcombe 1998, table II (a): 56/70 − 48/80 = .2000, method 10: .0524 to .3339
    youden = youden_index(Confusion(tp=56, fp=48, tn=32, fn=14))
    assert youden.value == pytest.approx(0.2)
    assert (round(youden.low, 4), round(youden.high, 4)) == (0.0524, 0.3339)
    half = balanced_accuracy(Confusion(tp=56, fp=48, tn=32, fn=14))
    assert (half.low, half.high) == pytest.approx(((youden.low + 1) / 2, (youden.high + 1) / 2))


def test_correlation_variance_equals_the_delta_method_by_differences():
    cells = np.array([26.0, 14.0, 58.0, 15.0])

    def phi(x):
        return float(measures(*torch.from_numpy(x))[MEASURES.index("matthews_correlation")])

    gradient = np.array([(phi(cells + d) - phi(cells - d)) / 2e-4 for d in np.eye(4) * 1e-4])
    variance = (cells * gradient**2).sum() - (cells * gradient).sum() ** 2 / cells.sum()
    half = 1.959963984540054 * math.sqrt(variance) / (1 - phi(cells) ** 2)
    figure = matthews_correlation(ASAH)
    assert math.atanh(figure.high) - math.atanh(figure.value) == pytest.approx(half, rel=1e-5)


def test_intervals_cover_what_they_say():
    # Fisher's z for MCC and Wilson for F1, 4,000 draws of 100 rows: within 3 standard errors of .95
    generator = np.random.default_rng(0)
    p = np.array([0.2, 0.1, 0.6, 0.1])
    truth = measures(*torch.from_numpy(p))
    covered = np.zeros(2)
    for cells in generator.multinomial(100, p, size=1500):
        figures = decision_figures(Confusion(*(int(k) for k in cells)))
        for k, name in enumerate(("matthews_correlation", "f1_score")):
            true = float(truth[MEASURES.index(name)])
            covered[k] += figures[name].low <= true <= figures[name].high
    assert covered / 1500 == pytest.approx([0.95, 0.95], abs=0.02)


def test_many_counts_at_once_without_overflow():
    large = torch.tensor([[1e6, 0.0], [1e6, 1.0], [1e6, 1.0], [1e6, 0.0]], dtype=torch.float64)
    table = measures(*large)
    assert table.shape == (2, 7)
    assert table[0].tolist() == pytest.approx([0.5, 0.5, 0, 0.5, 0, 1, 1])
    assert torch.isnan(table[1]).tolist() == [False, True, True, False, True, True, True]


@pytest.mark.parametrize(
    ("c", "name", "reason"),
    [
        (Confusion(0, 0, 5, 0), "f1_score", "no positive rows, and none called positive"),
        (Confusion(5, 0, 0, 5), "balanced_accuracy", "rows of one class only"),
        (Confusion(5, 5, 0, 0), "matthews_correlation", "rows of one class only, or all called"),
        (Confusion(0, 0, 5, 5), "positive_likelihood_ratio", "or none called positive"),
        (Confusion(5, 5, 0, 0), "negative_likelihood_ratio", "or all called positive"),
        (
            Confusion(5, 0, 9, 1),
            "positive_likelihood_ratio",
            "infinite: no negative rows called",
        ),
        (
            Confusion(5, 9, 0, 1),
            "negative_likelihood_ratio",
            "infinite: no negative rows called",
        ),
    ],
)
def test_absent_measures_say_why(c: Confusion, name: str, reason: str):
    assert reason in decision_figures(c)[name].reason
    function = {
        f.__name__: f
        for f in (
            f1_score,
            balanced_accuracy,
            matthews_correlation,
            positive_likelihood_ratio,
            negative_likelihood_ratio,
        )
    }[name]
    with pytest.raises(UndefinedMetricError, match="is undefined at this threshold: "):
        function(c)


def test_zero_cells_are_said():
    perfect = decision_figures(Confusion(20, 0, 30, 0))
    ratio = perfect["positive_likelihood_ratio"]
    assert isinstance(ratio, UndefinedEstimate)
    # (20.5 / 21) / (.5 / 31) = 60.5, its lower limit 3.87
    assert ratio.reason == "infinite: no negative rows called positive; above 3.87"
    assert ratio.method == "logarithmic, ½ added to each cell (a cell is 0)"
    minus = perfect["negative_likelihood_ratio"]
    assert (minus.value, minus.low) == (0.0, 0.0)
    assert 0.05 < minus.high < 0.5
    assert minus.method.endswith("½ added to each cell (a cell is 0)")
    mcc = perfect["matthews_correlation"]
    assert (mcc.value, mcc.high) == (1.0, 1.0)
    assert 0.7 < mcc.low < 0.95


def test_repeated_patients_do_not_shrink_intervals():
    y, called = (np.array(column, dtype=float) for column in rows_of(ASAH))
    tiled = [torch.from_numpy(np.tile(column, 4)) for column in (y, called)]
    patients = patient_groups(np.tile(np.arange(113), 4), 452, torch.device("cpu"))
    four = Confusion(*(4 * c for c in (ASAH.tp, ASAH.fp, ASAH.tn, ASAH.fn)))
    indicators = decision_indicators(*tiled, 0.5)
    figures = clustered_decision_figures(four, indicators, patients)
    for name, once in decision_figures(ASAH).items():
        again = figures[name]
        assert again.value == pytest.approx(once.value)
        if not name.endswith("ratio"):
            assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.15)
        assert again.method.startswith("patient bootstrap, 2000 resamples")
    assert figures["positive_likelihood_ratio"].method.endswith("½ added to each cell")
    there, own = predictive_values_from(figures, 0.1), predictive_values_at(ASAH, 0.1)
    for name in ("ppv", "npv"):
        assert there[name].value == pytest.approx(own[name].value)
        assert there[name].low == pytest.approx(own[name].low, abs=0.05)


def test_infinite_ratios_of_repeated_patients_have_a_bound():
    y = torch.tensor([1.0, 1, 0, 0] * 5, dtype=torch.float64)
    patients = patient_groups([k // 2 for k in range(20)], 20, y.device)
    figures = clustered_decision_figures(
        Confusion(10, 0, 10, 0), decision_indicators(y, y, 0.5), patients, units="images"
    )
    ratio = figures["positive_likelihood_ratio"]
    assert ratio.reason.startswith("infinite: no negative images called positive; above ")
    assert predictive_values_from(figures, 0.1)["ppv"] is ratio
