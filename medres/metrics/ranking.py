"""How well scores rank: AUROC, average precision, and the two curves behind them.

Everything here follows from two counts per distinct threshold, taken from the highest score down:
true positives and false positives at or above it. Tied scores share a threshold, which is what
makes ties exact. Counts are integers, and exact in float64 up to 2^53.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medres.errors import UndefinedMetricError
from medres.metrics.estimate import LEVEL, Estimate
from medres.metrics.inputs import ArrayLike, as_columns, read_back
from medres.metrics.intervals import (
    RESAMPLES,
    BootstrapInterval,
    bootstrap_estimate,
    normal_quantile,
    patient_bootstrap,
    patient_groups,
    percentile_intervals,
)


@dataclass(frozen=True, eq=False)
class RankedScores:
    """Rows sorted once, from the most to the least suspicious.

    Attributes:
        order: (N,) int64, row numbers by descending score.
        y_true: (N,) labels in that order.
        y_score: (N,) scores in that order.
        last_of_tie: for each position the last position with the same score, (N,) int64; once per
            distinct score, (G,), after `drop_repeats`; None after it where no scores are tied.
    """

    order: Tensor
    y_true: Tensor
    y_score: Tensor
    last_of_tie: Tensor | None

    def drop_repeats(self) -> RankedScores:
        """Keep one point for each distinct score; worth its look at the data before a bootstrap."""
        if self.last_of_tie is None:
            return self
        ends = torch.unique_consecutive(self.last_of_tie)
        return replace(self, last_of_tie=ends if ends.numel() < self.order.numel() else None)


def rank_scores(y_true: Tensor, y_score: Tensor) -> RankedScores:
    """Sort rows by descending score and mark ties; nothing is read back from the device.

    Args:
        y_true: (N,) float64 in {0, 1}.
        y_score: (N,) float64, finite, on the same device.
    """
    score, order = torch.sort(y_score, descending=True)
    n = score.numel()
    position = torch.arange(n, device=score.device)
    is_last = torch.ones(n, dtype=torch.bool, device=score.device)
    is_last[:-1] = score[1:] != score[:-1]
    ends = torch.where(is_last, position, n - 1).flip(0)
    last_of_tie = torch.cummin(ends, dim=0).values.flip(0)
    return RankedScores(order, y_true[order], score, last_of_tie)


def cumulative_counts(ranked: RankedScores, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """True and false positives when everything scored as high as each point, or higher, is called.

    Rows of one tie share one point; repeats of it are harmless, since nothing lies between them.

    Args:
        ranked: sorted rows.
        weights: (..., N) how often each row counts, in sorted order: integers, in float32 or
            float64; once if None.

    Returns:
        tp and fp, (..., N) or (..., G), of the weights' type, non-decreasing along the last axis.
    """
    if weights is None:
        positive, negative = ranked.y_true, 1 - ranked.y_true
    else:
        positive = weights * ranked.y_true.to(weights.dtype)
        negative = weights - positive
    tp, fp = positive.cumsum(-1), negative.cumsum(-1)
    if ranked.last_of_tie is None:
        return tp, fp
    return tp.index_select(-1, ranked.last_of_tie), fp.index_select(-1, ranked.last_of_tie)


def _steps(counts: Tensor) -> Tensor:
    """(..., N) increase from the threshold before; the first from 0."""
    steps = counts.clone()
    steps[..., 1:] -= counts[..., :-1]
    return steps


def area_under_roc(tp: Tensor, fp: Tensor) -> Tensor:
    """AUROC by trapezoids, equal to the Mann-Whitney U over m n; NaN where a class is absent.

    Args:
        tp: (..., N) cumulative true positives.
        fp: (..., N) cumulative false positives.

    Returns:
        (...) in [0, 1].
    """
    tp, fp = tp.to(torch.float64), fp.to(torch.float64)
    pairs = (_steps(fp) * (2 * tp - _steps(tp))).sum(-1)
    return pairs / (2 * tp[..., -1] * fp[..., -1])


def mean_precision(tp: Tensor, fp: Tensor) -> Tensor:
    """Average precision, Σ (R_k − R_{k−1}) P_k over distinct thresholds; NaN without positives.

    Args:
        tp: (..., N) cumulative true positives.
        fp: (..., N) cumulative false positives.

    Returns:
        (...) in [0, 1].
    """
    precision = tp.to(torch.float64) / (tp + fp).clamp(min=1)
    return (_steps(tp) * precision).sum(-1) / tp[..., -1]


def delong_variance(tp: Tensor, fp: Tensor) -> Tensor:
    """DeLong's variance of the AUROC; NaN where a class has fewer than two rows.

    The placement of a positive, the share of negatives it outranks with ties at one half, is a
    difference of mid-ranks; it is the same for all rows of a tie, so that counts are enough.

    Args:
        tp: (N,) cumulative true positives.
        fp: (N,) cumulative false positives.

    Returns:
        0-dimensional, ≥ 0.

    References:
        DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988) 837-845; mid-ranks: Sun & Xu,
        IEEE SPL 21 (2014) 1389-1393, algorithm 2.
    """
    m, n = tp[-1], fp[-1]
    area = area_under_roc(tp, fp)
    of_positives = 1 - (fp - _steps(fp) / 2) / n
    of_negatives = (tp - _steps(tp) / 2) / m
    s10 = (_steps(tp) * (of_positives - area) ** 2).sum() / (m - 1)
    s01 = (_steps(fp) * (of_negatives - area) ** 2).sum() / (n - 1)
    return s10 / m + s01 / n


def auroc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve with DeLong's interval, clipped to [0, 1].

    At AUROC 0 or 1, or with all scores tied, DeLong's variance is 0 and a bound from disjoint
    pairs stands in; `method` says so. Where patients contribute several rows, the interval is the
    patient bootstrap's.

    Args:
        y_true: (N,) in {0, 1}; 1 = finding present.
        y_score: (N,) finite; higher = more suspicious. Any monotone scale.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap, where it is used.
        seed: of the patient bootstrap.

    Returns:
        Estimate with value, low and high in [0, 1].

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label is not 0 or 1, a score is not finite.

    References:
        DeLong et al., Biometrics 44 (1988) 837-845; Sun & Xu, IEEE SPL 21 (2014) 1389-1393.
    """
    label, score = as_columns(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    ranked = rank_scores(label, score)
    tp, fp = cumulative_counts(ranked)
    figures = (area_under_roc(tp, fp), delong_variance(tp, fp), tp[-1], fp[-1])
    value, variance, m, n = read_back(label, score, *figures)
    check_both_classes("AUROC", int(m), int(n))
    if not patients.repeated:
        return auroc_estimate(value, variance, int(m), int(n), level)
    ranked, drawn = ranked.drop_repeats(), patients.index[ranked.order]
    samples = patient_bootstrap(
        lambda w: area_under_roc(*cumulative_counts(ranked, w.index_select(1, drawn)))[:, None],
        patients,
        resamples=resamples,
        seed=seed,
    )
    m_patients, n_patients = patients_by_class(label, patients.index, patients.n).tolist()
    interval = percentile_intervals(samples, level)[0]
    return clustered_auroc_estimate(value, interval, int(m_patients), int(n_patients), level)


def check_both_classes(metric: str, n_positive: int, n_negative: int) -> None:
    """Raise unless there is a positive and a negative row.

    Raises:
        UndefinedMetricError: a class is absent.
    """
    if not (n_positive and n_negative):
        absent, n = ("negative", n_positive) if n_positive else ("positive", n_negative)
        raise UndefinedMetricError(
            f"{metric} is undefined: none of the {n} rows is {absent}; it needs both classes"
        )


def patients_by_class(y_true: Tensor, patient_index: Tensor, n_patients: int) -> Tensor:
    """(2,) float64: patients with at least one positive row, and with at least one negative."""
    zeros = torch.zeros(n_patients, dtype=y_true.dtype, device=y_true.device)
    positive = zeros.scatter_reduce(0, patient_index, y_true, "amax")
    negative = zeros.scatter_reduce(0, patient_index, 1 - y_true, "amax")
    return torch.stack([positive.sum(), negative.sum()])


def auroc_estimate(value: float, variance: float, m: int, n: int, level: float = LEVEL) -> Estimate:
    """The DeLong interval of an AUROC, or what stands in where its variance is 0 or undefined.

    Args:
        value: AUROC.
        variance: DeLong's; NaN where m or n is 1.
        m: positives.
        n: negatives.
        level: confidence level in (0, 1).
    """
    z = normal_quantile(level)
    if variance == 0 or value in (0, 1):
        return pairs_bound(value, m, n, level)
    if min(m, n) == 1:
        scarce = "positive" if m == 1 else "negative"
        return Estimate(value, 0.0, 1.0, level, f"no interval: DeLong needs 2, 1 {scarce}")
    half = z * variance**0.5
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), level, "DeLong")


def clustered_auroc_estimate(
    value: float, interval: BootstrapInterval, m: int, n: int, level: float = LEVEL
) -> Estimate:
    """The bootstrap interval of an AUROC, or the bound where every resample agrees.

    Args:
        value: AUROC over rows.
        interval: the patient bootstrap's.
        m: patients with a positive row.
        n: patients with a negative row.
        level: confidence level in (0, 1).
    """
    if value in (0, 1):
        return pairs_bound(value, m, n, level)
    return bootstrap_estimate(value, interval, level)


def pairs_bound(value: float, m: int, n: int, level: float = LEVEL) -> Estimate:
    """A bound for an AUROC of exactly 1, 0, or ½ with all scores tied: no variance to go by.

    min(m, n) pairs of a positive and a negative that share no patient are independent. All of them
    agreed, so that with confidence `level` the chance that a pair agrees is at least
    t = (1 − level)^(1 / min(m, n)), Clopper & Pearson's one-sided bound ("rule of three"). Hence
    AUROC ≥ t after 1, ≤ 1 − t after 0, and within ½ ± (1 − t / 2 − ½) after all ties.

    References:
        Hanley & Lippman-Hand, JAMA 249 (1983) 1743-1745; Obuchowski & Lieber, Acad Radiol 9 (2002)
        526-530, on why an estimated ROC area of 1.0 needs a bound.
    """
    pairs = min(m, n)
    t = (1 - level) ** (1 / pairs)
    low, high = {1.0: (t, 1.0), 0.0: (0.0, 1 - t)}.get(value, (t / 2, 1 - t / 2))
    kind = "one-sided Clopper-Pearson bound" if value in (0, 1) else "bound from all-tied scores"
    return Estimate(value, low, high, level, f"{kind}, {pairs} disjoint pairs")


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
        y_true: (N,) in {0, 1}; 1 = finding present.
        y_score: (N,) finite; higher = more suspicious. Any monotone scale.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Returns:
        Estimate with value, low and high in [0, 1], by patient bootstrap (percentile).

    Raises:
        UndefinedMetricError: y_true holds one class only.
        MetricInputError: shapes differ, a label is not 0 or 1, a score is not finite.

    References:
        Davis & Goadrich, ICML 2006; the sum is scikit-learn's `average_precision_score`.
    """
    label, score = as_columns(y_true, y_score)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    ranked = rank_scores(label, score)
    tp, fp = cumulative_counts(ranked)
    value, m, n = read_back(label, score, mean_precision(tp, fp), tp[-1], fp[-1])
    check_both_classes("average precision", int(m), int(n))
    ranked, drawn = ranked.drop_repeats(), patients.index[ranked.order]
    samples = patient_bootstrap(
        lambda w: mean_precision(*cumulative_counts(ranked, w.index_select(1, drawn)))[:, None],
        patients,
        resamples=resamples,
        seed=seed,
    )
    m_patients, n_patients = patients_by_class(label, patients.index, patients.n).tolist()
    interval = percentile_intervals(samples, level)[0]
    return average_precision_estimate(value, interval, int(m_patients), int(n_patients), level)


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
    return bootstrap_estimate(value, interval, level)
