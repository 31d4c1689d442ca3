from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.decision_curve import THRESHOLDS, counts_at, decision_curve
from medres.metrics.logistic import fit_line

cases = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=2
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def published(path: Path, variable: str) -> dict[float, dict[str, str]]:
    rows = [row for row in read(path) if row["variable"] == variable]
    return {float(row["threshold"]): row for row in rows}


def as_probability(y: list[float], x: list[float]) -> list[float]:
    """What dcurves makes of a predictor that is no probability: its logistic fit."""
    label, value = (torch.tensor(v, dtype=torch.float64)[:, None] for v in (y, x))
    a, b = fit_line(label, value, torch.ones_like(label))
    return torch.sigmoid(a + b * value)[:, 0].tolist()


@pytest.mark.parametrize(
    ("results", "column", "harm"),
    [
        ("dcurves_r_dca_famhistory.csv", "famhistory", 0.0),
        ("dcurves_r_case1_results.csv", "famhistory", 0.0),
        ("dcurves_r_simple_binary_dca_result_df.csv", "age", 0.0),
        ("dcurves_r_case3_results.csv", "marker", 0.0333),
    ],
)
def test_net_benefit_equals_rs_dcurves(test_data: Path, results: str, column: str, harm: float):
    rows = read(test_data / "golden" / "dcurves_df_cancer_dx.csv")
    y, x = ([float(row[name]) for row in rows] for name in ("cancer", column))
    score = x if column == "famhistory" else as_probability(y, x)
    expected = published(test_data / "golden" / results, column)
    everybody = published(test_data / "golden" / results, "all")
    thresholds = [t for t in expected if 0 < t < 1]
    curve = decision_curve(y, score, thresholds=thresholds)
    assert curve.prevalence == pytest.approx(0.14)
    for k, t in enumerate(thresholds):
        row = expected[t]
        assert curve.model.value[k] - harm == pytest.approx(float(row["net_benefit"]), abs=1e-12)
        assert curve.all.value[k] == pytest.approx(float(everybody[t]["net_benefit"]), abs=1e-12)
        if row.get("net_intervention_avoided"):
            avoided = curve.avoided.value[k] - harm * (1 - t) / t
            other = float(row["net_intervention_avoided"])
            assert avoided == pytest.approx(other, abs=1e-10)


@given(cases, st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_counts_at_thresholds_are_those_of_counting(rows, thresholds):
    y, s = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    tp, fp = counts_at(
        torch.from_numpy(y), torch.from_numpy(s), torch.tensor(thresholds, dtype=torch.float64)
    )
    assert tp.tolist() == [float(((s >= t) & (y == 1)).sum()) for t in thresholds]
    assert fp.tolist() == [float(((s >= t) & (y == 0)).sum()) for t in thresholds]


@given(cases)
def test_prevalence_of_the_rows_changes_nothing_but_the_interval(rows):
    y, s = zip(*rows, strict=True)
    own = decision_curve(y, s, thresholds=[0.2, 0.5])
    given_ = decision_curve(y, s, thresholds=[0.2, 0.5], prevalence=sum(y) / len(y))
    for name in ("model", "all", "avoided"):
        assert getattr(given_, name).value == pytest.approx(getattr(own, name).value, abs=1e-12)


def test_net_benefit_at_a_prevalence_by_hand():
    # sensitivity 3/4, false-positive rate 1/5; prevalence .1, t = .2: .1 × .75 − .9 × .2 / 4
    y, s = [1, 1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.8, 0.7, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1]
    curve = decision_curve(y, s, thresholds=[0.2], prevalence=0.1)
    assert curve.model.value[0] == pytest.approx(0.075 - 0.045)
    assert curve.all.value[0] == pytest.approx(0.1 - 0.9 / 4)
    assert curve.avoided.value[0] == pytest.approx(0.9 * 0.8 - 0.1 * 0.25 * 4)
    assert curve.standardized[0] == pytest.approx(0.3)


def test_intervals_equal_the_bootstrap_and_repeated_rows_do_not_shrink_them():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(400, generator=generator, dtype=torch.float64)
    y = (torch.rand(400, generator=generator, dtype=torch.float64) < p).double()
    curve = decision_curve(y, p, thresholds=[0.3, 0.7])
    drawn = torch.randint(400, (3000, 400), generator=generator)
    for k, t in enumerate((0.3, 0.7)):
        called = (p >= t).double()
        each = called * (y - t / (1 - t) * (1 - y))
        spread = 1.96 * float(each[drawn].mean(1).std())
        assert (curve.model.high[k] - curve.model.low[k]) / 2 == pytest.approx(spread, rel=0.05)
        spared = (1 - called) * ((1 - y) - y * (1 - t) / t)
        spread = 1.96 * float(spared[drawn].mean(1).std())
        assert (curve.avoided.high[k] - curve.avoided.low[k]) / 2 == pytest.approx(spread, rel=0.05)
    for prevalence in (None, 0.2):
        once = decision_curve(y, p, thresholds=[0.3], prevalence=prevalence)
        again = decision_curve(
            y.repeat(3),
            p.repeat(3),
            thresholds=[0.3],
            prevalence=prevalence,
            patient_ids=np.tile(np.arange(400), 3),
        )
        for name in ("model", "all", "avoided"):
            assert getattr(again, name).low == pytest.approx(getattr(once, name).low, abs=1e-9)
        assert again.method == "delta method, clustered by patient; pointwise"


def test_where_nobody_is_called_the_limits_say_so_with_the_rule_of_three():
    curve = decision_curve([0, 1, 0, 0], [0.1, 0.2, 0.1, 0.1], thresholds=[0.5])
    rare = 1 - 0.05 ** (1 / 4)
    assert (curve.model.value, curve.model.low, curve.model.high) == (
        (0.0,),
        (pytest.approx(-rare),),
        (pytest.approx(rare),),
    )


def test_curve_as_json_holds_lists():
    values = decision_curve([0, 1], [0.2, 0.8]).as_json()
    assert values["threshold"] == list(THRESHOLDS)
    assert len(values["model"]["low"]) == len(values["standardized"]) == 99


def test_impossible_input_is_refused():
    with pytest.raises(MetricInputError, match="threshold 1; give a share strictly between"):
        decision_curve([0, 1], [0.1, 0.2], thresholds=[1])
    with pytest.raises(MetricInputError, match="prevalence 0; give a share"):
        decision_curve([0, 1], [0.1, 0.2], prevalence=0)
    with pytest.raises(UndefinedMetricError, match="the decision curve is undefined: none of the"):
        decision_curve([1, 1], [0.1, 0.2])
    with pytest.raises(UndefinedMetricError, match=r"1 scores outside \[0, 1\] are no prob"):
        decision_curve([0, 1], [0.1, 1.2])
