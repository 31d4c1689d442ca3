"""The AUROC of several findings at once, each with an interval, read back in one transfer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.auroc_intervals import (
    NEEDS,
    AurocMethod,
    auroc_bounds,
    check_method,
    clustered_auroc_estimate,
    method_in_words,
)
from medres.metrics.estimate import LEVEL, Estimate, Figure, UndefinedEstimate, few_note
from medres.metrics.inputs import ArrayLike, as_rows, check_counts, count_strange
from medres.metrics.intervals import (
    RESAMPLES,
    PatientGroups,
    patient_groups,
)
from medres.metrics.placements import delong_area
from medres.metrics.runs import resampled_areas


def auroc_by_finding(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    method: AurocMethod | Literal["patient bootstrap"] | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Figure, ...]:
    """`medres.metrics.ranking.auroc` of several findings; all of them see the same resamples.

    Args:
        y_true: (N, F) in {0, 1}, NaN = missing and left out of its finding.
        y_score: (N, F), finite where the label is given.
        method: of the interval. None: Newcombe's method 5, or the patient bootstrap where patients
            contribute several rows, for which the formulas do not hold.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap, where it is used.
        seed: of the patient bootstrap.

    Returns:
        F figures; where a finding lacks a class, the reason instead.

    Raises:
        MetricInputError: shapes differ, a label is not 0, 1 or NaN, the score of a label is not
            finite, an unknown method, or a formula where patients contribute several rows.
    """
    label, score = as_rows(y_true, y_score)
    label, score = (a[None] if a.ndim == 1 else a for a in (label, score))
    patients = patient_groups(patient_ids, label.shape[1], label.device)
    method = method or ("patient bootstrap" if patients.repeated else "Newcombe")
    if method == "patient bootstrap":
        return _drawn(label, score, patients, level, resamples, seed)
    check_method(method)
    if patients.repeated:
        raise MetricInputError(
            f"{method} for several findings takes one row a patient, and some patient_ids repeat; "
            "choose method='patient bootstrap', or medres.metrics.ranking.auroc for each finding"
        )
    return _closed(label, score, method, level)


def _closed(label: Tensor, score: Tensor, method: AurocMethod, level: float) -> tuple[Figure, ...]:
    found = delong_area(label, score, with_variance=method != "Newcombe")
    columns = found.positives, found.negatives, found.area, found.variance
    bounds = auroc_bounds(found.area, found.variance, *columns[:2], method, level)

    def estimate(m: int, n: int, value: float, v: float, low: float, high: float) -> Estimate:
        words = method_in_words(value, v, m, n, method)
        return Estimate(value, low, high, level, words, few_note(m, n, NEEDS))

    return tuple(
        _undefined(m, n, level, method) or estimate(int(m), int(n), *figures)
        for m, n, *figures in _read_table(label, score, *columns, *bounds)
    )


def _drawn(
    label: Tensor,
    score: Tensor,
    patients: PatientGroups,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[Figure, ...]:
    area = delong_area(label, score, with_variance=False).area
    of_class = torch.stack([label == 1, label == 0]).to(label.dtype)  # (2, F, N)
    start = of_class.new_zeros((*of_class.shape[:2], patients.n))
    index = patients.index.expand(of_class.shape)
    m, n = start.scatter_reduce(-1, index, of_class, "amax").sum(-1)
    table = _read_table(label, score, m, n, area)
    samples = resampled_areas(label, score, patients, resamples, seed)
    return tuple(
        _undefined(m, n, level, "patient bootstrap")
        or clustered_auroc_estimate(value, drawn, int(m), int(n), level)
        for (m, n, value), drawn in zip(table, samples.unbind(1), strict=True)
    )


def _undefined(m: float, n: float, level: float, method: str) -> UndefinedEstimate | None:
    if m and n:
        return None
    reason = "no labelled rows" if not m + n else f"no {'negative' if m else 'positive'} rows"
    return UndefinedEstimate(reason, level, method)


def _read_table(label: Tensor, score: Tensor, *figures: Tensor) -> list[list[float]]:
    """F rows of figures, each (F,), after the checks of the labels that are given."""
    counts = count_strange(label, score).to(torch.float64)
    table = torch.cat([counts, torch.stack(figures, dim=1)], dim=1).tolist()
    strange_labels, strange_scores = (int(sum(row[k] for row in table)) for k in (0, 1))
    check_counts(strange_labels, strange_scores, label.numel())
    return [row[2:] for row in table]
