"""Predictions out of fold: every case scored by the model that has not seen it, judged together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from medres.config import EvaluationConfig
from medres.metrics.evaluation import PLURALS
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import DECISIONS, Band, evaluate_three_way
from medres.scoring.case_scores import CaseScores, ImageScores

WITHOUT_THRESHOLD = "no threshold is locked"
"""Why `evaluate` leaves a figure undefined that decisions define."""
OUT_OF_FOLD = "predictions out of fold"
OWN_THRESHOLDS = "each fold's own threshold, chosen on its validation cases"
OWN_BANDS = "each fold's own band, chosen on its validation cases"
BETWEEN_MODELS = (
    "Figures are of predictions out of fold, pooled: each case is scored by the model of the fold "
    "that left it out. Scores of several models are ranked together, which costs a little AUROC; "
    "the intervals hold the chance in cases, not that of training."
)


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold's test cases, and how its model decides.

    Attributes:
        cases: of the fold's test split.
        thresholds: of each finding, chosen on the fold's validation split.
        bands: likewise, of the findings that have one.
    """

    cases: CaseScores
    thresholds: Mapping[str, Threshold]
    bands: Mapping[str, Band] = field(default_factory=dict)


def pool_images(parts: Sequence[ImageScores], order: Sequence[tuple[str, int]]) -> ImageScores:
    """Images of all folds in one table.

    Args:
        parts: scored test images of each fold.
        order: (image, frame) of every row, in the order in which they are to stand.
    """
    place = {key: index for index, key in enumerate(order)}
    rows = [row for part in parts for row in part.rows]
    places = torch.tensor([place[row.image, row.frame] for row in rows]).argsort()
    score = torch.cat([part.y_score for part in parts])
    untempered = torch.cat(
        [part.y_score if part.untempered is None else part.untempered for part in parts]
    )
    return ImageScores(
        parts[0].manifest,
        tuple(rows[index] for index in places.tolist()),
        score[places],
        untempered[places] if any(part.untempered is not None for part in parts) else None,
    )


def pool_cases(parts: Sequence[CaseScores]) -> CaseScores:
    """Cases of all folds in one table."""
    counts = {
        key: None if parts[0].counts[key] is None else sum(part.counts[key] or 0 for part in parts)
        for key in parts[0].counts
    }
    return CaseScores(
        parts[0].unit,
        tuple(patient for part in parts for patient in part.patient_ids),
        torch.cat([part.y_true for part in parts]),
        torch.cat([part.y_score for part in parts]),
        counts,
    )


def evaluate_folds(
    folds: Sequence[Fold],
    findings: Sequence[str],
    *,
    kind: Literal["binary", "multilabel", "multiclass"],
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of the pooled cases, as `evaluation.json` holds them.

    What a threshold or a band decides is decided in each fold by its own one, and counted together.
    """
    pooled = pool_cases([fold.cases for fold in folds])
    figures = pooled.evaluate(findings, {}, kind=kind, seed=seed)
    decided = pool_cases([_decide(fold, findings) for fold in folds])
    called = {name: Threshold(0.5, OWN_THRESHOLDS, 0) for name in findings}
    decisions = decided.evaluate(
        findings, called, kind="binary" if len(findings) == 1 else "multilabel", seed=seed
    )
    for name in findings:
        entry, found = figures["findings"][name], decisions["findings"][name]
        if found["n"]:
            entry.update(
                {key: found[key] for key, value in entry.items() if _needs_decisions(value)}
            )
            entry["confusion"] = found["confusion"]
            entry["threshold"] = {"value": None, "rule": OWN_THRESHOLDS, "n": 0}
            entry["three_way"] = _three_way(folds, findings.index(name), name, seed)
    figures["notes"] = [BETWEEN_MODELS, *figures["notes"]]
    return figures


def _needs_decisions(figure: object) -> bool:
    return isinstance(figure, Mapping) and figure.get("undefined") == WITHOUT_THRESHOLD


def _decide(fold: Fold, findings: Sequence[str]) -> CaseScores:
    """The fold's cases with their decisions, 0 or 1, as scores; unlabelled without a threshold."""
    y_true, decision = fold.cases.y_true.clone(), torch.zeros_like(fold.cases.y_score)
    for index, name in enumerate(findings):
        threshold = fold.thresholds.get(name)
        if threshold is None:
            y_true[:, index] = torch.nan
        else:
            decision[:, index] = _called(fold.cases.y_score[:, index], threshold)
    return replace(fold.cases, y_true=y_true, y_score=decision)


def _three_way(folds: Sequence[Fold], index: int, name: str, seed: int) -> dict[str, object] | None:
    """Decisions with each fold's own band, counted together; None where no fold has one."""
    own = [fold for fold in folds if name in fold.bands]
    if not any(bool((~fold.cases.y_true[:, index].isnan()).any()) for fold in own):
        return None
    pooled = pool_cases([fold.cases for fold in own])
    decisions = [
        DECISIONS.index(fold.bands[name].decision(score))
        for fold in own
        for score in fold.cases.y_score[:, index].tolist()
    ]
    lower, upper = (Threshold(end, OWN_BANDS, 0) for end in (0.5, 1.5))  # decisions are 0, 1, 2
    found = evaluate_three_way(
        pooled.y_true[:, index],
        torch.tensor(decisions, dtype=torch.float64),
        Band(lower, upper),
        patient_ids=pooled.patient_ids,
        seed=seed,
        units=PLURALS[pooled.unit],
    ).as_json()
    ends = {"value": None, "rule": OWN_BANDS, "n": 0}
    return {**found, "lower": ends, "upper": ends}


def _called(y_score: Tensor, threshold: Threshold) -> Tensor:
    return (y_score >= threshold.value).to(y_score.dtype)


def choose_ensemble_thresholds(
    folds: Sequence[Fold], findings: Sequence[str], asked: EvaluationConfig
) -> tuple[dict[str, Threshold], list[str]]:
    """Thresholds of the ensemble, chosen on the pooled predictions out of fold.

    No case is unseen by all of the members, so these predictions, each by one member, stand in.
    """
    pooled = pool_cases([fold.cases for fold in folds])
    return pooled.choose_thresholds(findings, asked, split=OUT_OF_FOLD)


def choose_ensemble_bands(
    folds: Sequence[Fold], findings: Sequence[str], asked: EvaluationConfig
) -> tuple[dict[str, Band], list[str]]:
    """Bands of the ensemble, where they are asked for, chosen as its thresholds are."""
    pooled = pool_cases([fold.cases for fold in folds])
    return pooled.choose_bands(findings, asked, split=OUT_OF_FOLD)
