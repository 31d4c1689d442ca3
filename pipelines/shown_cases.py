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
