"""How far do two readers agree beyond chance? Cohen's kappa, plain and weighted.

Two readers, or a reader and a model's decision, put the same rows into the same K ordered or
unordered categories.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.by_finding import each_finding
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_tensors
from medres.metrics.intervals import PatientGroups, normal_quantile, patient_groups

MOST_CATEGORIES = 1000
"""Categories that are looked for where their number is not given: a table of them stays small."""

KappaWeights = Literal["none", "linear", "quadratic"]


def agreement_weights(n_categories: int, weights: KappaWeights) -> Tensor:
    """(K, K) float64 credit for a pair of categories: 1 for equal ones, 0 for the furthest.

    Args:
        n_categories: K, at least 2.
        weights: "none": no credit unless equal; "linear": by distance; "quadratic": by its square.

    Raises:
        MetricInputError: unknown weights.
    """
    if weights not in ("none", "linear", "quadratic"):
        raise MetricInputError(
            f"kappa weights {weights!r} are unknown; choose 'none', 'linear' or 'quadratic'"
        )
    place = torch.arange(n_categories, dtype=torch.float64)
    distance = (place[:, None] - place[None, :]).abs() / (n_categories - 1)
    if weights == "none":
        return (distance == 0).to(torch.float64)
    return 1 - distance if weights == "linear" else 1 - distance**2


def kappa_statistic(matrix: Tensor, credit: Tensor) -> Tensor:
    """Kappa from counts; NaN where both readers use one and the same category only.

    Args:
        matrix: (..., K, K) float64 counts.
        credit: (K, K) of `agreement_weights`.

    Returns:
        (...) at most 1.
    """
    share = matrix / matrix.sum((-2, -1), keepdim=True)
    observed = (share * credit).sum((-2, -1))
    chance = share.sum(-1)[..., :, None] * share.sum(-2)[..., None, :]
    expected = (chance * credit).sum((-2, -1))
    return (observed - expected) / (1 - expected)


@each_finding(rows=(("first", "second"),), masks=False)
def cohens_kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: KappaWeights = "none",
    n_categories: int | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
) -> Estimate:
    """Cohen's kappa with the large-sample interval of Fleiss, Cohen and Everitt.

    Args:
        first: (N,) or (N, F) categories 0 to K − 1 by the first reader, NaN = not read.
        second: the same by the second; rows that either did not read are left out.
        weights: "none" for categories without order; "linear" or "quadratic" for grades.
        n_categories: K; None: the highest that occurs, and at least 2.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient. Where patients repeat,
            the variance is that of sums over patients.

    Returns:
        Estimate with value, low and high in [-1, 1].

    Raises:
        UndefinedMetricError: no row that both read, or both use one and the same category only.
        MetricInputError: shapes differ, or categories that are no whole numbers from 0 to K − 1.

    References:
        Cohen, Psychol Bull 70 (1968) 213-220; Fleiss, Cohen & Everitt, Psychol Bull 72 (1969)
        323-327, equation 13.
    """
    a, b = as_tensors(first, second)
    patients = patient_groups(patient_ids, a.numel(), a.device)
    read = ~(a.isnan() | b.isnan())
    a, b = a[read], b[read]
    if not a.numel():
        raise UndefinedMetricError("kappa is undefined: no row was read by both")
    highest = min(float(torch.maximum(a, b).max()), MOST_CATEGORIES - 1)
    k = max(int(highest) + 1, 2) if n_categories is None else n_categories
    strange = ((a < 0) | (b < 0) | (a >= k) | (b >= k) | (a != a.floor()) | (b != b.floor())).sum()
    if int(strange):
        raise MetricInputError(
            f"{int(strange)} of {a.numel()} rows hold categories other than 0 to {k - 1}; number "
            "the categories so"
        )
    rows, columns = a.long(), b.long()
    credit = agreement_weights(k, weights).to(a.device)
    matrix = torch.bincount(rows * k + columns, minlength=k * k).reshape(k, k).to(a.dtype)
    groups = PatientGroups(patients.index[read], patients.n)
    value = max(float(kappa_statistic(matrix, credit)), -1.0)  # or a rounding below -1
    if math.isnan(value):
        raise UndefinedMetricError("kappa is undefined: both put every row into the same category")
    error = float(_standard_error(matrix, credit, rows, columns, groups))
    half = normal_quantile(level) * error
    method = "Fleiss, Cohen & Everitt" + (", clustered by patient" if groups.repeated else "")
    return Estimate(value, max(value - half, -1.0), min(value + half, 1.0), level, method)


def _standard_error(
    matrix: Tensor, credit: Tensor, rows: Tensor, columns: Tensor, patients: PatientGroups
) -> Tensor:
    """Root of the summed squares of what each patient's rows move kappa by.

    Over single rows the sum is equation 13 of Fleiss, Cohen & Everitt.
    """
    n = matrix.sum()
    share = matrix / n
    first, second = share.sum(1), share.sum(0)
    expected = (first[:, None] * second[None, :] * credit).sum()
    kappa = kappa_statistic(matrix, credit)
    mean_credit = (credit @ second)[:, None] + (first @ credit)[None, :]
    moved = credit - mean_credit * (1 - kappa)
    moved = (moved - (kappa - expected * (1 - kappa))) / (1 - expected) / n
    by_row = moved[rows, columns]
    return by_row.new_zeros(patients.n).index_add_(0, patients.index, by_row).square().sum().sqrt()
