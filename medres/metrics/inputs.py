"""What counts as labels and scores, and the one place where figures leave the device.

The computing functions of this package keep every figure as a tensor on the device of the scores.
Checks of *values* (labels 0 or 1, scores finite) would each cost a wait for the device, so they
travel as flags with the figures and are read once, in `read_back`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError

ArrayLike = Tensor | NDArray[Any] | Sequence[Any]
"""A tensor on any device, a numpy array, or (nested) sequences of numbers."""


def as_tensors(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Tensor, Tensor]:
    """Labels and scores as float64 tensors of one shape on one device.

    The device is that of `y_score` if it is a tensor, else that of `y_true`, else the CPU.
    Floats of 32 or 16 bits convert exactly, so that their order and ties are kept.

    Args:
        y_true: (N,) or (N, F) labels, 0, 1 or (only where the caller masks) NaN.
        y_score: the same shape; higher = more suspicious.

    Returns:
        y_true and y_score, float64, same shape, same device.

    Raises:
        MetricInputError: the shapes differ or are neither (N,) nor (N, F), or something is no
            number.
        UndefinedMetricError: there are no rows.
    """
    tensors = [a for a in (y_score, y_true) if isinstance(a, Tensor)]
    device = tensors[0].device if tensors else torch.device("cpu")
    label, score = (_as_float64(a, device) for a in (y_true, y_score))
    if label.shape != score.shape:
        raise MetricInputError(
            f"y_true has shape {tuple(label.shape)} and y_score {tuple(score.shape)}; "
            "give one score for each label"
        )
    if label.ndim not in (1, 2):
        raise MetricInputError(
            f"y_true has shape {tuple(label.shape)}; give (N,) for one finding, (N, F) for several"
        )
    if label.numel() == 0:
        raise UndefinedMetricError("no rows: a metric needs at least one label and score")
    return label, score


def as_rows(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Tensor, Tensor]:
    """`as_tensors` with the findings first: (N,) stays, (N, F) becomes a contiguous (F, N).

    Raises:
        MetricInputError, UndefinedMetricError: as `as_tensors` does.
    """
    label, score = as_tensors(y_true, y_score)
    if label.ndim == 1:
        return label, score
    # A column at a time: in two thirds of the time of `label.T.contiguous()`.
    return torch.stack(label.unbind(1)), torch.stack(score.unbind(1))


def count_strange(y_true: Tensor, y_score: Tensor) -> Tensor:
    """How many labels are neither 0, 1 nor NaN, and how many scores of given labels not finite.

    Args:
        y_true: (N,) or (F, N) labels.
        y_score: the same shape.

    Returns:
        (2,) or (F, 2) int64, on the same device; nothing is read back.
    """
    if y_true.ndim == 2:  # a finding at a time: its rows stay in the cache of a processor
        rows = zip(y_true, y_score, strict=True)
        return torch.stack([count_strange(label, score) for label, score in rows])
    missing, sound = y_true.isnan(), (y_true == 0) | (y_true == 1)
    finite = y_score.abs() < torch.inf  # in half the time of isfinite
    n, labelled = y_true.numel(), sound.sum()
    return torch.stack([n - labelled - missing.sum(), labelled - (sound & finite).sum()])


def _as_float64(values: ArrayLike, device: torch.device) -> Tensor:
    if not isinstance(values, Tensor):
        try:
            values = torch.from_numpy(np.array(values, dtype=np.float64))
        except (TypeError, ValueError):  # whose words would quote the value
            raise MetricInputError(
                "labels or scores are not all numbers; give numbers of one shape, NaN for a "
                "missing label"
            ) from None
    return values.detach().to(device=device, dtype=torch.float64)


def read_back(y_true: Tensor, y_score: Tensor, *figures: Tensor) -> list[float]:
    """Bring figures to the host in one transfer, with the checks of the values they came from.

    Args:
        y_true: labels that must all be 0, 1 or, where the figures leave such rows out, NaN.
        y_score: scores that must be finite where the label is given.
        figures: 0-dimensional tensors.

    Returns:
        The figures as Python floats, in order.

    Raises:
        MetricInputError: a label is not 0, 1 or NaN, or a score is not finite.
    """
    strange = count_strange(y_true, y_score).reshape(-1, 2).sum(0)
    row = torch.stack([f.to(torch.float64) for f in (*strange, *figures)])
    n_labels, n_scores, *values = row.tolist()
    check_counts(int(n_labels), int(n_scores), y_true.numel())
    return values


def check_counts(strange_labels: int, strange_scores: int, n: int) -> None:
    """Raise where labels or scores were found that no metric can take.

    Raises:
        MetricInputError: either count is above 0.
    """
    if strange_labels:
        raise MetricInputError(
            f"{strange_labels} of {n} labels in y_true are neither 0, 1 nor NaN (missing)"
        )
    if strange_scores:
        raise MetricInputError(
            f"{strange_scores} of {n} scores in y_score are NaN or infinite; a metric ranks finite "
            "scores only. Count rejected inputs apart rather than as NaN"
        )
