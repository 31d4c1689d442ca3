"""The CLAIM checklist, 2024 update: what of it this page answers, where, and what it leaves.

The wording is ours; the numbers are the checklist's: Tejani et al., Radiology: Artificial
Intelligence 6 (2024) e240300.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby

PLACES: Mapping[str, str] = {
    "intended-use": "intended use",
    "summary": "summary",
    "notes": "what to read first",
    "use": "for my patients",
    "explore": "moving the threshold",
    "patients": "who was in",
    "splits": "splits",
    "leakage": "leakage check",
    "findings": "all findings",
    "finding-1": "figures and curves",
    "finding-1-subgroups": "subgroups",
    "multiclass": "classes",
    "beside": "other data",
    "comparison": "against another model",
    "cases": "cases",
    "training": "training",
    "folds": "folds",
    "dataset": "data set",
    "model": "model",
    "preprocessing": "preprocessing",
    "provenance": "provenance",
}
"""Anchors that an item may point to, and what their links are called."""


@dataclass(frozen=True)
class ClaimItem:
    """One item of the checklist.

    Attributes:
        number: 1 to 44.
        part: of a paper where it belongs.
        text: what it asks for.
        places: anchors of this page that answer it, where they are there.
        rest: what an author has to add even so; empty where the page answers it whole.
    """

    number: int
    part: str
    text: str
    places: tuple[str, ...] = ()
    rest: str = ""


@dataclass(frozen=True)
class ClaimRow:
    """An item as the page shows it.

    Attributes:
        item: of the checklist.
        links: anchor and name of each place that answers it.
        author: what is the author's to fill: empty, a part, or "all of it".
    """

    item: ClaimItem
    links: tuple[tuple[str, str], ...]
    author: str


def claim_parts(anchors: Collection[str]) -> tuple[tuple[str, tuple[ClaimRow, ...]], ...]:
    """Every item with its places on this page, by part of a paper.

    Args:
        anchors: that the page has.
    """
    rows = []
    for item in ITEMS:
        links = tuple((place, PLACES[place]) for place in item.places if place in anchors)
        rows.append(ClaimRow(item, links, item.rest if links else "all of it"))
    return tuple((part, tuple(of)) for part, of in groupby(rows, lambda row: row.item.part))


_FRONT, _DATA, _REFERENCE = "Title to aims", "Design and data", "Reference standard"
_PARTS, _MODEL, _EVALUATION = "Partitions and sample size", "Model and training", "Evaluation"
_RESULTS, _END = "Results", "Discussion and other"
_CURVES = ("findings", "finding-1")

ITEMS = (
    ClaimItem(1, _FRONT, "A title that says it is a study of AI, and of which kind"),
    ClaimItem(2, _FRONT, "A structured abstract", ("summary",), "the abstract itself"),
    ClaimItem(
        3,
        _FRONT,
        "Background, with the intended use and role of the model",
        ("intended-use",),
        "the scientific and clinical background",
    ),
    ClaimItem(4, _FRONT, "Aims and hypotheses"),
    ClaimItem(5, _DATA, "Whether data were gathered before or after the study was planned"),
    ClaimItem(6, _DATA, "What kind of study it is: a first model, feasibility, non-inferiority"),
    ClaimItem(
        7, _DATA, "Sources of the data", ("dataset",), "sites, dates and how cases were found"
    ),
    ClaimItem(
        8,
        _DATA,
        "Who could enter and who could not",
        ("patients",),
        "the criteria by which the sources were drawn",
    ),
    ClaimItem(9, _DATA, "How images were preprocessed", ("preprocessing",)),
    ClaimItem(
        10,
        _DATA,
        "Which parts of the data were used",
        ("patients", "dataset"),
        "why those, where a part was chosen",
    ),
    ClaimItem(11, _DATA, "How data were de-identified"),
    ClaimItem(
        12,
        _DATA,
        "What became of missing data",
        ("patients", "notes"),
        "why they are missing, as far as known",
    ),
    ClaimItem(13, _DATA, "How images were acquired: machines, protocols, views"),
    ClaimItem(14, _REFERENCE, "What defines that the finding is there"),
    ClaimItem(15, _REFERENCE, "Why this reference standard, and what its limits are"),
    ClaimItem(16, _REFERENCE, "Where the labels come from, and the readers' training"),
    ClaimItem(17, _REFERENCE, "How the test cases were labelled"),
    ClaimItem(18, _REFERENCE, "How far readers agreed with each other and with themselves"),
    ClaimItem(
        19,
        _PARTS,
        "How cases were assigned to training, validation and test",
        ("splits",),
        "why in these shares",
    ),
    ClaimItem(20, _PARTS, "At which level the parts are disjoint", ("leakage",)),
    ClaimItem(21, _PARTS, "How many test cases were planned, and why"),
    ClaimItem(22, _MODEL, "The model in detail: layers, inputs, outputs", ("model",)),
    ClaimItem(23, _MODEL, "Software with its versions", ("provenance",)),
    ClaimItem(24, _MODEL, "The weights at the start", ("training", "model")),
    ClaimItem(
        25,
        _MODEL,
        "How it was trained: augmentation, rates, epochs",
        ("training",),
    ),
    ClaimItem(26, _MODEL, "How the final model was chosen", ("training",)),
    ClaimItem(27, _MODEL, "How models were joined, if they were", ("folds",)),
    ClaimItem(28, _EVALUATION, "Which figures judge the model", _CURVES),
    ClaimItem(
        29, _EVALUATION, "How uncertainty and significance were judged", (*_CURVES, "comparison")
    ),
    ClaimItem(
        30,
        _EVALUATION,
        "How robust the results are",
        ("explore", "finding-1-subgroups"),
        "tests against other disturbances, where they were made",
    ),
    ClaimItem(31, _EVALUATION, "How the model's decisions were made visible", ("cases",)),
    ClaimItem(32, _EVALUATION, "Tests on data of the same source", _CURVES),
    ClaimItem(
        33,
        _EVALUATION,
        "Tests on data of another source",
        ("beside",),
    ),
    ClaimItem(34, _EVALUATION, "Registration, if it is a trial"),
    ClaimItem(
        35, _RESULTS, "How many were in and how many were left out, as a flow", ("patients",)
    ),
    ClaimItem(
        36,
        _RESULTS,
        "Who the patients of each part are",
        ("splits", "finding-1-subgroups"),
        "age, sex and disease of each part",
    ),
    ClaimItem(
        37, _RESULTS, "Performance with its uncertainty, in every part", ("summary", *_CURVES)
    ),
    ClaimItem(
        38, _RESULTS, "Diagnostic accuracy with its precision", ("use", *_CURVES, "multiclass")
    ),
    ClaimItem(39, _RESULTS, "Where the model fails", ("cases",)),
    ClaimItem(40, _END, "Limits of the study", ("notes",), "what these notes cannot know"),
    ClaimItem(41, _END, "What it means for practice", ("use",), "the role it should take"),
    ClaimItem(
        42, _END, "Where the protocol and further details are", ("provenance",), "the protocol"
    ),
    ClaimItem(43, _END, "Where software, model and data can be had"),
    ClaimItem(44, _END, "Who paid, and what part they had"),
)
