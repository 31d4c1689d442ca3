"""Two ways of deciding on the same patients: McNemar's test and the paired difference."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.by_finding import each_finding
from medres.metrics.comparison import Comparison
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import patient_groups, wilson

McNemarMethod = Literal["exact", "chi-squared", "corrected chi-squared"]


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of equal shares.

    Attributes:
        p_value: two-sided.
        statistic: χ² with one degree of freedom; None for the exact test.
        method: which.
    """

    p_value: float
    statistic: float | None
    method: McNemarMethod


def mcnemar(first_only: int, second_only: int, method: McNemarMethod = "exact") -> McNemar:
    """Whether two models are right equally often, from the rows where just one of them is.

    Args:
        first_only: rows where the first is right and the second wrong.
        second_only: the reverse.
        method: "exact" (binomial), "chi-squared", or with Edwards' continuity correction.

    Returns:
        McNemar; a p-value of 1 where the models never differ.

    Raises:
        MetricInputError: a negative count, or an unknown method.

    References:
        McNemar, Psychometrika 12 (1947) 153-157; Edwards, Psychometrika 13 (1948) 185-187.
    """
    from scipy.stats import binom, chi2  # late: half a second

    if min(first_only, second_only) < 0:
        raise MetricInputError(f"counts {first_only} and {second_only}; neither is negative")
    if method not in ("exact", "chi-squared", "corrected chi-squared"):
        raise MetricInputError(
            f"McNemar method {method!r} is unknown; choose 'exact', 'chi-squared' or "
            "'corrected chi-squared'"
        )
    n = first_only + second_only
    if method == "exact":
        tail = float(binom.cdf(min(first_only, second_only), n, 0.5))
        return McNemar(min(1.0, 2 * tail), None, method)
    correction = 1 if method == "corrected chi-squared" else 0
    distance = max(abs(first_only - second_only) - correction, 0)
    statistic = distance**2 / n if n else 0.0
    return McNemar(float(chi2.sf(statistic, 1)), statistic, method)


@each_finding(
    rows=(("y_true", "first_score", "second_score"),), own=("first_threshold", "second_threshold")
)
def compare_decisions(
    y_true: ArrayLike,
    first_score: ArrayLike,
    second_score: ArrayLike,
    first_threshold: float,
    second_threshold: float,
    *,
    measure: Literal["sensitivity", "specificity", "accuracy"] = "sensitivity",
    method: McNemarMethod = "exact",
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
) -> Comparison:
    """McNemar's test of two models at their thresholds, with Newcombe's interval of the difference.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        first_score: the same shape, finite; called positive where score ≥ first_threshold.
        second_score: the same shape, finite; likewise.
        first_threshold: of the first model, locked.
        second_threshold: of the second model, locked.
        measure: sensitivity looks at the positives, specificity at the negatives, accuracy at all.
        method: of the test.
        level: confidence level in (0, 1).
        patient_ids: (N,); none may repeat, since the test takes independent rows.

    Raises:
        UndefinedMetricError: no row to look at.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite, an unknown
            measure or method, or patients with several rows.

    References:
        Newcombe, Stat Med 17 (1998) 2635-2650, method 10.
    """
    if measure not in ("sensitivity", "specificity", "accuracy"):
        raise MetricInputError(
            f"measure {measure!r} is unknown; choose 'sensitivity', 'specificity' or 'accuracy'"
        )
    label, first = as_tensors(y_true, first_score)
    _, second = as_tensors(label, second_score)
    if patient_groups(patient_ids, label.numel(), label.device).repeated:
        raise MetricInputError(
            "McNemar's test takes one row a patient, and some patient_ids repeat; compare by "
            "bootstrap_difference with weighted.at_threshold"
        )
    right = [
        (s >= t) == (label == 1) for s, t in ((first, first_threshold), (second, second_threshold))
    ]
    looked_at = {"sensitivity": label == 1, "specificity": label == 0}.get(
        measure, torch.ones_like(right[0])
    )
    cells = _cells(right[0], right[1], looked_at)
    counts = read_back(torch.stack([label, label]), torch.stack([first, second]), *cells)
    both, first_only, second_only, neither = (int(count) for count in counts)
    if both + first_only + second_only + neither == 0:
        raise UndefinedMetricError(f"{measure} is undefined: there is no row to look at")
    test = mcnemar(first_only, second_only, method)
    difference, (p1, p2) = paired_difference(both, first_only, second_only, neither, level)
    words = f"McNemar, {method}"
    return Comparison(p1, p2, difference, test.p_value, words, test.statistic)


def _cells(first: Tensor, second: Tensor, looked_at: Tensor) -> list[Tensor]:
    pairs = ((True, True), (True, False), (False, True), (False, False))
    return [((first == a) & (second == b) & looked_at).sum() for a, b in pairs]


def paired_difference(
    both: int, first_only: int, second_only: int, neither: int, level: float = LEVEL
) -> tuple[Estimate, tuple[float, float]]:
    """Difference of two shares of the same rows, by Newcombe's hybrid score interval.

    Args:
        both: rows where both are right.
        first_only: rows where just the first is.
        second_only: rows where just the second is.
        neither: rows where neither is.
        level: confidence level in (0, 1).

    Returns:
        The difference, and the two shares.

    References:
        Newcombe, Stat Med 17 (1998) 2635-2650, method 10.
    """
    n = both + first_only + second_only + neither
    one, two = (wilson(both + only, n, level) for only in (first_only, second_only))
    margins = (both + first_only, second_only + neither, both + second_only, first_only + neither)
    scale = sqrt(margins[0] * margins[1]) * sqrt(margins[2] * margins[3])
    product = float(both * neither - first_only * second_only)
    if product > 0:
        product = max(product - n / 2, 0)
    phi = product / scale if scale else 0.0

    def reach(own: float, other: float) -> float:
        return sqrt(max(own**2 - 2 * phi * own * other + other**2, 0.0))

    value = one.value - two.value
    low = value - reach(one.value - one.low, two.high - two.value)
    high = value + reach(one.high - one.value, two.value - two.low)
    return Estimate(value, low, high, level, "Newcombe's method 10"), (one.value, two.value)
