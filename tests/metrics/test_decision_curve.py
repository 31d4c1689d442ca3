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


def compared(file: Path, variable: str, y: list[float], score: list[float]) -> int:
    """Check every row of a variable; returns how many have a net benefit.

    dcurves takes its threshold 0 for the smallest above it, where net benefit is the rate of true
    positives; ours begin above 0. `harm` is the test's own, which dcurves takes off.
    """
    rows = published(file, variable)
    n, positives = len(y), sum(y)
    at = torch.tensor([max(t, 1e-300) for t in rows], dtype=torch.float64)
    label, scores = (torch.tensor(values, dtype=torch.float64) for values in (y, score))
    tp, fp = (count.tolist() for count in counts_at(label, scores, at))
    inside = [t for t in rows if t > 0]
    curve = decision_curve(y, score, thresholds=inside)
    assert curve.prevalence == pytest.approx(positives / n)
    model = dict(zip(inside, curve.model.value, strict=True))
    avoided = dict(zip(inside, curve.avoided.value, strict=True))
    for (t, row), true, false in zip(rows.items(), tp, fp, strict=True):
        harm = float(row["harm"])
        assert (int(row["n"]), float(row["pos_rate"])) == (n, pytest.approx(positives / n))
        if "test_pos_rate" in row:
            assert float(row["test_pos_rate"]) == pytest.approx((true + false) / n, abs=1e-12)
        assert float(row["tp_rate"]) == pytest.approx(true / n, abs=1e-12)
        assert float(row["fp_rate"]) == pytest.approx(false / n, abs=1e-12)
        ours = model[t] - harm if t else true / n - harm
        assert float(row["net_benefit"]) == pytest.approx(ours, abs=1e-12 / (1 - t))
        if "net_intervention_avoided" not in row:
            continue
        if t:
            ours = avoided[t] - harm * (1 - t) / t
            assert float(row["net_intervention_avoided"]) == pytest.approx(ours, abs=1e-10)
        else:
            assert row["net_intervention_avoided"] in ("NA", "-Inf")
    return len(rows)


@pytest.mark.parametrize(
    ("results", "column", "thresholds"),
    [
        ("dcurves_r_dca_famhistory.csv", "famhistory", 100),
        ("dcurves_r_case1_results.csv", "famhistory", 100),
        ("dcurves_r_simple_binary_dca_result_df.csv", "age", 100),
        ("dcurves_r_case3_results.csv", "marker", 36),
    ],
)
@pytest.mark.parametrize("data", ["dcurves_df_cancer_dx.csv", "dcurves_df_binary.csv"])
def test_every_row_of_rs_dcurves_is_met(
    test_data: Path, data: str, results: str, column: str, thresholds: int
):
    rows = read(test_data / "golden" / data)
    y = [float(row["cancer"] in ("1", "TRUE")) for row in rows]
    x = [float(row[column]) for row in rows]
    score = x if column == "famhistory" else as_probability(y, x)
    file = test_data / "golden" / results
    for variable, scores in ((column, score), ("all", [1.0] * 750), ("none", [0.0] * 750)):
        assert compared(file, variable, y, scores) == thresholds


def test_rs_dcurves_of_censored_patients_is_met_where_no_time_is_needed(test_data: Path):
    """Case 2 is dcurves' of survival: its rates are Kaplan-Meier's at a time.

    The times to cancer are not in the data beside it, and its prevalence of .14729 is no share of
    750 patients (105 had cancer). Who is called, and what net benefit makes of its rates, is ours.
    """
    file = test_data / "golden" / "dcurves_r_case2_results.csv"
    rows = read(test_data / "golden" / "dcurves_df_binary.csv")
    assert not any("time" in name or name.startswith("tt") for name in rows[0])
    y = torch.tensor([float(row["cancer"] == "TRUE") for row in rows], dtype=torch.float64)
    score = torch.tensor([float(row["cancerpredmarker"]) for row in rows], dtype=torch.float64)
    results = published(file, "cancerpredmarker")
    prevalence = float(results[0.0]["pos_rate"])
    assert abs(prevalence * 750 - round(prevalence * 750)) > 0.4
    tp, fp = counts_at(y, score, torch.tensor([*results], dtype=torch.float64))
    called = ((tp + fp) / 750).tolist()
    everybody, nobody = published(file, "all"), published(file, "none")
    inside = [t for t in results if t > 0]
    curve = decision_curve(y, score, thresholds=inside, prevalence=prevalence)
    checked = 0
    for k, (t, row) in enumerate(results.items()):
        assert float(row["test_pos_rate"]) == pytest.approx(called[k], abs=1e-12)
        if row["net_benefit"] != "NA":  # few are called, and none is followed so long
            net = float(row["tp_rate"]) - float(row["fp_rate"]) * t / (1 - t)
            assert float(row["net_benefit"]) == pytest.approx(net, abs=1e-12)
            checked += 1
        assert float(nobody[t]["net_benefit"]) == 0
    assert checked == 74
    for t, value in zip(inside, curve.all.value, strict=True):
        assert float(everybody[t]["net_benefit"]) == pytest.approx(value, abs=1e-12 / (1 - t))


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
