"""From images to studies to patients: one score and one label for each unit of the analysis.

A study's score is the *mean* over its images: they show the same thing at the same time, and the
mean averages their noise away. A patient's score is the *maximum* over the studies: a finding in
any study is a finding of the patient, which is also what the patient's label says. Labels: the
maximum over those that are given, so that a finding marked on one view counts for the study; a
label is missing only where it is missing on every image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.inputs import ArrayLike, as_tensors
from medres.metrics.intervals import number_ids

Unit = Literal["study", "patient"]


@dataclass(frozen=True, eq=False)
class CombinedScores:
    """Labels and scores by study or by patient.

    Attributes:
        unit: what a row is.
        unit_ids: (U,) study or patient ids, sorted by patient, then study. An image without a study
            id is a study of its own, with an empty id.
        patient_ids: (U,) the patient of each row.
        y_true: (U, F) labels; NaN = missing.
        y_score: (U, F) scores.
        n_images: images that went in.
        n_studies: studies that they belong to.
        n_patients: patients that they belong to.
    """

    unit: Unit
    unit_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    y_true: Tensor
    y_score: Tensor
    n_images: int
    n_studies: int
    n_patients: int


def combine_scores(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    patient_ids: ArrayLike,
    study_ids: ArrayLike | None = None,
    unit: Unit = "patient",
) -> CombinedScores:
    """Combine image scores and labels by study (mean score), then by patient (maximum score).

    Args:
        y_true: (N, F) or (N,) labels in {0, 1}, NaN = missing.
        y_score: the same shape, finite; NaN where the label is missing too: such an image has no
            part in the finding's score.
        patient_ids: (N,) strings or integers, none empty.
        study_ids: (N,) strings or integers; an empty one, or None for all: the image is a study of
            its own. The same id under two patients is two studies.
        unit: where to stop.

    Returns:
        CombinedScores with y_true and y_score (U, F), on the device of the scores.

    Raises:
        MetricInputError: shapes differ, an empty patient id, another number of ids than rows, a
            score that is not finite, an unknown unit.
    """
    if unit not in ("study", "patient"):
        raise MetricInputError(f"unit {unit!r} is unknown; choose 'study' or 'patient'")
    label, score = as_tensors(y_true, y_score)
    label, score = (a[:, None] if a.ndim == 1 else a for a in (label, score))
    unscored = score.isnan() & label.isnan()
    if unfit := int((~score.isfinite() & ~unscored).sum()):
        raise MetricInputError(
            f"{unfit} of {score.numel()} scores in y_score are NaN or infinite; leave rejected "
            "images out, and count them, before scores are combined"
        )
    number_ids(patient_ids, len(score), "patient_ids")
    patients = _as_text(patient_ids)
    studies = np.full(len(score), "") if study_ids is None else _as_text(study_ids)
    if studies.shape != patients.shape:
        raise MetricInputError(f"study_ids has shape {studies.shape}; give one for each image")
    return _combine(label, score, patients, studies, unit)


def _combine(
    label: Tensor,
    score: Tensor,
    patients: np.ndarray[tuple[int, ...], np.dtype[np.str_]],
    studies: np.ndarray[tuple[int, ...], np.dtype[np.str_]],
    unit: Unit,
) -> CombinedScores:
    patient_names, patient = np.unique(patients, return_inverse=True)
    study_names, study = np.unique(studies, return_inverse=True)
    own = np.where(studies == "", np.arange(len(studies)) + 1, 0)
    keys, study_of_image = np.unique(
        np.stack([patient.ravel(), study.ravel(), own], axis=1), axis=0, return_inverse=True
    )
    label = _max(label, study_of_image, len(keys))
    score = _mean(score, study_of_image, len(keys))
    ids, owners = study_names[keys[:, 1]], patient_names[keys[:, 0]]
    if unit == "patient":
        label = _max(label, keys[:, 0], len(patient_names))
        score = _max(score, keys[:, 0], len(patient_names))
        ids, owners = patient_names, patient_names
    return CombinedScores(
        unit,
        tuple(ids.tolist()),
        tuple(owners.tolist()),
        label,
        score,
        n_images=len(studies),
        n_studies=len(keys),
        n_patients=len(patient_names),
    )


def _as_text(ids: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    return np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids).astype(np.str_)


def _reduce(
    values: Tensor,
    group: np.ndarray[tuple[int, ...], np.dtype[np.intp]],
    n_groups: int,
    how: Literal["sum", "amax"],
) -> Tensor:
    """(N, F) to (n_groups, F)."""
    index = torch.as_tensor(group.reshape(-1, 1), device=values.device).expand(values.shape)
    start = values.new_full((n_groups, values.shape[1]), 0.0 if how == "sum" else -torch.inf)
    return start.scatter_reduce(0, index, values, how)


def _mean(
    score: Tensor, group: np.ndarray[tuple[int, ...], np.dtype[np.intp]], n_groups: int
) -> Tensor:
    """NaN where a group has no score."""
    rows = _reduce((~score.isnan()).to(score.dtype), group, n_groups, "sum")
    return _reduce(score.nan_to_num(nan=0.0), group, n_groups, "sum") / rows


def _max(
    values: Tensor, group: np.ndarray[tuple[int, ...], np.dtype[np.intp]], n_groups: int
) -> Tensor:
    """Of those that are given; NaN where a group has none."""
    highest = _reduce(values.nan_to_num(nan=-torch.inf), group, n_groups, "amax")
    return highest.masked_fill(highest == -torch.inf, torch.nan)
