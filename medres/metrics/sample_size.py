"""How many cases does an evaluation need, and how sure can it be with those at hand?

Planning figures: the interval that *will* be reported, at the value that is expected.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.auroc_intervals import newcombe_bounds
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_tensors
from medres.metrics.intervals import normal_quantile, wilson_bounds

LARGEST = 10_000_000
"""Cases beyond which no answer is looked for."""


def proportion_precision(expected: float, n: int, *, level: float = LEVEL) -> Estimate:
    """Wilson's interval of a proportion that comes out as expected in n cases.

    For a sensitivity n counts positives, for a specificity negatives.

    Args:
        expected: in [0, 1].
        n: cases in the denominator, at least 1.
        level: confidence level in (0, 1).

    Raises:
        MetricInputError: expected outside [0, 1], or n below 1.
    """
    _check_share("expected", expected, closed=True)
    _check_count("n", n)
    count = torch.tensor(float(n), dtype=torch.float64)
    low, high = wilson_bounds(expected * count, count, level)
    return Estimate(expected, float(low), float(high), level, f"Wilson, {n} cases")


def n_for_proportion(expected: float, width: float, *, level: float = LEVEL) -> int:
    """The fewest cases in the denominator for a Wilson interval no wider than `width`.

    Args:
        expected: in [0, 1].
        width: of the whole interval, high − low, in (0, 1).
        level: confidence level in (0, 1).

    Raises:
        MetricInputError: a share out of range.
        UndefinedMetricError: more than 10 million cases.

    References:
        Wilson, JASA 22 (1927) 209-212; Riley et al., Stat Med 40 (2021) 4230-4251, on precision as
        the aim of an evaluation's size.
    """
    _check_share("expected", expected, closed=True)
    _check_share("width", width)

    def enough(n: int) -> bool:
        figure = proportion_precision(expected, n, level=level)
        return figure.high - figure.low <= width

    return _fewest(enough)


def n_for_sensitivity(
    expected: float, width: float, prevalence: float, *, level: float = LEVEL
) -> int:
    """All cases that must be collected so that the positives among them suffice for sensitivity.

    Args:
        expected: sensitivity in [0, 1].
        width: of its interval, in (0, 1).
        prevalence: of the finding in what is collected, in (0, 1).
        level: confidence level in (0, 1).

    Raises:
        MetricInputError: a share out of range.

    References:
        Buderer, Acad Emerg Med 3 (1996) 895-900, with Wilson's interval in place of Wald's.
    """
    _check_share("prevalence", prevalence)
    return math.ceil(n_for_proportion(expected, width, level=level) / prevalence - 1e-9)


def n_for_specificity(
    expected: float, width: float, prevalence: float, *, level: float = LEVEL
) -> int:
    """All cases that must be collected so that the negatives among them suffice for specificity.

    Arguments, errors and reference as in `n_for_sensitivity`.
    """
    return n_for_sensitivity(expected, width, 1 - prevalence, level=level)


def auroc_precision(
    expected: float, n_positive: int, n_negative: int, *, level: float = LEVEL
) -> Estimate:
    """Newcombe's interval of an AUROC that comes out as expected in so many cases.

    The limits solve (θ̂ − θ)² = z² V(θ) with Hanley and McNeil's variance at θ and the mean of the
    two class sizes in both of its terms (method 5), so that they stay inside (0, 1).

    Args:
        expected: in (0, 1).
        n_positive: at least 1.
        n_negative: at least 1.
        level: confidence level in (0, 1).

    Raises:
        MetricInputError: expected outside (0, 1), or a count below 1.

    References:
        Newcombe, Stat Med 25 (2006) 559-573, method 5.
    """
    _check_share("expected", expected)
    _check_count("n_positive", n_positive)
    _check_count("n_negative", n_negative)
    area, m, n = torch.tensor([expected, n_positive, n_negative], dtype=torch.float64)
    low, high = (float(limit) for limit in newcombe_bounds(area, m, n, level))
    method = f"Newcombe's method 5, {n_positive} positives and {n_negative} negatives"
    return Estimate(expected, low, high, level, method)


def n_for_auroc(expected: float, width: float, prevalence: float, *, level: float = LEVEL) -> int:
    """The fewest cases of a given prevalence for an AUROC interval no wider than `width`.

    Args:
        expected: AUROC in (0, 1).
        width: of the whole interval, in (0, 1).
        prevalence: of the finding, in (0, 1).
        level: confidence level in (0, 1).

    Raises:
        MetricInputError: a share out of range.
        UndefinedMetricError: more than 10 million cases.
    """
    _check_share("width", width)
    _check_share("prevalence", prevalence)
    _check_share("expected", expected)

    def enough(n: int) -> bool:
        m = round(n * prevalence)
        if not 0 < m < n:
            return False
        figure = auroc_precision(expected, m, n - m, level=level)
        return figure.high - figure.low <= width

    return _fewest(enough)


def n_for_calibration_slope(logits: ArrayLike, width: float, *, level: float = LEVEL) -> int:
    """The fewest cases for a calibration slope's interval no wider than `width`.

    Args:
        logits: (K,) of the model's probabilities on cases like those to come, such as validation's;
            the model is taken to be calibrated on them.
        width: of the whole interval, above 0; .4 means slope ± .2.
        level: confidence level in (0, 1).

    Raises:
        MetricInputError: a width that is not above 0, or logits that are not finite.
        UndefinedMetricError: all logits are equal.

    References:
        Riley et al., Stat Med 40 (2021) 4230-4251, equation 7.
    """
    if not width > 0:
        raise MetricInputError(f"width {width}; give a number above 0, such as 0.4")
    z, _ = as_tensors(logits, logits)
    if not bool(z.isfinite().all()):
        raise MetricInputError("logits are NaN or infinite; give finite ones")
    p = torch.sigmoid(z)
    w = p * (1 - p)
    a, b, c = (float(v) for v in (w.mean(), (w * z).mean(), (w * z * z).mean()))
    determinant = a * c - b * b
    if determinant <= 1e-12 * a * c:
        raise UndefinedMetricError("all logits are equal: they have no calibration slope")
    error = width / (2 * normal_quantile(level))
    return math.ceil(a / determinant / error**2)


def _fewest(enough: Callable[[int], bool]) -> int:
    """The smallest n from which on `enough` holds, by doubling and halving."""
    high = 1
    while not enough(high):
        high *= 2
        if high > LARGEST:
            raise UndefinedMetricError(
                f"more than {LARGEST:,} cases would be needed; ask for a wider interval"
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_share(name: str, value: float, *, closed: bool = False) -> None:
    if not (0 <= value <= 1 if closed else 0 < value < 1):
        ends = "from 0 to 1" if closed else "strictly between 0 and 1"
        raise MetricInputError(f"{name} {value}; give a share {ends}")


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise MetricInputError(f"{name} {value}; give at least 1")
