"""Confidence intervals: Wilson, Clopper-Pearson, normal, and the bootstrap over patients.

Rows of one patient are not independent, so what is drawn again is patients, each with all of its
rows. A resample is a vector of integer weights (how often each patient was drawn); a statistic
that takes weighted rows needs no copy of the data, and whole blocks of resamples go through one
sort and a few cumulative sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike
from medres.metrics.resampling import draw_counts

RESAMPLES = 2000
"""Enough for 95 % percentile limits to settle in the third digit (Efron & Tibshirani 1993, 14.5:
1,000 at the least)."""

BOOTSTRAP_NEEDS = 50
"""Patients of either class from which the patient bootstrap was shown to cover 92 to 97 %."""


def normal_quantile(level: float) -> float:
    """The z of a two-sided normal interval: 1.95996… at level 0.95.

    Raises:
        MetricInputError: the level is not strictly between 0 and 1.
    """
    if not 0 < level < 1:
        raise MetricInputError(
            f"confidence level {level}; it lies strictly between 0 and 1, such as 0.95"
        )
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson_bounds(successes: Tensor, total: Tensor, level: float = LEVEL) -> tuple[Tensor, Tensor]:
    """Wilson's score limits for proportions, elementwise; NaN where the total is 0.

    Args:
        successes: (...) counts, 0 ≤ successes ≤ total.
        total: (...) counts.
        level: confidence level in (0, 1).

    Returns:
        low and high, float64 (...), in [0, 1].

    References:
        Wilson, JASA 22 (1927) 209-212; Newcombe, Stat Med 17 (1998) 857-872, method 3.
    """
    z = normal_quantile(level)
    k, n = successes.to(torch.float64), total.to(torch.float64)
    centre = k + z * z / 2
    half = z * torch.sqrt(k * (n - k) / n + z * z / 4)
    low = ((centre - half) / (n + z * z)).clamp(0, 1)
    high = ((centre + half) / (n + z * z)).clamp(0, 1)
    # At 0 and at n the limit is 0 and 1 exactly; the square root leaves a rounding there.
    return low.masked_fill(k == 0, 0.0) + 0 * half, high.masked_fill(k == n, 1.0) + 0 * half


def wilson(successes: int, total: int, level: float = LEVEL) -> Estimate:
    """A proportion with Wilson's score interval: closest to its level on average over p.

    Raises:
        MetricInputError: successes outside 0 to total, or a level outside (0, 1).
        UndefinedMetricError: total is 0.
    """
    _check_proportion(successes, total)
    low, high = wilson_bounds(torch.tensor(successes), torch.tensor(total), level)
    return Estimate(successes / total, float(low), float(high), level, "Wilson")


def clopper_pearson(successes: int, total: int, level: float = LEVEL) -> Estimate:
    """A proportion with Clopper & Pearson's exact interval: never covers less than its level.

    Raises:
        MetricInputError: successes outside 0 to total, or a level outside (0, 1).
        UndefinedMetricError: total is 0.

    References:
        Clopper & Pearson, Biometrika 26 (1934) 404-413, by quantiles of the beta distribution.
    """
    from scipy.stats import beta  # late: half a second, and only this method needs it

    _check_proportion(successes, total)
    normal_quantile(level)
    tail, k, n = (1 - level) / 2, successes, total
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Estimate(k / n, low, high, level, "Clopper-Pearson")


def _check_proportion(successes: int, total: int) -> None:
    if total == 0:
        raise UndefinedMetricError("a proportion of 0 rows is undefined")
    if not 0 <= successes <= total:
        raise MetricInputError(f"{successes} successes of {total}; give 0 ≤ successes ≤ total")


@dataclass(frozen=True, eq=False)
class PatientGroups:
    """Which rows belong to the same patient.

    Attributes:
        index: (N,) int64, the patient of each row, 0 to n - 1.
        n: number of patients.
    """

    index: Tensor
    n: int

    @property
    def repeated(self) -> bool:
        """Whether some patient contributes more than one row."""
        return self.n < self.index.numel()


def patient_groups(
    patient_ids: ArrayLike | None, n_rows: int, device: torch.device
) -> PatientGroups:
    """Number the patients of the rows; without ids each row counts as a patient.

    Args:
        patient_ids: (N,) strings or integers, equal for rows of the same patient, or None.
        n_rows: N.
        device: where the index goes.

    Raises:
        MetricInputError: another number of ids than rows, or an empty id.
    """
    if patient_ids is None:
        return PatientGroups(torch.arange(n_rows, device=device), n_rows)
    numbers, n = number_ids(patient_ids, n_rows, "patient_ids")
    return PatientGroups(numbers.to(device), n)


def number_ids(ids: ArrayLike, n_rows: int, name: str) -> tuple[Tensor, int]:
    """Replace identifiers by 0 … n - 1, in sorted order, on the host.

    Raises:
        MetricInputError: another number of ids than rows, or an empty id: rows without an id would
            silently become one patient.
    """
    keys = np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids)
    if keys.shape != (n_rows,):
        raise MetricInputError(f"{name} has shape {keys.shape}; give one for each of {n_rows} rows")
    if keys.dtype.kind not in "iu":
        keys = keys.astype(str)
        if empty := int((keys == "").sum()):
            raise MetricInputError(
                f"{empty} of {n_rows} {name} are empty; give every row one, or none at all"
            )
    unique, inverse = np.unique(keys, return_inverse=True)
    return torch.from_numpy(inverse.astype(np.int64)), len(unique)


def patient_bootstrap(
    statistic: Callable[[Tensor], Tensor],
    patients: PatientGroups,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Tensor:
    """Recompute statistics on resampled patients, in blocks of resamples.

    The draws come from a `torch.Generator` on the device of the patients, so that the same seed
    gives the same interval on the same kind of device.

    Args:
        statistic: takes (B, P) float32 weights of the patients, how often each was drawn (row i
            weighs `weights[:, patients.index[i]]`), and returns (B, K) statistics, NaN where a
            resample does not define one.
        patients: the patient of each row.
        resamples: how many resamples, at least 1.
        seed: of the draws.

    Returns:
        (resamples, K) float64.

    Raises:
        MetricInputError: resamples below 1.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; for clusters:
        Field & Welsh, JRSS B 69 (2007) 369-390.
    """
    if resamples < 1:
        raise MetricInputError(f"resamples is {resamples}; give at least 1, usually {RESAMPLES}")
    device, rows = patients.index.device, patients.index.numel()
    blocks = draw_counts(patients.n, resamples, seed, device, rows)
    return torch.cat([statistic(counts.to(torch.float32)) for counts in blocks])


@dataclass(frozen=True)
class BootstrapInterval:
    """A percentile interval and what it rests on.

    Attributes:
        low: lower limit; None where no resample defined the statistic.
        high: upper limit; None likewise.
        resamples: how many were drawn.
        left_out: how many of them did not define the statistic (one class only).
    """

    low: float | None
    high: float | None
    resamples: int
    left_out: int

    @property
    def method(self) -> str:
        """For `Estimate.method`."""
        text = f"patient bootstrap, {self.resamples} resamples"
        return f"{text} ({self.left_out} left out: undefined)" if self.left_out else text


def percentile_intervals(samples: Tensor, level: float = LEVEL) -> list[BootstrapInterval]:
    """Percentile intervals of bootstrap statistics, one for each column, in one transfer.

    Args:
        samples: (resamples, K), NaN where a resample did not define the statistic.
        level: confidence level in (0, 1).

    Returns:
        K intervals.
    """
    tail = (1 - level) / 2
    q = torch.tensor([tail, 1 - tail], dtype=samples.dtype, device=samples.device)
    table = torch.cat([torch.nanquantile(samples, q, dim=0), samples.isnan().sum(0)[None]])
    n = samples.shape[0]
    return [
        BootstrapInterval(low, high, n, int(left_out))
        if left_out < n
        else BootstrapInterval(None, None, n, n)
        for low, high, left_out in table.T.tolist()
    ]


def bootstrap_estimate(
    value: float,
    interval: BootstrapInterval,
    level: float = LEVEL,
    limits: tuple[float, float] = (0.0, 1.0),
    note: str = "",
) -> Estimate:
    """An Estimate from a value and its bootstrap interval.

    Where no resample defined the statistic there is no interval: the limits of the scale stand in,
    and the method says so.
    """
    if interval.low is None or interval.high is None:
        return Estimate(value, *limits, level, f"no interval: {interval.method}", note)
    return Estimate(value, interval.low, interval.high, level, interval.method, note)


def clustered_proportion(
    value: float, interval: BootstrapInterval, patients: int, level: float = LEVEL
) -> Estimate:
    """A proportion over rows of repeated patients, with its bootstrap interval.

    Where all resamples agree (at 0 and 1, mostly) they would pretend certainty, and Wilson's
    limits stand in, with as many trials as there are patients behind the proportion.

    Args:
        value: in [0, 1], over rows.
        interval: the patient bootstrap's.
        patients: those with a row in the denominator.
        level: confidence level in (0, 1).
    """
    if interval.low != interval.high:
        return bootstrap_estimate(value, interval, level)
    count = torch.tensor(float(patients), dtype=torch.float64)
    low, high = wilson_bounds(value * count, count, level)
    method = f"Wilson on {patients} patients (all resamples agree)"
    return Estimate(value, float(low), float(high), level, method)
