"""DeLong's placements: the AUROC, its variance, and its covariance over patients and models.

The placement of a positive is the share of negatives that it outranks, ties one half; that of a
negative the share of positives that outrank it. The mean of either is the AUROC, and their spread
gives its variance. Counts are integers, so that ties are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.intervals import PatientGroups
from medres.metrics.sorted_scores import sort_descending


@dataclass(frozen=True, eq=False)
class PlacedRows:
    """Rows of one finding by descending score, each with how many of either class outrank it.

    Attributes:
        order: (N,) int64, row numbers by descending score.
        positive: (N,) bool, in that order.
        negative: (N,) bool; neither where the label is missing.
        tp: (N,) int32, twice the positives that outrank the row, those of its tie counted once.
        fp: (N,) int32, the same for negatives.
    """

    order: Tensor
    positive: Tensor
    negative: Tensor
    tp: Tensor
    fp: Tensor


def place_rows(y_true: Tensor, y_score: Tensor) -> PlacedRows:
    """Sort once and count; nothing is read back from the device.

    Args:
        y_true: (N,) float64 in {0, 1}, NaN = missing.
        y_score: (N,) float64, finite.
    """
    keys, order = sort_descending(y_score)
    n = len(keys)
    position = torch.arange(n, dtype=torch.int32, device=keys.device)
    differs = keys[1:] != keys[:-1]
    first, last = position.clone(), position.clone()
    first[1:] *= differs
    last[:-1] = torch.where(differs, last[:-1], n - 1)
    first = first.cummax(0).values.to(torch.int64)
    last = last.flip(0).cummin(0).values.flip(0).to(torch.int64)

    def middle(of_class: Tensor) -> Tensor:
        total = of_class.cumsum(0, dtype=torch.int32)
        return total.gather(0, last) + total.gather(0, first) - of_class.gather(0, first).int()

    positive, negative = ((y_true == label).gather(0, order) for label in (1, 0))
    return PlacedRows(order, positive, negative, middle(positive), middle(negative))


@dataclass(frozen=True, eq=False)
class AreaTensor:
    """AUROC of one finding, or of F, with what its intervals rest on; on the device.

    Attributes:
        area: float64 in [0, 1]; NaN where a class is absent.
        variance: DeLong's, float64 ≥ 0; NaN where a class has fewer than two rows.
        positives: float64 count.
        negatives: float64 count.
    """

    area: Tensor
    variance: Tensor
    positives: Tensor
    negatives: Tensor


def delong_area(y_true: Tensor, y_score: Tensor, *, with_variance: bool = True) -> AreaTensor:
    """AUROC and DeLong's variance, over independent rows.

    Args:
        y_true: (N,) or (F, N) float64 in {0, 1}, NaN = missing and left out of its finding.
        y_score: the same shape, finite where the label is given.
        with_variance: otherwise it is NaN, for intervals that do not need it.

    Returns:
        AreaTensor of 0-dimensional or (F,) tensors.

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837-845, equations 4 to 6; by
        mid-ranks: Sun & Xu, IEEE SPL 21 (2014) 1389-1393, algorithm 2.
    """
    # A finding at a time: its rows stay in the cache of a processor.
    if y_true.ndim == 2:
        findings = [
            delong_area(*rows, with_variance=with_variance)
            for rows in zip(y_true, y_score, strict=True)
        ]
        fields = ("area", "variance", "positives", "negatives")
        return AreaTensor(*(torch.stack([getattr(f, name) for f in findings]) for name in fields))
    if not with_variance:
        return _area(y_true, y_score)
    placed = place_rows(y_true, y_score)
    m, n = (c.sum().to(torch.float64) for c in (placed.positive, placed.negative))
    area = (placed.tp * placed.negative).sum() / (2 * m * n)
    of_positives = _squares(placed.fp, placed.positive, m) / (4 * n**2 * (m - 1) * m)
    of_negatives = _squares(placed.tp, placed.negative, n) / (4 * m**2 * (n - 1) * n)
    return AreaTensor(area, of_positives + of_negatives, m, n)


def _area(y_true: Tensor, y_score: Tensor) -> AreaTensor:
    """The AUROC alone, ½ (1 + (pairs in the right order − pairs in the wrong one) / m n)."""
    keys, order = sort_descending(y_score)
    differs = keys[1:] != keys[:-1]
    positive, negative = ((y_true == label).gather(0, order) for label in (1, 0))

    def above(of_class: Tensor) -> Tensor:
        """(N - 1,) rows of a class with a higher score, from the second row on."""
        total = of_class[:-1].cumsum(0, dtype=torch.int32)
        return (total * differs).cummax(0).values

    right = (above(positive) * negative[1:]).sum()
    wrong = (above(negative) * positive[1:]).sum()
    m, n = (of_class.sum().to(torch.float64) for of_class in (positive, negative))
    area = (right - wrong + m * n) / (2 * m * n)
    return AreaTensor(area, torch.full_like(area, torch.nan), m, n)


def _squares(counts: Tensor, of_class: Tensor, total: Tensor) -> Tensor:
    """Sum of squared deviations from the mean, over the rows of a class."""
    mean = (counts * of_class).sum() / total
    deviation = (counts - mean) * of_class
    return torch.dot(deviation, deviation)


def placements_of_rows(y_true: Tensor, y_score: Tensor) -> Tensor:
    """The placement of each row, in the order of the rows; 0 where the label is missing.

    Args:
        y_true: (N,) float64 in {0, 1}, NaN = missing.
        y_score: (N,) float64, finite.

    Returns:
        (N,) float64 in [0, 1].
    """
    placed = place_rows(y_true, y_score)
    m, n = (c.sum().to(torch.float64) for c in (placed.positive, placed.negative))
    share = placed.positive * (1 - placed.fp / (2 * n)) + placed.negative * placed.tp / (2 * m)
    return torch.zeros_like(share).scatter(0, placed.order, share)


def placement_covariance(y_true: Tensor, placements: Tensor, patients: PatientGroups) -> Tensor:
    """Covariance of the AUROCs of K models on the same rows, by patients.

    The placements are summed within each patient before they are squared, so that rows of one
    patient may depend on each other in any way. With one row a patient it is DeLong's own.

    Args:
        y_true: (N,) float64 in {0, 1}, NaN = missing.
        placements: (K, N) of `placements_of_rows`, one row for each model.
        patients: the patient of each row.

    Returns:
        (K, K) float64; NaN where a class has fewer than two patients.

    References:
        Obuchowski, Biometrics 53 (1997) 567-578, equations 6 to 9; DeLong et al., Biometrics 44
        (1988) 837-845.
    """
    positive, negative = ((y_true == c).to(torch.float64) for c in (1, 0))
    m, n = positive.sum(), negative.sum()
    area = (placements * positive).sum(-1, keepdim=True) / m
    of_positives = _by_patient((placements - area) * positive, patients)  # (K, P)
    of_negatives = _by_patient((placements - area) * negative, patients)
    has_positive, has_negative = (
        _by_patient(c[None], patients)[0] > 0 for c in (positive, negative)
    )
    patients_with = has_positive, has_negative, has_positive | has_negative
    i10, i01, i = (having.sum().to(torch.float64) for having in patients_with)
    s10 = of_positives @ of_positives.T * (i10 / ((i10 - 1) * m))
    s01 = of_negatives @ of_negatives.T * (i01 / ((i01 - 1) * n))
    s11 = of_positives @ of_negatives.T * (i / (i - 1))
    return s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def _by_patient(rows: Tensor, patients: PatientGroups) -> Tensor:
    """(K, N) to (K, P): sums over the rows of each patient."""
    start = rows.new_zeros((len(rows), patients.n))
    return start.index_add(1, patients.index, rows)


def clustered_variance(y_true: Tensor, y_score: Tensor, patients: PatientGroups) -> Tensor:
    """Obuchowski's variance of the AUROC of one finding over patients with several rows."""
    placed = placements_of_rows(y_true, y_score)
    return placement_covariance(y_true, placed[None], patients)[0, 0]
