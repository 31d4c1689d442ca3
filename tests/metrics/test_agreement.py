from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.agreement import agreement_weights, cohens_kappa, kappa_statistic

readings = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40)
KINDS = {"none": None, "linear": "linear", "quadratic": "quadratic"}


def rows_of(matrix) -> tuple[list[int], list[int]]:
    pairs = [(i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) for _ in range(n)]
    return [i for i, _ in pairs], [j for _, j in pairs]


@given(readings, st.sampled_from([*KINDS]))
def test_kappa_equals_scikit_learns(rows, weights: str):
    a, b = zip(*rows, strict=True)
    if len({*a, *b}) < 2:
        return
    other = sklearn.metrics.cohen_kappa_score(a, b, weights=KINDS[weights], labels=[0, 1, 2, 3])
    figure = cohens_kappa(a, b, weights=weights, n_categories=4)
    assert figure.value == pytest.approx(other, abs=1e-12)
    assert figure.low <= figure.value <= figure.high


@pytest.mark.parametrize("weights", [*KINDS])
def test_standard_error_equals_the_delta_method_by_differences(weights: str):
    counts = np.array([[20.0, 5, 2], [4, 15, 6], [1, 3, 14]])
    credit = agreement_weights(3, weights)

    def kappa(matrix) -> float:
        return float(kappa_statistic(torch.from_numpy(matrix), credit))

    step = 1e-4
    gradient = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            moved = np.zeros((3, 3))
            moved[i, j] = step
            gradient[i, j] = (kappa(counts + moved) - kappa(counts - moved)) / (2 * step)
    error = np.sqrt((counts * gradient**2).sum() - (counts * gradient).sum() ** 2 / counts.sum())
    figure = cohens_kappa(*rows_of(counts.astype(int)), weights=weights)
    assert figure.high - figure.value == pytest.approx(1.959963984540054 * error, rel=1e-6)


def test_kappa_of_a_2_by_2_table_by_hand():
    # observed .7; expected .6 × .5 + .4 × .5 = .5
    figure = cohens_kappa(*rows_of([[20, 10], [5, 15]]))
    assert figure.value == pytest.approx(0.4)
    assert figure.method == "Fleiss, Cohen & Everitt"


def test_two_categories_need_no_weights():
    table = rows_of([[20, 10], [5, 15]])
    plain = cohens_kappa(*table)
    for weights in ("linear", "quadratic"):
        weighted = cohens_kappa(*table, weights=weights)
        assert (weighted.value, weighted.low) == pytest.approx((plain.value, plain.low))


def test_unread_rows_are_left_out_and_repeated_patients_do_not_help():
    a, b = (np.array(column, dtype=float) for column in rows_of([[20, 10], [5, 15]]))
    once = cohens_kappa(a, b)
    missing = cohens_kappa(np.append(a, [1, np.nan]), np.append(b, [np.nan, 0]))
    assert (missing.value, missing.low) == pytest.approx((once.value, once.low))
    again = cohens_kappa(np.tile(a, 4), np.tile(b, 4), patient_ids=np.tile(np.arange(50), 4))
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    assert again.method.endswith("clustered by patient")


def test_undefined_and_impossible_readings_are_refused():
    with pytest.raises(UndefinedMetricError, match="both put every row into the same category"):
        cohens_kappa([1, 1], [1, 1])
    with pytest.raises(UndefinedMetricError, match="no row was read by both"):
        cohens_kappa([1, np.nan], [np.nan, 1])
    with pytest.raises(MetricInputError, match="1 of 2 rows hold categories other than 0 to 1"):
        cohens_kappa([0, 2], [0, 1], n_categories=2)
    with pytest.raises(MetricInputError, match="kappa weights 'cubic' are unknown"):
        cohens_kappa([0, 1], [0, 1], weights="cubic")


@pytest.mark.parametrize("category", [float("inf"), 1e300, -1, 0.5])
def test_categories_that_no_table_holds_are_refused(category: float):
    with pytest.raises(MetricInputError, match="1 of 3 rows hold categories other than 0 to"):
        cohens_kappa([0, 1, category], [0, 1, 1])
