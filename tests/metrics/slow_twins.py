"""Textbook definitions, one pair or one row at a time, to hold the fast ones against."""

from __future__ import annotations

from itertools import product

import numpy as np


def auroc(y_true, y_score) -> float:
    """Share of positive-negative pairs in the right order; ties are half right."""
    positive = [s for y, s in zip(y_true, y_score, strict=True) if y]
    negative = [s for y, s in zip(y_true, y_score, strict=True) if not y]
    pairs = [(p > n) + 0.5 * (p == n) for p, n in product(positive, negative)]
    return float(sum(pairs)) / len(pairs)


def delong_variance(y_true, y_score) -> float:
    """DeLong et al. 1988, equations 4 to 6, written out."""
    positive = [s for y, s in zip(y_true, y_score, strict=True) if y]
    negative = [s for y, s in zip(y_true, y_score, strict=True) if not y]
    kernel = np.array([[(p > n) + 0.5 * (p == n) for n in negative] for p in positive])
    v10, v01 = kernel.mean(1), kernel.mean(0)
    return v10.var(ddof=1) / len(positive) + v01.var(ddof=1) / len(negative)


def average_precision(y_true, y_score) -> float:
    """Precision at each distinct threshold, weighted by the recall that it adds."""
    total, before, area = sum(y_true), 0.0, 0.0
    for threshold in sorted(set(y_score), reverse=True):
        called = [y for y, s in zip(y_true, y_score, strict=True) if s >= threshold]
        recall = sum(called) / total
        area += (recall - before) * sum(called) / len(called)
        before = recall
    return area


def calibration_error(y_true, y_score, bins: int) -> float:
    """Weighted distance of mean score and frequency, one bin at a time."""
    total = 0.0
    for k in range(bins):
        rows = [
            (y, s)
            for y, s in zip(y_true, y_score, strict=True)
            if k / bins <= s and (s < (k + 1) / bins or k == bins - 1)
        ]
        if rows:
            labels, scores = zip(*rows, strict=True)
            total += len(rows) / len(y_true) * abs(np.mean(scores) - np.mean(labels))
    return total


def resampled(statistic, y_true, y_score, weights) -> list[float]:
    """A statistic of rows repeated as the weights say, one resample at a time."""
    return [
        statistic(np.repeat(y_true, row), np.repeat(y_score, row)) for row in weights.astype(int)
    ]


def delong_difference_variance(y_true, first, second) -> float:
    """DeLong et al. 1988, equations 4 to 6, for the difference of two scores of the same rows."""
    y_true = np.asarray(y_true)

    def kernel(score):
        positive, negative = np.asarray(score)[y_true == 1], np.asarray(score)[y_true == 0]
        return np.array([[(p > n) + 0.5 * (p == n) for n in negative] for p in positive])

    difference = kernel(first) - kernel(second)
    v10, v01 = difference.mean(1), difference.mean(0)
    return v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)


def obuchowski_variance(y_true, y_score, patients) -> float:
    """Obuchowski 1997, equations 6 to 9, a patient at a time."""
    y_true, y_score, patients = (np.asarray(a) for a in (y_true, y_score, patients))
    positive, negative = y_score[y_true == 1], y_score[y_true == 0]
    area = auroc(y_true, y_score)
    m, n = len(positive), len(negative)
    v10 = {s: np.mean([(s > other) + 0.5 * (s == other) for other in negative]) for s in y_score}
    v01 = {s: np.mean([(other > s) + 0.5 * (s == other) for other in positive]) for s in y_score}
    sums = []
    for patient in np.unique(patients):
        rows = patients == patient
        own = [[v[s] for s in y_score[rows & (y_true == c)]] for v, c in ((v10, 1), (v01, 0))]
        sums.append([len(own[0]), len(own[1]), sum(own[0]), sum(own[1])])
    m_i, n_i, x_i, y_i = np.array(sums).T
    i10, i01, i = (m_i > 0).sum(), (n_i > 0).sum(), len(sums)
    s10 = i10 / ((i10 - 1) * m) * ((x_i - m_i * area) ** 2).sum()
    s01 = i01 / ((i01 - 1) * n) * ((y_i - n_i * area) ** 2).sum()
    s11 = i / (i - 1) * ((x_i - m_i * area) * (y_i - n_i * area)).sum()
    return s10 / m + s01 / n + 2 * s11 / (m * n)
