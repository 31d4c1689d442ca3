from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.brier import brier_parts, brier_score
from medres.metrics.intervals import patient_bootstrap, patient_groups

from . import slow_twins

probabilities = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40
).map(lambda rows: tuple(zip(*rows, strict=True)))


@given(probabilities)
def test_brier_score_equals_scikit_learn_and_is_the_same_for_the_complement(rows):
    y, p = (np.array(column) for column in rows)
    estimate = brier_score(y, p, resamples=2)
    slow = sklearn.metrics.brier_score_loss(y, p, pos_label=1)
    assert estimate.value == pytest.approx(slow, abs=1e-12)
    complement = brier_score(1 - y, 1 - p, resamples=2)
    assert complement.value == pytest.approx(estimate.value, abs=1e-12)


def test_brier_interval_equals_scikit_learn_in_a_loop():
    generator = np.random.default_rng(2)
    p = generator.random(60)
    y = (generator.random(60) < p).astype(int)
    weights = patient_bootstrap(
        lambda w: w, patient_groups(None, 60, torch.device("cpu")), resamples=200
    ).numpy()
    slow = slow_twins.resampled(sklearn.metrics.brier_score_loss, y, p, weights)
    estimate = brier_score(y, p, resamples=200)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]))
    assert estimate.method == "patient bootstrap, 200 resamples"


def test_brier_interval_of_repeated_rows_does_not_shrink():
    generator = np.random.default_rng(3)
    p, y = generator.random(80), generator.integers(0, 2, 80)
    once = brier_score(y, p)
    again = brier_score(np.tile(y, 4), np.tile(p, 4), patient_ids=np.tile(np.arange(80), 4))
    assert (again.low, again.high) == pytest.approx((once.low, once.high), abs=1e-12)


@given(probabilities, st.sampled_from([1, 3, 10]), st.sampled_from(["width", "mass"]))
def test_brier_parts_add_up_and_equal_the_textbook(rows, bins: int, binning: str):
    y, p = (np.array(column, dtype=float) for column in rows)
    parts = brier_parts(y, p, bins=bins, binning=binning)
    assert parts.score == pytest.approx(np.mean((p - y) ** 2), abs=1e-12)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bin
    assert total == pytest.approx(parts.score, abs=1e-12)
    if binning == "width":
        number = np.minimum((p * bins).astype(int), bins - 1)
        within = reliability = resolution = 0.0
        for k in set(number):
            label, score = y[number == k], p[number == k]
            within += len(label) * (score.var() - 2 * np.mean((score - score.mean()) * label))
            reliability += len(label) * (score.mean() - label.mean()) ** 2
            resolution += len(label) * (label.mean() - y.mean()) ** 2
        assert parts.within_bin == pytest.approx(within / len(y), abs=1e-12)
        assert parts.reliability == pytest.approx(reliability / len(y), abs=1e-12)
        assert parts.resolution == pytest.approx(resolution / len(y), abs=1e-12)


def test_brier_parts_by_hand_have_nothing_within_bins_of_one_score():
    parts = brier_parts([0, 0, 1, 1, 1], [0.25, 0.25, 0.25, 0.75, 0.75])
    # bins: (.25, 1/3, n 3), (.75, 1, n 2); prevalence .6
    assert parts.reliability == pytest.approx((3 * (1 / 12) ** 2 + 2 * 0.25**2) / 5)
    assert parts.resolution == pytest.approx((3 * (4 / 15) ** 2 + 2 * 0.4**2) / 5)
    assert parts.uncertainty == pytest.approx(0.24)
    assert parts.within_bin == pytest.approx(0, abs=1e-15)
    assert set(parts.as_json()) == {"reliability", "resolution", "uncertainty", "within_bin"}


def test_scores_outside_0_to_1_have_no_brier_score():
    for metric in (brier_score, brier_parts):
        with pytest.raises(UndefinedMetricError, match=r"1 scores outside \[0, 1\] are no prob"):
            metric([0, 1], [0.5, 1.5])
    with pytest.raises(MetricInputError, match="0 bins; give at least 1"):
        brier_parts([0, 1], [0.5, 0.5], bins=0)
