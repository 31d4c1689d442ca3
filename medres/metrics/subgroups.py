"""Is the model as good for everybody? Figures by subgroup, gaps, and tests of interaction.

A group too small for a figure is named with its counts and the figure is not shown: an AUROC of
three positives says nothing about the group, and is quoted all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.by_finding import each_finding
from medres.metrics.comparison import holm
from medres.metrics.estimate import LEVEL, Estimate, Figure, UndefinedEstimate
from medres.metrics.independent_difference import independent_difference
from medres.metrics.inputs import ArrayLike, as_tensors, check_counts
from medres.metrics.intervals import (
    RESAMPLES,
    PatientGroups,
    normal_quantile,
    patient_groups,
)
from medres.metrics.placements import delong_area
from medres.metrics.proportions import proportion_figures
from medres.metrics.ranking import auroc

MINIMUM = 10
"""Rows of a class without which a figure that rests on that class is not shown."""

COMPARED = ("auroc", "sensitivity", "specificity")


@dataclass(frozen=True)
class Subgroup:
    """One group of rows.

    Attributes:
        name: its value, or values with a comma between.
        n: labelled rows.
        n_positive: rows with the finding.
        figures: prevalence, auroc, sensitivity, specificity; each an Estimate, or why there is
            none.
        gaps: of auroc, sensitivity and specificity: this group's figure less that of all other
            groups together.
    """

    name: str
    n: int
    n_positive: int
    figures: dict[str, Figure]
    gaps: dict[str, Figure]

    def as_json(self) -> dict[str, object]:
        """The group as `evaluation.json` holds it."""
        return {
            "n": self.n,
            "n_positive": self.n_positive,
            **{name: figure.as_json() for name, figure in self.figures.items()},
            "gaps": {name: figure.as_json() for name, figure in self.gaps.items()},
        }


@dataclass(frozen=True)
class InteractionTest:
    """Whether a figure differs between groups by more than chance.

    Attributes:
        p_value: in [0, 1], or None where it is undefined.
        method: which test, or why there is none.
        p_holm: adjusted over the columns of the analysis, for this figure.
    """

    p_value: float | None
    method: str
    p_holm: float | None = None

    def as_json(self) -> dict[str, object]:
        """The test as `evaluation.json` holds it."""
        return {"p_value": self.p_value, "p_holm": self.p_holm, "method": self.method}


@dataclass(frozen=True)
class SubgroupColumn:
    """The groups of one column, or of the intersection of several.

    Attributes:
        column: its name, or names with a comma between.
        groups: sorted by name.
        n_not_stated: labelled rows without a value, in no group.
        interaction: a test each of auroc, sensitivity, specificity, over the groups that are shown.
    """

    column: str
    groups: tuple[Subgroup, ...]
    n_not_stated: int
    interaction: dict[str, InteractionTest]

    def as_json(self) -> dict[str, object]:
        """The column as `evaluation.json` holds it."""
        return {
            "groups": {group.name: group.as_json() for group in self.groups},
            "n_not_stated": self.n_not_stated,
            "interaction": {name: test.as_json() for name, test in self.interaction.items()},
        }


@dataclass(frozen=True)
class _Options:
    threshold: float | None
    minimum: int
    level: float
    resamples: int
    seed: int
    units: str


@each_finding(own=("threshold",), masks=False)
def subgroup_analysis(
    y_true: ArrayLike,
    y_score: ArrayLike,
    groups: Mapping[str, Sequence[object]],
    *,
    threshold: float | None = None,
    intersections: Sequence[Sequence[str]] = (),
    minimum: int = MINIMUM,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    units: str = "rows",
) -> tuple[SubgroupColumn, ...]:
    """Figures, gaps and tests by subgroup.

    Gaps have Newcombe's square-and-add interval of the group's and the others' intervals, as if
    the two were independent; where they share patients (as views do) it errs on the wide side.

    Tests over the groups shown: AUROC by DeLong's variances, χ² = Σ (θ − θ̄)² / v; rates by Fisher's
    exact test for two groups, by Pearson's χ² for more. Where patients repeat, rates take the same
    χ² over their bootstrap variances.

    Args:
        y_true: (N,) or (N, F) labels: 0, 1, or NaN = missing.
        y_score: the same shape, finite wherever the label is given.
        groups: (N,) values by column, such as sex, age band, scanner, view, site; empty, None or
            NaN = not stated.
        threshold: locked, for sensitivity and specificity; None: they are undefined.
        intersections: sets of columns to cross, such as ("sex", "age_band").
        minimum: rows of the class or classes that a figure rests on, without which it is not shown.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap, where patients repeat.
        seed: of the patient bootstrap.
        units: what a row is, in the plural, for reasons.

    Raises:
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite, a column
            of another length, an intersection of an unknown column, a minimum below 2.

    References:
        Newcombe, Stat Med 17 (1998) 873-890; DeLong et al., Biometrics 44 (1988) 837-845; on the
        test: Altman & Bland, BMJ 326 (2003) 219.
    """
    if minimum < 2:
        raise MetricInputError(f"minimum {minimum}; a figure needs at least 2 rows of a class")
    label, score = as_tensors(y_true, y_score)
    columns = _columns(groups, intersections, label.numel())
    given = ~label.isnan()
    strange_labels = (given & (label != 0) & (label != 1)).sum()
    strange_scores = (given & ~score.isfinite()).sum()
    check_counts(int(strange_labels), int(strange_scores), label.numel())
    patients = patient_groups(patient_ids, label.numel(), label.device)
    options = _Options(threshold, minimum, level, resamples, seed, units)
    rows = _Rows(label[given], score[given], patients.index[given])
    kept = given.cpu().numpy()
    return _adjusted(
        [_column(name, values[kept], rows, options) for name, values in columns.items()]
    )


def _adjusted(columns: Sequence[SubgroupColumn]) -> tuple[SubgroupColumn, ...]:
    """Holm's p-values over the columns, for each figure: many columns find some difference."""
    tests = [dict(column.interaction) for column in columns]
    for figure in COMPARED:
        tested = [t for t in tests if figure in t and t[figure].p_value is not None]
        p_values = [t[figure].p_value or 0.0 for t in tested]
        for test, p in zip(tested, holm(p_values), strict=True):
            test[figure] = replace(test[figure], p_holm=p)
    return tuple(replace(c, interaction=t) for c, t in zip(columns, tests, strict=True))


@dataclass(frozen=True, eq=False)
class _Rows:
    label: Tensor
    score: Tensor
    patient: Tensor

    def select(self, inside: Tensor) -> _Rows:
        return _Rows(self.label[inside], self.score[inside], self.patient[inside])

    @property
    def patients(self) -> PatientGroups:
        unique, index = torch.unique(self.patient, return_inverse=True)
        return PatientGroups(index, len(unique))


Names = np.ndarray[tuple[int, ...], np.dtype[np.str_]]


def _columns(
    groups: Mapping[str, Sequence[object]], intersections: Sequence[Sequence[str]], n_rows: int
) -> dict[str, Names]:
    columns: dict[str, Names] = {}
    for name, values in groups.items():
        if len(values) != n_rows:
            raise MetricInputError(
                f"subgroup column {name!r} has {len(values)} values; give one for each of "
                f"{n_rows} rows"
            )
        text = ["" if v is None else str(v).strip() for v in values]
        columns[name] = np.array(["" if v == "nan" else v for v in text], dtype=np.str_)
    for names in intersections:
        if unknown := sorted(set(names) - set(groups)):
            raise MetricInputError(
                f"an intersection of unknown columns {unknown}; the columns are {sorted(groups)}"
            )
        parts = [columns[name] for name in names]
        crossed = [", ".join(row) if all(row) else "" for row in zip(*parts, strict=True)]
        columns[", ".join(names)] = np.array(crossed, dtype=np.str_)
    return columns


def _column(name: str, values: Names, rows: _Rows, options: _Options) -> SubgroupColumn:
    stated = torch.as_tensor(values != "", device=rows.label.device)
    parts = {
        str(value): torch.as_tensor(values == value, device=rows.label.device)
        for value in np.unique(values[values != ""])
    }
    of_group = {value: _figures(rows.select(inside), options) for value, inside in parts.items()}
    groups = []
    for value, inside in parts.items():
        others = _figures(rows.select(stated & ~inside), options)
        gaps = {
            k: independent_difference(of_group[value][k], others[k], second_name="other groups")
            for k in COMPARED
        }
        label = rows.label[inside]
        n, n_positive = label.numel(), int(label.sum())
        groups.append(Subgroup(value, n, n_positive, of_group[value], gaps))
    chosen = [rows.select(parts[group.name]) for group in groups]
    tests = {
        figure: _interaction(figure, groups, chosen, options)
        for figure in COMPARED
        if options.threshold is not None or figure == "auroc"
    }
    return SubgroupColumn(name, tuple(groups), int((~stated).sum()), tests)


def _figures(rows: _Rows, options: _Options) -> dict[str, Figure]:
    n, m = rows.label.numel(), int(rows.label.sum())
    sizes = {"positive": m, "negative": n - m}
    patients = rows.patients
    figures: dict[str, Figure] = {}
    if n >= options.minimum:
        figures["prevalence"] = _rate(rows.label, torch.ones_like(rows.label), patients, options)
    else:
        figures["prevalence"] = _too_few({"labelled": n}, options)
    if min(sizes.values()) < options.minimum:
        figures["auroc"] = _too_few(sizes, options)
    else:
        figures["auroc"] = auroc(
            rows.label,
            rows.score,
            level=options.level,
            patient_ids=patients.index,
            resamples=options.resamples,
            seed=options.seed,
        )
    for name, kind in (("sensitivity", "positive"), ("specificity", "negative")):
        if options.threshold is None:
            figures[name] = UndefinedEstimate("no threshold is locked", options.level)
        elif sizes[kind] < options.minimum:
            figures[name] = _too_few({kind: sizes[kind]}, options)
        else:
            called = (rows.score >= options.threshold).to(rows.label.dtype)
            of = rows.label if kind == "positive" else 1 - rows.label
            right = called if kind == "positive" else 1 - called
            figures[name] = _rate(right * of, of, patients, options)
    return figures


def _too_few(sizes: Mapping[str, int], options: _Options) -> UndefinedEstimate:
    short = [f"{n} {kind}" for kind, n in sizes.items() if n < options.minimum]
    return UndefinedEstimate(
        f"not shown: only {' and '.join(short)} {options.units}, below {options.minimum}",
        options.level,
    )


def _rate(right: Tensor, of: Tensor, patients: PatientGroups, options: _Options) -> Figure:
    (figure,) = proportion_figures(
        right[:, None],
        of[:, None],
        patients,
        ["no rows"],
        level=options.level,
        resamples=options.resamples,
        seed=options.seed,
    )
    return figure


def _interaction(
    figure: str, groups: Sequence[Subgroup], rows: Sequence[_Rows], options: _Options
) -> InteractionTest:
    shown = [
        (estimate, part)
        for group, part in zip(groups, rows, strict=True)
        if isinstance(estimate := group.figures[figure], Estimate)
    ]
    if len(shown) < 2:
        return InteractionTest(None, "fewer than two groups are large enough")
    clustered = any(part.patients.repeated for _, part in shown)
    if figure != "auroc" and not clustered:
        return _rates_differ(figure, [part for _, part in shown], options)
    variances = [
        float(delong_area(part.label, part.score).variance)
        if figure == "auroc" and not part.patients.repeated
        else ((estimate.high - estimate.low) / (2 * normal_quantile(options.level))) ** 2
        for estimate, part in shown
    ]
    if min(variances) <= 0:
        return InteractionTest(None, "undefined: a group has no variance (a figure of 0 or 1)")
    values = np.array([estimate.value for estimate, _ in shown])
    weights = 1 / np.array(variances)
    mean = (weights * values).sum() / weights.sum()
    statistic = float((weights * (values - mean) ** 2).sum())
    return InteractionTest(
        chi_square_tail(statistic, len(shown) - 1),
        f"χ² over {'bootstrap' if clustered else 'DeLong'} variances, {len(shown)} groups",
    )


def _rates_differ(figure: str, rows: Sequence[_Rows], options: _Options) -> InteractionTest:
    from scipy.stats import chi2_contingency, fisher_exact  # late: half a second

    table = []
    for part in rows:
        of = part.label == (1 if figure == "sensitivity" else 0)
        called = part.score >= (options.threshold or 0.0)
        table.append([int((of & called).sum()), int((of & ~called).sum())])
    if not all(sum(column) for column in zip(*table, strict=True)):
        return InteractionTest(1.0, "all groups are equal")
    if len(table) == 2:
        return InteractionTest(float(fisher_exact(table)[1]), "Fisher's exact test, 2 groups")
    result = chi2_contingency(table, correction=False)
    note = " (expected counts below 5)" if result.expected_freq.min() < 5 else ""
    return InteractionTest(float(result.pvalue), f"Pearson's χ², {len(table)} groups{note}")


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(χ² ≥ statistic) with so many degrees of freedom."""
    half = torch.tensor([degrees / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))
