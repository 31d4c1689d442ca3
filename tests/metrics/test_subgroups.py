from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from medres.errors import MetricInputError
from medres.metrics.estimate import UndefinedEstimate
from medres.metrics.intervals import wilson
from medres.metrics.ranking import auroc
from medres.metrics.subgroups import (
    chi_square_tail,
    subgroup_analysis,
)

from . import slow_twins


def drawn(seed: int, n: int = 400, worse_for: str | None = None):
    generator = np.random.default_rng(seed)
    sex = generator.choice(["F", "M"], size=n)
    site = generator.choice(["A", "B", "C"], size=n)
    y = generator.integers(0, 2, n)
    skill = np.where(sex == worse_for, 0.0, 2.0)
    score = 1 / (1 + np.exp(-(generator.normal(size=n) + skill * (y - 0.5))))
    return y, score, {"sex": sex.tolist(), "site": site.tolist()}


def test_groups_have_the_figures_of_their_rows_alone():
    y, s, groups = drawn(1)
    sex = np.array(groups["sex"])
    column, _ = subgroup_analysis(y, s, groups, threshold=0.5)
    assert (column.column, [g.name for g in column.groups]) == ("sex", ["F", "M"])
    group = column.groups[0]
    inside = sex == "F"
    assert (group.n, group.n_positive) == (inside.sum(), y[inside].sum())
    assert group.figures["auroc"] == auroc(y[inside], s[inside])
    positives = inside & (y == 1)
    assert group.figures["sensitivity"] == wilson(
        int((s[positives] >= 0.5).sum()), int(positives.sum())
    )
    assert group.figures["prevalence"] == wilson(int(y[inside].sum()), int(inside.sum()))


def test_gap_is_newcombes_difference():
    # Newcombe 1998, table II (a): 56/70 − 48/80 = .2, method 10: .0524 to .3339
    y = [1] * 150 + [0] * 20
    s = [1] * 56 + [0] * 14 + [1] * 48 + [0] * 32 + [0] * 20
    group = ["a"] * 70 + ["b"] * 80 + ["a", "b"] * 10
    column = subgroup_analysis(y, s, {"reader": group}, threshold=0.5)[0]
    gap = column.groups[0].gaps["sensitivity"]
    assert gap.value == pytest.approx(0.2)
    assert (round(gap.low, 4), round(gap.high, 4)) == (0.0524, 0.3339)
    assert column.groups[1].gaps["sensitivity"].value == pytest.approx(-0.2)
    table = [[56, 14], [48, 32]]
    test = column.interaction["sensitivity"]
    assert test.p_value == pytest.approx(scipy.stats.fisher_exact(table)[1])
    assert test.method == "Fisher's exact test, 2 groups"


def test_more_groups_take_pearsons_chi_square():
    y, s, groups = drawn(2)
    column = subgroup_analysis(y, s, {"site": groups["site"]}, threshold=0.5)[0]
    site = np.array(groups["site"])
    called, present = s >= 0.5, y == 1
    table = [
        [int((present & (site == k) & (called == way)).sum()) for way in (True, False)]
        for k in "ABC"
    ]
    other = scipy.stats.chi2_contingency(table, correction=False).pvalue
    assert column.interaction["sensitivity"].p_value == pytest.approx(other)
    assert column.interaction["sensitivity"].method == "Pearson's χ², 3 groups"
    assert column.interaction["auroc"].method == "χ² over DeLong variances, 3 groups"


def test_interaction_of_auroc_is_the_squared_z_of_two_independent_areas():
    y, s, groups = drawn(3, worse_for="M")
    column = subgroup_analysis(y, s, groups)[0]
    f, m = (g.figures["auroc"] for g in column.groups)
    variances = []
    for name in ("F", "M"):
        inside = np.array(groups["sex"]) == name
        variances.append(slow_twins.delong_variance(y[inside], s[inside]))
    z = (f.value - m.value) / np.sqrt(sum(variances))
    assert column.interaction["auroc"].p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(z)))
    assert column.interaction["auroc"].p_value < 1e-6
    assert "sensitivity" not in column.interaction
    assert f.value - m.value > 0.2


def test_small_p_values_come_as_often_as_they_say():
    p = []
    for seed in range(100):
        y, s, groups = drawn(seed, n=300)
        column = subgroup_analysis(y, s, {"sex": groups["sex"]})[0]
        p.append(column.interaction["auroc"].p_value)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.06)
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def test_small_groups_are_named_and_not_shown():
    y, s, _ = drawn(4, n=60)
    site = ["A"] * 55 + ["B"] * 3 + ["", None]
    column = subgroup_analysis(y, s, {"site": site}, threshold=0.5, units="patients")[0]
    small = column.groups[1]
    assert (small.name, small.n, column.n_not_stated) == ("B", 3, 2)
    assert small.figures["prevalence"].reason == "not shown: only 3 labelled patients, below 10"
    assert small.figures["auroc"].reason.startswith("not shown: only ")
    assert isinstance(small.gaps["auroc"], UndefinedEstimate)
    assert column.groups[0].gaps["auroc"].reason.startswith("other groups: not shown: only")
    assert column.interaction["auroc"].p_value is None
    assert column.interaction["auroc"].method == "fewer than two groups are large enough"


def test_intersections_cross_columns_and_leave_out_rows_without_either():
    y, s, groups = drawn(5)
    groups["sex"][0] = ""
    crossed = subgroup_analysis(y, s, groups, intersections=[("sex", "site")])[-1]
    assert crossed.column == "sex, site"
    assert [g.name for g in crossed.groups] == ["F, A", "F, B", "F, C", "M, A", "M, B", "M, C"]
    assert sum(g.n for g in crossed.groups) == 399
    assert crossed.n_not_stated == 1


def test_missing_labels_are_in_no_group():
    y, s, groups = drawn(6)
    y = y.astype(float)
    y[:100], s = np.nan, np.where(np.arange(400) < 100, np.nan, s)
    column = subgroup_analysis(y, s, groups, threshold=0.5)[0]
    assert sum(g.n for g in column.groups) == 300


def test_repeated_patients_do_not_shrink_intervals():
    y, s, groups = drawn(7, n=200)
    once = subgroup_analysis(y, s, {"sex": groups["sex"]}, threshold=0.5)[0].groups[0]
    column = subgroup_analysis(
        np.tile(y, 3),
        np.tile(s, 3),
        {"sex": groups["sex"] * 3},
        threshold=0.5,
        patient_ids=np.tile(np.arange(200), 3),
        resamples=400,
    )[0]
    for name in ("auroc", "sensitivity", "prevalence"):
        here, there = once.figures[name], column.groups[0].figures[name]
        assert there.value == pytest.approx(here.value)
        assert there.high - there.low == pytest.approx(here.high - here.low, rel=0.2)
    assert column.interaction["sensitivity"].method == "χ² over bootstrap variances, 2 groups"


def test_perfect_groups_have_no_test():
    y = [0, 1] * 40
    column = subgroup_analysis(y, y, {"g": ["a", "a", "b", "b"] * 20}, threshold=0.5)[0]
    assert column.interaction["auroc"].method.startswith("undefined: a group has no variance")
    assert column.interaction["sensitivity"].p_value == 1.0


def test_chi_square_tail_equals_scipys():
    assert chi_square_tail(3.3, 2) == pytest.approx(scipy.stats.chi2.sf(3.3, 2))


def test_column_as_json_holds_every_group():
    y, s, groups = drawn(8)
    values = subgroup_analysis(y, s, groups, threshold=0.5)[0].as_json()
    assert set(values["groups"]) == {"F", "M"}
    assert set(values["groups"]["F"]["gaps"]) == {"auroc", "sensitivity", "specificity"}
    assert set(values["interaction"]["auroc"]) == {"p_value", "p_holm", "method"}


def test_impossible_groups_are_refused():
    y, s, groups = drawn(9, n=20)
    with pytest.raises(MetricInputError, match="subgroup column 'sex' has 1 values; give one for"):
        subgroup_analysis(y, s, {"sex": ["F"]})
    with pytest.raises(MetricInputError, match=r"an intersection of unknown columns \['age'\]"):
        subgroup_analysis(y, s, groups, intersections=[("sex", "age")])
    with pytest.raises(MetricInputError, match="minimum 1; a figure needs at least 2 rows"):
        subgroup_analysis(y, s, groups, minimum=1)
    with pytest.raises(MetricInputError, match="labels in y_true are neither 0, 1 nor NaN"):
        subgroup_analysis(torch.from_numpy(y) + 1, s, groups)


def test_tests_of_several_columns_are_adjusted_by_holm():
    y, s, groups = drawn(3, worse_for="M")
    sex, site = subgroup_analysis(y, s, groups, threshold=0.5)
    p = [column.interaction["auroc"].p_value for column in (sex, site)]
    assert sex.interaction["auroc"].p_holm == pytest.approx(2 * min(p))
    assert site.interaction["auroc"].p_holm == pytest.approx(max(2 * min(p), *p))
