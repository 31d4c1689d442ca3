"""Several rows of one patient: DeLong's variance and covariance for clustered data.

Obuchowski's estimator sums the placements of DeLong's within each patient before it squares them,
so that rows of one patient may depend on each other in any way. With one row a patient it is
DeLong's own, and with two models it gives the covariance that a paired comparison needs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medres.metrics.intervals import PatientGroups
from medres.metrics.sorted_scores import rank_scores


def placements_of_rows(y_true: Tensor, y_score: Tensor) -> Tensor:
    """Of each row, the share of the other class that it is on the right side of; ties one half.

    The mean over the positives, and that over the negatives, is the AUROC.

    Args:
        y_true: (..., N) float64 in {0, 1}, NaN = missing.
        y_score: (..., N) float64, finite.

    Returns:
        (..., N) float64 in [0, 1], in the order of the rows; 0 where the label is missing.
    """
    ranked = rank_scores(y_true, y_score)
    last = ranked.last_of_tie
    assert last is not None
    first = _first_of_tie(last)
    positive, negative = ((ranked.y_true == c).to(torch.float64) for c in (1, 0))

    def middle(of_class: Tensor) -> Tensor:
        """Rows of the class above the middle of each row's tie."""
        total = of_class.cumsum(-1)
        above = total.gather(-1, first) - of_class.gather(-1, first)
        return (above + total.gather(-1, last)) / 2

    m, n = positive.sum(-1, keepdim=True), negative.sum(-1, keepdim=True)
    share = positive * (1 - middle(negative) / n) + negative * middle(positive) / m
    return torch.zeros_like(share).scatter(-1, ranked.order, share)


def _first_of_tie(last_of_tie: Tensor) -> Tensor:
    """(..., N) for each position the first position with the same score."""
    position = torch.arange(last_of_tie.shape[-1], device=last_of_tie.device)
    begins = torch.ones_like(last_of_tie, dtype=torch.bool)
    begins[..., 1:] = last_of_tie[..., 1:] != last_of_tie[..., :-1]
    return torch.where(begins, position, 0).cummax(-1).values


def placement_covariance(y_true: Tensor, placements: Tensor, patients: PatientGroups) -> Tensor:
    """Covariance of the AUROCs of K models on the same rows, by patients.

    Args:
        y_true: (N,) float64 in {0, 1}, NaN = missing.
        placements: (K, N) of `placements_of_rows`, one row for each model.
        patients: the patient of each row.

    Returns:
        (K, K) float64; NaN where a class has fewer than two patients.

    References:
        Obuchowski, Biometrics 53 (1997) 567-578, equations 6 to 9. With one row a patient:
        DeLong et al., Biometrics 44 (1988) 837-845.
    """
    positive, negative = ((y_true == c).to(torch.float64) for c in (1, 0))
    m, n = positive.sum(), negative.sum()
    area = (placements * positive).sum(-1, keepdim=True) / m
    of_positives = _by_patient((placements - area) * positive, patients)  # (K, P)
    of_negatives = _by_patient((placements - area) * negative, patients)
    has_positive, has_negative = (
        _by_patient(c[None], patients)[0] > 0 for c in (positive, negative)
    )
    i10, i01 = has_positive.sum(), has_negative.sum()
    i = (has_positive | has_negative).sum()
    s10 = of_positives @ of_positives.T * (i10 / ((i10 - 1) * m))
    s01 = of_negatives @ of_negatives.T * (i01 / ((i01 - 1) * n))
    s11 = of_positives @ of_negatives.T * (i / (i - 1))
    return s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def _by_patient(rows: Tensor, patients: PatientGroups) -> Tensor:
    """(K, N) to (K, P): sums over the rows of each patient."""
    start = rows.new_zeros((len(rows), patients.n))
    return start.index_add(1, patients.index, rows)
