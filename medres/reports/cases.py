"""The worst mistakes and the borderline cases, by key: which they are, nothing of whose.

A case's key is its number in the order of the scores. Whose it is stands in `cases.csv`, which
stays with the run and only its owner can read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medres.files import write_text

Kind = Literal["missed", "false_alarm", "borderline"]
KINDS: tuple[Kind, ...] = ("missed", "false_alarm", "borderline")
PER_KIND = 4
"""Cases of a kind and finding; the rest stand in the predictions."""


@dataclass(frozen=True)
class ShownCase:
    """A case that a reader should look at.

    Attributes:
        kind: why.
        place: of the case, from 0, among those that were scored.
        score: probability of the finding.
        positive: its label.
    """

    kind: Kind
    place: int
    score: float
    positive: bool

    @property
    def key(self) -> str:
        """What stands for the case in everything that leaves the run."""
        return f"case-{self.place + 1}"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind,
            "key": self.key,
            "score": self.score,
            "positive": self.positive,
        }


def select_cases(
    labels: Sequence[float],
    scores: Sequence[float],
    threshold: float | Sequence[float] | None,
    *,
    count: int = PER_KIND,
) -> tuple[ShownCase, ...]:
    """Choose the positives with the lowest scores, the negatives with the highest, and the nearest.

    With a threshold, mistakes are the cases on its wrong side, and the borderline ones those
    nearest to it on the right side. Without one, they are the lowest positives and the highest
    negatives wherever they lie, and none is borderline. Equal scores keep their order.

    Args:
        labels: (N,) in {0, 1, NaN} of one finding; NaN = missing, left out.
        scores: (N,) probabilities.
        threshold: at or above which a case is flagged, or (N,) each case's own; None for none.
        count: of a kind, at most.
    """
    known = [
        (place, float(score), bool(label))
        for place, (label, score) in enumerate(zip(labels, scores, strict=True))
        if label in (0, 1)
    ]
    cuts = threshold if isinstance(threshold, Sequence) else [threshold] * len(scores)
    above = [0.0 if cut is None else s - cut for s, cut in zip(scores, cuts, strict=True)]
    wrong = known if threshold is None else [c for c in known if (above[c[0]] >= 0) != c[2]]
    missed = sorted((c for c in wrong if c[2]), key=lambda c: c[1])[:count]
    alarms = sorted((c for c in wrong if not c[2]), key=lambda c: -c[1])[:count]
    near = []
    if threshold is not None:
        right = (c for c in known if (above[c[0]] >= 0) == c[2])
        near = sorted(right, key=lambda c: abs(above[c[0]]))[:count]
    groups = zip(KINDS, (missed, alarms, near), strict=True)
    return tuple(ShownCase(kind, *case) for kind, cases in groups for case in cases)


def cases_as_json(cases: Mapping[str, Sequence[ShownCase]]) -> dict[str, list[dict[str, Any]]]:
    """The section `cases` of `evaluation.json`: a list a finding."""
    return {finding: [case.as_json() for case in shown] for finding, shown in cases.items()}


def write_case_keys(
    path: Path, patients: Sequence[str], images: Sequence[Sequence[tuple[str, int]]]
) -> None:
    """Write who stands behind each key: a row an image, readable by the owner alone.

    Args:
        path: of the CSV.
        patients: (N,) ids of the cases.
        images: (N,) address and frame of each case's images.
    """
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["key", "patient_id", "image", "frame"])
    for place, (patient, of_case) in enumerate(zip(patients, images, strict=True), start=1):
        table.writerows([f"case-{place}", patient, image, frame] for image, frame in of_case)
    write_text(path, stream.getvalue(), private=True)
