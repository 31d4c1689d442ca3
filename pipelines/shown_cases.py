"""The worst mistakes and the borderline cases of a scored split, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medres.config import ShownImages
from medres.metrics.operating_point import Threshold
from medres.reports.case_pictures import cases_of_a_kind, draw_case_pictures
from medres.reports.cases import cases_as_json, select_cases, write_case_keys
from medres.reports.cases_section import cases_section
from medres.reports.section import Section
from medres.scoring.case_scores import CaseScores, ImageScores
from medres.scoring.folds import Fold
from medres.scoring.predictor import Predictor


def show_cases(
    predictor: Predictor,
    images: ImageScores,
    scores: CaseScores,
    findings: Sequence[str],
    thresholds: Mapping[str, Threshold],
    *,
    allowed: ShownImages,
    keys: Path,
) -> tuple[dict[str, Any], Section]:
    """Choose the cases, write whose they are, and draw those that may be shown.

    Args:
        predictor: that scored the images.
        images: scored.
        scores: the cases that they were combined to.
        findings: in the order of the network's outputs.
        thresholds: locked; findings without one have no borderline cases.
        allowed: whose pixels may stand on the page.
        keys: file that leads from a key back to its case.

    Returns:
        The section `cases` of `evaluation.json`, and that of the page.
    """
    count = cases_of_a_kind(len(findings))
    labels, probabilities = scores.y_true.T.tolist(), scores.y_score.T.tolist()
    cases = {
        name: select_cases(
            labels[output],
            probabilities[output],
            thresholds[name].value if name in thresholds else None,
            count=count,
        )
        for output, name in enumerate(findings)
    }
    rows = [[(images.rows[k].image, images.rows[k].frame) for k in of] for of in scores.images]
    write_case_keys(keys, scores.patient_ids, rows)
    pictures = draw_case_pictures(predictor, images, scores, cases, allowed=allowed)
    whose = (
        f"A case is one {scores.unit}; whose it is stands in {keys.parent.name}/{keys.name}, "
        "which stays with the run."
    )
    return cases_as_json(cases), cases_section(cases, whose=whose, pictures=pictures)


def list_fold_cases(
    folds: Sequence[Fold], images: Sequence[ImageScores], findings: Sequence[str], *, keys: Path
) -> tuple[dict[str, Any], Section]:
    """The cases of all folds, each by the threshold of the model that scored it, without pictures.

    Args:
        folds: each with its test cases.
        images: of each fold, which its cases were combined of.
        findings: in the order of the networks' outputs.
        keys: file that leads from a key back to its case.

    Returns:
        The section `cases` of `evaluation.json`, and that of the page.
    """
    cases = {}
    for output, name in enumerate(findings):
        parts = [fold.cases for fold in folds]
        labels = [label for part in parts for label in part.y_true[:, output].tolist()]
        scores = [score for part in parts for score in part.y_score[:, output].tolist()]
        own = [fold.thresholds[name].value for fold in folds if name in fold.thresholds]
        cuts = [cut for part, cut in zip(parts, own, strict=False) for _ in part.patient_ids]
        cases[name] = select_cases(
            labels,
            scores,
            cuts if len(own) == len(folds) else None,  # each case by a threshold, or none by any
            count=cases_of_a_kind(len(findings)),
        )
    rows = [
        [(scored.rows[k].image, scored.rows[k].frame) for k in of]
        for fold, scored in zip(folds, images, strict=True)
        for of in fold.cases.images
    ]
    write_case_keys(keys, [p for fold in folds for p in fold.cases.patient_ids], rows)
    unit = folds[0].cases.unit
    return cases_as_json(cases), cases_section(
        cases,
        whose=f"A case is one {unit}; whose it is stands in {keys.name}, which stays with the run.",
        no_pictures="Pictures stand in each fold's own report, by the model that scored them.",
    )
