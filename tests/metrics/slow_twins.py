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
