"""Is one model better than another, or at least no worse? Differences with intervals and p-values.

Two models on the same patients are compared paired: what makes a patient hard for both does not
count against either. Several images a patient are allowed everywhere but between two sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.by_finding import each_finding
from medres.metrics.estimate import LEVEL, Estimate, few_note
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import (
    BOOTSTRAP_NEEDS,
    RESAMPLES,
    bootstrap_estimate,
    normal_quantile,
    patient_bootstrap,
    patient_groups,
    percentile_intervals,
)
from medres.metrics.placements import delong_area, placement_covariance, placements_of_rows
from medres.metrics.ranking import patients_by_class
from medres.metrics.sorted_scores import check_both_classes
from medres.metrics.weighted import WEIGHTED, WeightedMetric


@dataclass(frozen=True)
class Comparison:
    """Two figures and what their difference says.

    Attributes:
        first: figure of the first model.
        second: figure of the second.
        difference: first − second, with its interval.
        p_value: two-sided, of no difference.
        test: which, in words a reviewer knows.
        statistic: of the test: Z, t or χ²; None where it has none.
        standard_error: of the difference; None where the test has none.
        samples: (resamples,) differences, where it was bootstrapped.
    """

    first: float
    second: float
    difference: Estimate
    p_value: float
    test: str
    statistic: float | None = None
    standard_error: float | None = None
    samples: Tensor | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, object]:
        """The comparison as `evaluation.json` holds it."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference.as_json(),
            "p_value": self.p_value,
            "test": self.test,
            "statistic": self.statistic,
        }


@each_finding(rows=(("y_true", "first_score", "second_score"),))
def compare_aurocs(
    y_true: ArrayLike,
    first_score: ArrayLike,
    second_score: ArrayLike,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
) -> Comparison:
    """DeLong's test of two models on the same rows; Obuchowski's variance for repeated patients.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        first_score: the same shape, finite; higher = more suspicious.
        second_score: the same shape, finite, of the other model, on any scale.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.

    Raises:
        UndefinedMetricError: y_true holds one class only, or fewer than two patients of a class, or
            both models rank perfectly, so that the difference has no variance.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.

    References:
        DeLong et al., Biometrics 44 (1988) 837-845; Obuchowski, Biometrics 53 (1997) 567-578.
    """
    label, first = as_tensors(y_true, first_score)
    _, second = as_tensors(label, second_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    placed = torch.stack([placements_of_rows(label, score) for score in (first, second)])
    covariance = placement_covariance(label, placed, patients)
    areas = (delong_area(label, s, with_variance=False).area for s in (first, second))
    by_class = patients_by_class(label, patients.index, patients.n)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    own = covariance.diagonal().sum()
    figures = (*areas, variance, own, label.sum(), (1 - label).sum(), *by_class)
    a, b, v, own_variance, m, n, m_patients, n_patients = read_back(
        torch.stack([label, label]), torch.stack([first, second]), *figures
    )
    check_both_classes("the comparison of AUROCs", int(m), int(n))
    if min(m_patients, n_patients) < 2 or own_variance == 0:
        raise UndefinedMetricError(
            "DeLong's test is undefined: the AUROCs have no variance (fewer than two patients of a "
            "class, or scores that rank perfectly or not at all); compare on more data"
        )
    test = "DeLong, paired" + (", clustered (Obuchowski)" if patients.repeated else "")
    # Equal rankings leave a rounding of about 1e-18, not a variance.
    error = math.sqrt(v) if v > 1e-14 * own_variance else 0.0
    z = (a - b) / error if error else 0.0
    half = normal_quantile(level) * error
    difference = Estimate(a - b, a - b - half, a - b + half, level, test)
    return Comparison(a, b, difference, _two_sided(z), test, z, error)


@each_finding(rows=(("first_true", "first_score"), ("second_true", "second_score")))
def compare_aurocs_unpaired(
    first_true: ArrayLike,
    first_score: ArrayLike,
    second_true: ArrayLike,
    second_score: ArrayLike,
    *,
    level: float = LEVEL,
) -> Comparison:
    """DeLong's test of one model in two sets, or two models each in its own; no patient in both.

    The statistic is compared with Student's t by Welch and Satterthwaite's degrees of freedom, as
    in R's pROC.

    Args:
        first_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        first_score: the same shape, finite; higher = more suspicious.
        second_true: (M,) or (M, F) of the other set.
        second_score: the same shape, of the other set.
        level: confidence level in (0, 1).

    Raises:
        UndefinedMetricError: a set holds fewer than two rows of a class, or neither has a variance.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.

    References:
        DeLong et al., Biometrics 44 (1988) 837-845; Robin et al., BMC Bioinformatics 12 (2011) 77.
    """
    from scipy.stats import t as student  # late: half a second, and only this test needs it

    normal_quantile(level)
    (a, v_a, n_a), (b, v_b, n_b) = (
        _area_and_variance(*rows)
        for rows in ((first_true, first_score), (second_true, second_score))
    )
    if v_a + v_b == 0:
        raise UndefinedMetricError(
            "DeLong's test is undefined: neither AUROC has a variance (scores rank perfectly or "
            "not at all); compare on more data"
        )
    error = math.sqrt(v_a + v_b)
    freedom = (v_a + v_b) ** 2 / (v_a**2 / (n_a - 1) + v_b**2 / (n_b - 1))
    t = (a - b) / error
    half = float(student.ppf((1 + level) / 2, freedom)) * error
    test = "DeLong, unpaired"
    difference = Estimate(a - b, a - b - half, a - b + half, level, test)
    p_value = float(2 * student.sf(abs(t), freedom))
    return Comparison(a, b, difference, p_value, test, t, error)


def _area_and_variance(y_true: ArrayLike, y_score: ArrayLike) -> tuple[float, float, int]:
    label, score = as_tensors(y_true, y_score)
    found = delong_area(label, score)
    figures = (found.area, found.variance, found.positives, found.negatives)
    area, variance, m, n = read_back(label, score, *figures)
    check_both_classes("the comparison of AUROCs", int(m), int(n))
    if min(m, n) < 2:
        raise UndefinedMetricError(
            f"DeLong's variance is undefined for {int(m)} positive and {int(n)} negative rows; it "
            "needs two of each"
        )
    return area, variance, int(m + n)


@each_finding(rows=(("y_true", "first_score", "second_score"),))
def bootstrap_difference(
    y_true: ArrayLike,
    first_score: ArrayLike,
    second_score: ArrayLike,
    metric: WeightedMetric | Literal["auroc", "average_precision", "brier_score"] = "auroc",
    *,
    second_metric: WeightedMetric | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Difference of any metric between two models, paired: both see the same resampled patients.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        first_score: the same shape, finite.
        second_score: the same shape, finite.
        metric: a name, or a metric of weighted rows, such as `weighted.at_threshold` gives.
        second_metric: of the second model, where it differs, as with a threshold of its own.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: how many.
        seed: of the draws.

    Returns:
        Comparison with a percentile interval; the p-value doubles the smaller share of resampled
        differences on one side of 0, and is never below 2 / (resamples + 1).

    Raises:
        UndefinedMetricError: the rows do not define the metric.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite, an unknown
            metric.
    """
    label, first = as_tensors(y_true, first_score)
    _, second = as_tensors(label, second_score)
    if isinstance(metric, str) and metric not in WEIGHTED:
        raise MetricInputError(
            f"metric {metric!r} is unknown; choose one of {', '.join(WEIGHTED)}, or give a metric "
            "of weighted rows (medres.metrics.weighted)"
        )
    chosen = WEIGHTED[metric] if isinstance(metric, str) else metric
    patients = patient_groups(patient_ids, label.numel(), label.device)
    pair = chosen(label, first), (second_metric or chosen)(label, second)

    def statistics(rows: Tensor) -> Tensor:
        return torch.stack([statistic(rows) for statistic in pair], dim=1).to(torch.float64)

    by_class = patients_by_class(label, patients.index, patients.n)
    whole = statistics(torch.ones((1, label.numel()), device=label.device))[0]
    labels, scores = torch.stack([label, label]), torch.stack([first, second])
    a, b, m, n = read_back(labels, scores, *whole, *by_class)
    if math.isnan(a) or math.isnan(b):
        raise UndefinedMetricError("the metric is undefined on these rows: a class may be absent")
    both = patient_bootstrap(
        lambda w: statistics(w.index_select(1, patients.index)),
        patients,
        resamples=resamples,
        seed=seed,
    )
    samples = both[:, 0] - both[:, 1]
    (interval,) = percentile_intervals(samples[:, None], level)
    note = few_note(int(m), int(n), BOOTSTRAP_NEEDS)
    difference = bootstrap_estimate(a - b, interval, level, (-1.0, 1.0), note)
    defined = samples[~samples.isnan()]
    sides = torch.stack([(defined <= 0).sum(), (defined >= 0).sum()])
    p_value = min(1.0, 2 * (1 + int(sides.min())) / (len(defined) + 1))
    error = float(defined.std()) if len(defined) > 1 else None
    return Comparison(a, b, difference, p_value, interval.method, None, error, samples)


@dataclass(frozen=True)
class NonInferiority:
    """Whether the first model is worse than the second by less than a margin.

    Attributes:
        margin: the largest loss that does not matter, > 0.
        alpha: one-sided level of the test.
        bound: lower one-sided limit of first − second.
        p_value: one-sided, of a loss of the margin or more.
        holds: whether the bound lies above −margin.
    """

    margin: float
    alpha: float
    bound: float
    p_value: float
    holds: bool


def non_inferiority(
    comparison: Comparison, margin: float, *, alpha: float = 0.025
) -> NonInferiority:
    """Test that the first model, where higher is better, loses less than `margin`.

    Args:
        comparison: of DeLong's tests (normal limits) or the bootstrap (percentiles).
        margin: in the unit of the figures, > 0; chosen before the data are seen.
        alpha: one-sided level; .025 asks what a two-sided 95 % interval asks.

    Raises:
        MetricInputError: a margin that is not positive, an alpha outside (0, .5), or a comparison
            without a standard error.

    References:
        Liu, Ma, Wu & Tai, Stat Med 25 (2006) 1219-1238, on ROC areas.
    """
    if not margin > 0 or not 0 < alpha < 0.5:
        raise MetricInputError(
            f"margin {margin} and alpha {alpha}; the margin is positive and alpha in (0, 0.5)"
        )
    loss = comparison.difference.value + margin
    if comparison.samples is not None:
        samples = comparison.samples[~comparison.samples.isnan()]
        bound = float(torch.quantile(samples, alpha))
        p_value = (1 + int((samples <= -margin).sum())) / (len(samples) + 1)
    elif comparison.standard_error is None:
        raise MetricInputError(
            f"the test {comparison.test!r} gives no standard error to test a margin with; compare "
            "by bootstrap_difference"
        )
    else:
        error = comparison.standard_error
        bound = comparison.difference.value - NormalDist().inv_cdf(1 - alpha) * error
        p_value = NormalDist().cdf(-loss / error) if error else float(loss <= 0)
    return NonInferiority(margin, alpha, bound, p_value, bound > -margin)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values of several comparisons, so that any false alarm stays below the level.

    Args:
        p_values: each in [0, 1], one a finding or a pair of models.

    Returns:
        Adjusted p-values, in the order given.

    Raises:
        MetricInputError: a p-value outside [0, 1].

    References:
        Holm, Scand J Stat 6 (1979) 65-70.
    """
    if strange := [p for p in p_values if not 0 <= p <= 1]:
        raise MetricInputError(f"p-values {strange}; each lies in [0, 1]")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def _two_sided(z: float) -> float:
    return 2 * NormalDist().cdf(-abs(z))
