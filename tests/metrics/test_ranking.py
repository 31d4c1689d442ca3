from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.auroc_intervals import METHODS, pairs_bound
from medres.metrics.intervals import patient_bootstrap, patient_groups
from medres.metrics.placements import delong_area
from medres.metrics.ranking import auroc, auroc_tensor, average_precision
from medres.metrics.sorted_scores import (
    area_under_roc,
    cumulative_counts,
    mean_precision,
    rank_scores,
)

from . import slow_twins

# 2 positives and 3 negatives; pairs: .9 beats all three, .4 ties one, beats one, loses to one.
TIED = ([1, 0, 1, 0, 0], [0.9, 0.8, 0.4, 0.4, 0.1])


def rows(y_true, y_score):
    return [torch.as_tensor(a, dtype=torch.float64) for a in (y_true, y_score)]


def counts(y_true, y_score):
    return cumulative_counts(rank_scores(*rows(y_true, y_score)))


def both_classes():
    labels = hnp.arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 1))
    return labels.filter(lambda y: 0 < y.sum() < len(y))


def few_values(y):
    """Scores of which many are tied, some negative, some tiny."""
    values = st.sampled_from([-3.5, -1e-300, 0.0, -0.0, 0.1, 0.1 + 2**-55, 0.25, 7.0, 1e300])
    return hnp.arrays(np.float64, len(y), elements=values)


labelled = both_classes().flatmap(lambda y: st.tuples(st.just(y), few_values(y)))


@pytest.fixture(scope="module")
def asah(test_data: Path) -> dict[str, list[float]]:
    with (test_data / "golden" / "aSAH.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = {name: [float(row[name]) for row in rows] for name in ("wfns", "s100b", "ndka")}
    return table | {"poor": [float(row["outcome"] == "Poor") for row in rows]}


@pytest.mark.parametrize(
    ("score", "area", "variance"),
    [
        ("wfns", 0.823678861788618, 0.00146991470882363),
        ("s100b", 0.731368563685637, 0.00266868245717244),
        ("ndka", 0.611957994579946, 0.0031908105493913),
    ],
)
def test_auroc_and_variance_equal_procs(asah, score: str, area: float, variance: float):
    assert (len(asah["poor"]), sum(asah["poor"])) == (113, 41)
    assert auroc(asah["poor"], asah[score]).value == pytest.approx(area, abs=1e-15)
    found = delong_area(*rows(asah["poor"], asah[score]))
    assert float(found.variance) == pytest.approx(variance, rel=1e-13)


@pytest.mark.parametrize(
    ("score", "low", "high", "digits"),
    [
        ("s100b", 0.630118211762, 0.832618915610, 1e-12),
        ("ndka", 0.501244999271703, 0.722670989888189, 1e-14),
    ],
)
def test_auroc_interval_equals_procs(asah, score: str, low: float, high: float, digits: float):
    estimate = auroc(asah["poor"], asah[score], method="DeLong")
    assert estimate.low == pytest.approx(low, abs=digits)
    assert estimate.high == pytest.approx(high, abs=digits)
    assert (estimate.level, estimate.method) == (0.95, "DeLong")


def test_auroc_of_a_table_with_ties_worked_by_hand():
    # pairs (3 + 1 + ½) / 6; V10 = 1, ½; V01 = ½, ¾, 1 for .8, .4, .1
    assert auroc(*TIED).value == 0.75
    assert float(delong_area(*rows(*TIED)).variance) == pytest.approx(0.125 / 2 + 0.0625 / 3)


def test_average_precision_of_a_table_with_ties_worked_by_hand():
    # at .9: recall ½, precision 1; at .4: recall 1, precision 2 / 4
    assert average_precision(*TIED, resamples=10).value == 0.5 * 1 + 0.5 * 0.5


@given(labelled)
@settings(deadline=None)
def test_ranking_equals_the_slow_twins_and_scikit_learn(case):
    y, s = case
    tp, fp = counts(y, s)
    area, precision = float(area_under_roc(tp, fp)), float(mean_precision(tp, fp))
    assert area == pytest.approx(slow_twins.auroc(y, s), abs=1e-14)
    assert area == pytest.approx(sklearn.metrics.roc_auc_score(y, s), abs=1e-14)
    assert precision == pytest.approx(slow_twins.average_precision(y, s), abs=1e-14)
    assert precision == pytest.approx(sklearn.metrics.average_precision_score(y, s), abs=1e-14)
    if 1 < y.sum() < len(y) - 1:
        variance = float(delong_area(*rows(y, s)).variance)
        assert variance == pytest.approx(slow_twins.delong_variance(y, s), abs=1e-14)


@given(labelled)
@settings(deadline=None)
def test_auroc_is_invariant_to_monotone_transforms_and_row_order(case):
    y, s = case
    same = auroc(y, s)
    assert auroc(y, sklearn_rank(s)) == same
    assert auroc(y[::-1].copy(), s[::-1].copy()) == same


def sklearn_rank(scores):
    return np.unique(scores, return_inverse=True)[1] ** 3 - 5.0


@given(labelled)
@settings(deadline=None)
def test_auroc_of_the_complement_is_one_minus_it_with_the_mirrored_interval(case):
    y, s = case
    for method in METHODS:
        one, flipped, swapped = (
            auroc(*rows, method=method) for rows in ((y, s), (y, -s), (1 - y, s))
        )
        for other in (flipped, swapped):
            assert other.value == pytest.approx(1 - one.value, abs=1e-14)
            assert other.low == pytest.approx(1 - one.high, abs=1e-12)
            assert other.high == pytest.approx(1 - one.low, abs=1e-12)


@given(labelled)
@settings(deadline=None)
def test_intervals_contain_the_value_within_0_and_1(case):
    y, s = case
    for estimate in (auroc(y, s), average_precision(y, s, resamples=200)):
        assert 0 <= estimate.low <= estimate.high <= 1
        assert estimate.low <= estimate.value <= estimate.high or "bootstrap" in estimate.method


@given(labelled, st.integers(0, 5))
@settings(deadline=None)
def test_weighted_counts_equal_repeated_rows(case, seed: int):
    y, s = case
    label, score = torch.as_tensor(y, dtype=torch.float64), torch.as_tensor(s)
    ranked = rank_scores(label, score)
    weights = patient_bootstrap(
        lambda w: w, patient_groups(None, len(y), label.device), resamples=5, seed=seed
    )
    for prepared in (ranked, ranked.drop_repeats()):
        tp, fp = cumulative_counts(prepared, weights[:, ranked.order])
        for row, drawn in enumerate(weights.numpy().astype(int)):
            yy, ss = np.repeat(y, drawn), np.repeat(s, drawn)
            if 0 < yy.sum() < len(yy):
                area = slow_twins.auroc(yy, ss)
                assert float(area_under_roc(tp, fp)[row]) == pytest.approx(area, abs=1e-14)
                precision = slow_twins.average_precision(yy, ss)
                assert float(mean_precision(tp, fp)[row]) == pytest.approx(precision, abs=1e-14)
            else:
                assert area_under_roc(tp, fp)[row].isnan()


def test_order_inside_ties_does_not_matter_to_the_bootstrap():
    y, s = np.array([0, 1, 0, 1, 1, 0, 0, 1]), np.array([1.0, 1, 1, 2, 2, 2, 3, 3])
    ids = np.arange(8)
    for order in ([1, 0, 2, 4, 3, 5, 7, 6], [7, 6, 5, 4, 3, 2, 1, 0]):
        assert average_precision(y[order], s[order], patient_ids=ids[order]) == average_precision(
            y, s, patient_ids=ids
        )


def test_perfect_ranking_gets_a_one_sided_bound_that_is_named():
    estimate = auroc([0] * 30 + [1] * 10, range(40))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.05**0.1)
    assert estimate.method == "one-sided Clopper-Pearson bound, 10 disjoint pairs"


def test_inverse_ranking_gets_the_mirrored_bound():
    estimate = auroc([1] * 30 + [0] * 10, range(40))
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(1 - 0.05**0.1)


def test_all_tied_scores_get_a_bound_around_one_half():
    estimate = auroc([0, 1] * 10, [0.3] * 20, method="DeLong")
    assert estimate.value == 0.5
    assert estimate.low == pytest.approx(0.05**0.1 / 2)
    assert estimate.high == pytest.approx(1 - 0.05**0.1 / 2)
    assert estimate.method == "bound from all-tied scores, 10 disjoint pairs"


def test_the_bound_of_a_perfect_ranking_covers_its_level():
    # Worst case by simulation: with true AUROC just below the bound, a perfect sample of 5 + 20
    # is rarer than 1 in 20.
    bound = pairs_bound(1.0, 5, 20).low
    generator = torch.Generator().manual_seed(0)
    shift = 2**0.5 * torch.distributions.Normal(0, 1).icdf(torch.tensor(bound))
    positive = torch.randn((20_000, 5), generator=generator) + shift
    negative = torch.randn((20_000, 20), generator=generator)
    assert float((positive.amin(1) > negative.amax(1)).float().mean()) < 0.05


def test_one_positive_has_a_value_but_no_delong_interval_and_says_so():
    rows = [1, 0, 0, 0], [0.5, 0.1, 0.2, 0.9]
    estimate = auroc(*rows, method="DeLong")
    assert estimate.value == pytest.approx(2 / 3)
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert estimate.method == "no interval: DeLong needs 2, 1 positive"
    assert auroc(*rows).note == "too few positives for this interval: 1, shown to cover from 10"


@pytest.mark.parametrize(("labels", "absent"), [([1, 1, 1], "negative"), ([0, 0, 0], "positive")])
def test_one_class_only_is_undefined(labels: list[int], absent: str):
    with pytest.raises(UndefinedMetricError, match=f"AUROC is .* none of the 3 rows is {absent}"):
        auroc(labels, [0.1, 0.2, 0.3])
    with pytest.raises(UndefinedMetricError, match="average precision is undefined"):
        average_precision(labels, [0.1, 0.2, 0.3])


def test_nan_scores_are_refused_not_ranked_highest():
    with pytest.raises(MetricInputError, match="1 of 3 scores in y_score are NaN or infinite"):
        auroc([0, 1, 1], [0.1, float("nan"), 0.3])


def test_patients_with_several_rows_get_the_patient_bootstrap():
    generator = torch.Generator().manual_seed(0)
    label = (torch.arange(60) % 3 == 0).double()
    score = label + torch.randn(60, generator=generator)
    once = auroc(label, score, method="DeLong")
    # Every row four times over: no new information, so that the interval must not shrink.
    ids = torch.arange(60).repeat(4)
    again = auroc(label.repeat(4), score.repeat(4), patient_ids=ids)
    naive = auroc(label.repeat(4), score.repeat(4), method="DeLong")
    assert again.method == "patient bootstrap, 2000 resamples, logit scale"
    assert again.value == once.value
    assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_perfect_ranking_of_repeated_patients_is_bounded_by_patients_not_rows():
    estimate = auroc([0, 0, 1, 1] * 10, [0.1, 0.2, 0.8, 0.9] * 10, patient_ids=np.arange(40) // 2)
    assert estimate.low == pytest.approx(0.05 ** (1 / 10))


def test_resamples_without_a_class_are_left_out_and_counted():
    estimate = average_precision([1, 0, 0, 1, 0], [0.9, 0.8, 0.1, 0.3, 0.2], resamples=400)
    # (2/5)^5 + (3/5)^5 of the resamples hold one class only; without positives: (3/5)^5 = .078
    left_out = int(estimate.method.split("(")[1].split()[0])
    assert left_out / 400 == pytest.approx(0.078, abs=0.03)


def test_bootstrap_interval_of_average_precision_equals_scikit_learn_in_a_loop():
    generator = np.random.default_rng(1)
    y = generator.integers(0, 2, 80)
    s = np.round(y + generator.normal(size=80), 1)
    weights = patient_bootstrap(
        lambda w: w, patient_groups(None, 80, torch.device("cpu")), resamples=300
    ).numpy()
    slow = slow_twins.resampled(sklearn.metrics.average_precision_score, y, s, weights)
    estimate = average_precision(y, s, resamples=300)
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]))


def test_a_million_labels_in_float32_are_exact():
    y = torch.arange(1_000_000) % 2
    s = (torch.arange(1_000_000) // 2).float()  # each positive ties with one negative
    assert auroc(y.float(), s).value == 0.5


def columns(n: int = 60):
    generator = torch.Generator().manual_seed(5)
    label = (torch.rand((n, 4), generator=generator) < 0.4).double()
    score = (label + torch.randn((n, 4), generator=generator)).round(decimals=1)
    label[::7, 1] = torch.nan
    score[::7, 1] = torch.nan
    label[:, 2] = 1
    return label, score


@pytest.mark.parametrize("method", METHODS)
def test_several_findings_at_once_equal_each_alone_with_missing_labels_left_out(method):
    label, score = columns()
    table = auroc_tensor(label, score, method=method)
    assert table.defined.tolist() == [True, True, False, True]
    assert table.value[2].isnan() & table.low[2].isnan() & table.high[2].isnan()
    for f in (0, 1, 3):
        given_rows = ~label[:, f].isnan()
        alone = auroc(label[given_rows, f], score[given_rows, f], method=method)
        found = [float(limit[f]) for limit in (table.value, table.low, table.high)]
        assert found == pytest.approx([alone.value, alone.low, alone.high], abs=1e-15)
    single = auroc_tensor(label[:, 0], score[:, 0], method=method)
    assert float(single.low) == float(table.low[0])


@pytest.mark.parametrize(("y", "s"), [([0, 1, 2.0], [1, 2, 3]), ([0, 1, 1], [1, 2, torch.inf])])
def test_a_tensor_of_what_cannot_be_ranked_is_undefined_not_silently_wrong(y, s):
    estimate = auroc_tensor(torch.tensor(y), torch.tensor(s))
    assert not estimate.defined
    assert estimate.value.isnan()


def test_three_axes_are_refused():
    with pytest.raises(MetricInputError, match=r"shape \(1, 1, 1\); give \(N,\) for one finding"):
        auroc_tensor(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))


def test_the_patient_bootstrap_can_be_asked_for():
    y, s = (a[:, 0] for a in columns(400))
    drawn = auroc(y, s, method="patient bootstrap")
    closed = auroc(y, s, method="logit-DeLong")
    assert drawn.method == "patient bootstrap, 2000 resamples, logit scale"
    assert [drawn.low, drawn.high] == pytest.approx([closed.low, closed.high], abs=0.01)


def test_newcombe_for_repeated_patients_and_unknown_methods_are_refused():
    with pytest.raises(MetricInputError, match="takes one row a patient, and some patient_ids re"):
        auroc([0, 1, 1], [1, 2, 3], patient_ids=[1, 1, 2], method="Newcombe")
    with pytest.raises(MetricInputError, match="AUROC interval 'Wald' is unknown; choose one of N"):
        auroc([0, 1], [1, 2], method="Wald")
