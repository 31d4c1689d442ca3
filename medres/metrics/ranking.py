"""How well scores rank: the AUROC by several intervals, and average precision.

`auroc_tensor` keeps every figure on the device of the scores; `auroc` and `average_precision` read
theirs back.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.auroc_intervals import (
    NEEDS,
    AurocMethod,
    auroc_bounds,
    auroc_estimate,
    check_method,
    clustered_auroc_estimate,
    method_in_words,
    pairs_bound,
)
from medres.metrics.by_finding import each_finding
from medres.metrics.estimate import (
    LEVEL,
    Estimate,
    EstimateTensor,
    Figure,
    UndefinedEstimate,
    few_note,
)
from medres.metrics.inputs import (
    ArrayLike,
    as_rows,
    as_tensors,
    check_counts,
    count_strange,
    read_back,
)
from medres.metrics.intervals import (
    BOOTSTRAP_NEEDS,
    RESAMPLES,
    BootstrapInterval,
    PatientGroups,
    bootstrap_estimate,
    patient_bootstrap,
    patient_groups,
    percentile_intervals,
)
from medres.metrics.placements import clustered_variance, delong_area
from medres.metrics.runs import resampled_areas
from medres.metrics.sorted_scores import (
    check_both_classes,
    cumulative_counts,
    mean_precision,
    rank_scores,
)


def auroc_tensor(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    method: AurocMethod = "Newcombe",
    level: float = LEVEL,
) -> EstimateTensor:
    """AUROC of one or several findings with intervals, without a wait for the device.

    Each row counts as a patient of its own.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing and left out of its finding.
        y_score: the same shape; higher = more suspicious. Finite where the label is given.
        method: of the interval; at AUROC 0 and 1 the bound of `auroc_intervals.pairs_bounds`.
        level: confidence level in (0, 1).

    Returns:
        EstimateTensor, 0-dimensional or (F,).

    Raises:
        MetricInputError: shapes differ, an unknown method, a level outside (0, 1).
    """
    label, score = as_rows(y_true, y_score)
    found = delong_area(label, score, with_variance=method != "Newcombe")
    m, n = found.positives, found.negatives
    defined = (count_strange(label, score).sum(-1) == 0) & (m > 0) & (n > 0)
    low, high = auroc_bounds(found.area, found.variance, m, n, method, level)
    value, low, high = (x.masked_fill(~defined, torch.nan) for x in (found.area, low, high))
    return EstimateTensor(value, low, high, defined)


def aurocs_by_formula(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    method: AurocMethod | Literal["patient bootstrap"] | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    **_: object,
) -> tuple[Figure, ...] | None:
    """`auroc` of (N, F) in one pass and one read of the device, where a formula gives the interval.

    Returns:
        F figures; None where the interval is the patient bootstrap's, or patients repeat.
    """
    label, score = as_rows(y_true, y_score)
    repeated = patient_groups(patient_ids, label.shape[1], label.device).repeated
    if method == "patient bootstrap" or repeated:
        return None
    return _figures(label, score, method or "Newcombe", level)


def _figures(label: Tensor, score: Tensor, method: AurocMethod, level: float) -> tuple[Figure, ...]:
    """(F, N) rows, each a patient, to F figures."""
    check_method(method)
    found = delong_area(label, score, with_variance=method != "Newcombe")
    columns = found.positives, found.negatives, found.area, found.variance
    bounds = auroc_bounds(found.area, found.variance, *columns[:2], method, level)
    counts = count_strange(label, score).to(torch.float64)
    table = torch.cat([counts, torch.stack([*columns, *bounds], dim=1)], dim=1).tolist()
    strange_labels, strange_scores = (int(sum(row[k] for row in table)) for k in (0, 1))
    check_counts(strange_labels, strange_scores, label.numel())
    return tuple(_figure(int(m), int(n), rest, method, level) for _, _, m, n, *rest in table)


def _figure(m: int, n: int, rest: list[float], method: AurocMethod, level: float) -> Figure:
    if not (m and n):
        absent = "negative" if m else "positive"
        reason = f"none of the {m + n} rows is {absent}; it needs both classes"
        reason = reason if m + n else "no labelled rows"
        return UndefinedEstimate(reason, level, method)
    value, variance, low, high = rest
    words = method_in_words(value, variance, m, n, method)
    return Estimate(value, low, high, level, words, few_note(m, n, NEEDS))


@each_finding(together=aurocs_by_formula)
def auroc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    method: AurocMethod | Literal["patient bootstrap"] | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve with a confidence interval.

    At AUROC 0 or 1 a one-sided bound from disjoint pairs stands in, and `method` says so; with
    DeLong's methods likewise where all scores are tied.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious. Any monotone scale.
        method: of the interval. None: Newcombe's method 5, or the patient bootstrap where patients
            contribute several rows. DeLong's methods then take Obuchowski's variance; Newcombe's
            has none for patients with several rows.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap, where it is used.
        seed: of the patient bootstrap.

    Returns:
        Estimate with value, low and high in [0, 1].

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite; an unknown
            method, or Newcombe's where patients contribute several rows.

    References:
        Newcombe, Stat Med 25 (2006) 559-573, method 5; DeLong et al., Biometrics 44 (1988) 837-845;
        Obuchowski, Biometrics 53 (1997) 567-578.
    """
    label, score = as_tensors(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    if method is None:
        method = "patient bootstrap" if patients.repeated else "Newcombe"
    if method != "patient bootstrap":
        return _auroc_closed(label, score, patients, method, level)
    found = delong_area(label, score, with_variance=False)
    value, m, n = read_back(label, score, found.area, found.positives, found.negatives)
    check_both_classes("AUROC", int(m), int(n))
    samples = resampled_areas(label, score, patients, resamples, seed)
    m, n = patients_by_class(label, patients.index, patients.n).tolist()
    return clustered_auroc_estimate(value, samples, int(m), int(n), level)


def _auroc_closed(
    label: Tensor, score: Tensor, patients: PatientGroups, method: AurocMethod, level: float
) -> Estimate:
    """The AUROC with an interval from a formula."""
    check_method(method)
    if not patients.repeated:
        (figure,) = _figures(label[None], score[None], method, level)
        if isinstance(figure, UndefinedEstimate):
            raise UndefinedMetricError(f"AUROC is undefined: {figure.reason}")
        return figure
    if method == "Newcombe":
        raise MetricInputError(
            "Newcombe's interval takes one row a patient, and some patient_ids repeat; choose "
            "method='patient bootstrap' or 'DeLong' (Obuchowski's variance for clustered data)"
        )
    found = delong_area(label, score, with_variance=False)
    variance_by_patient = clustered_variance(label, score, patients)
    by_class = patients_by_class(label, patients.index, patients.n)
    counts = found.positives, found.negatives
    figures = read_back(label, score, found.area, variance_by_patient, *counts, *by_class)
    value, variance, rows_m, rows_n, m, n = figures
    check_both_classes("AUROC", int(rows_m), int(rows_n))
    return auroc_estimate(value, variance, int(m), int(n), level, method, clustered=True)


def patients_by_class(y_true: Tensor, patient_index: Tensor, n_patients: int) -> Tensor:
    """(2,) float64: patients with at least one positive row, and with at least one negative."""
    zeros = torch.zeros(n_patients, dtype=y_true.dtype, device=y_true.device)
    positive = zeros.scatter_reduce(0, patient_index, y_true, "amax")
    negative = zeros.scatter_reduce(0, patient_index, 1 - y_true, "amax")
    return torch.stack([positive.sum(), negative.sum()])


@each_finding()
def average_precision(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Average precision, the step-wise area under the precision-recall curve.

    No interpolation between thresholds. Its chance level is the prevalence, so quote both.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; higher = more suspicious. Any monotone scale.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Returns:
        Estimate with value, low and high in [0, 1], by patient bootstrap (percentile).

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.

    References:
        Davis & Goadrich, ICML 2006; the sum is scikit-learn's `average_precision_score`.
    """
    label, score = as_tensors(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    ranked = rank_scores(label, score)
    tp, fp = cumulative_counts(ranked)
    value, m, n = read_back(label, score, mean_precision(tp, fp), tp[-1], fp[-1])
    check_both_classes("average precision", int(m), int(n))
    ranked, drawn = ranked.drop_repeats(), patients.index[ranked.order]
    samples = patient_bootstrap(
        lambda w: mean_precision(*cumulative_counts(ranked, w.index_select(1, drawn))),
        patients,
        resamples=resamples,
        seed=seed,
    )
    m, n = patients_by_class(label, patients.index, patients.n).tolist()
    (interval,) = percentile_intervals(samples[:, None], level)
    return average_precision_estimate(value, interval, int(m), int(n), level)


def average_precision_estimate(
    value: float, interval: BootstrapInterval, m: int, n: int, level: float = LEVEL
) -> Estimate:
    """The bootstrap interval of an average precision; at 1, where every resample agrees, a bound.

    An average precision of 1 says what an AUROC of 1 says, that no negative outranks a positive,
    and gets the same bound from disjoint pairs (for the AUROC it is exact, here an approximation).

    Args:
        value: average precision.
        interval: the patient bootstrap's.
        m: patients with a positive row.
        n: patients with a negative row.
        level: confidence level in (0, 1).
    """
    if value == 1:
        return pairs_bound(value, m, n, level)
    return bootstrap_estimate(value, interval, level, note=few_note(m, n, BOOTSTRAP_NEEDS))
