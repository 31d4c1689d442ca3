"""Rows of a score table, combined to the cases that a model's thresholds are for."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from medres.data.score_table import ScoreTable
from medres.errors import ManifestError
from medres.metrics.age_bands import age_bands
from medres.metrics.aggregation import combine_scores
from medres.scoring.case_scores import CaseScores, images_of_cases


def cases_of_table(
    table: ScoreTable, unit: Literal["image", "study", "patient"], y_score: Tensor | None = None
) -> CaseScores:
    """A table's rows, or the studies or patients that they combine to, as `evaluate` combines them.

    Args:
        table: of scores; without patients its rows are the cases, whatever the unit.
        unit: what a case is; image takes the rows as they are.
        y_score: (N, F) scores in place of the table's.
    """
    label = torch.tensor(table.y_true, dtype=torch.float64)
    score = torch.tensor(table.y_score, dtype=torch.float64) if y_score is None else y_score
    if table.patient_ids is None or unit == "image":
        patients = table.patient_ids or tuple(str(k) for k in range(len(label)))
        single = tuple((k,) for k in range(len(label)))
        return CaseScores("image", patients, label, score, {}, single)
    studies = table.study_ids or ("",) * len(label)
    combined = combine_scores(
        label, score, patient_ids=table.patient_ids, study_ids=studies, unit=unit
    )
    return CaseScores(
        unit,
        combined.patient_ids,
        combined.y_true,
        combined.y_score,
        {},
        images_of_cases(combined, table.patient_ids, studies),
    )


def combine_table(table: ScoreTable, unit: Literal["study", "patient"]) -> ScoreTable:
    """The table with a row a study or patient, by patient and then study; ages in bands.

    A case whose rows differ in a column is in no group of it.

    Args:
        table: with patients.
        unit: what a row becomes.

    Raises:
        ManifestError: it has no patients.
    """
    if table.patient_ids is None:
        raise ManifestError(
            f"{table.path}: no column patient_id, by which rows combine to a {unit}; add it, or "
            "judge rows as they are with --unit row"
        )
    cases = cases_of_table(table, unit)
    groups = {
        name: tuple(cases.groups(age_bands(values) if name == "age" else values))
        for name, values in table.groups.items()
    }
    return replace(
        table,
        y_true=tuple(map(tuple, cases.y_true.tolist())),
        y_score=tuple(map(tuple, cases.y_score.tolist())),
        patient_ids=cases.patient_ids,
        study_ids=None,
        groups=groups,
    )
