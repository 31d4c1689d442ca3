"""Scores and labels of any program, as a table: the input of `medres report` and `recalibrate`.

One finding in the columns `y_true` and `y_score`, or several as `<finding>` and `<finding>_score`;
`patient_id` where patients repeat; whatever else stands there may name subgroups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medres.data.table import Table, format_rows, read_table, row_number
from medres.errors import ManifestError

SUFFIX = "_score"
PATIENT = "patient_id"
STUDIES = ("study_instance_uid", "study_key")
ADDRESSES = (
    *(PATIENT, *STUDIES, "series_instance_uid", "sop_instance_uid"),
    *("image", "image_key", "series_key", "frame", "split"),
)
MOST_GROUPS = 20
"""Values beyond which a column is an identifier or a measurement rather than a set of groups."""


@dataclass(frozen=True)
class ScoreTable:
    """Scored rows.

    Attributes:
        path: where they were read.
        findings: F names.
        y_true: N rows of F labels: 0, 1, or NaN = missing.
        y_score: N rows of F scores; NaN only where the label is missing too.
        patient_ids: N, or None where the table has no such column.
        study_ids: N, or None where it has neither study_instance_uid nor study_key.
        groups: N values by column, "" = not stated; whatever is neither label, score nor address.
        notes: what was left out, as sentences.
        n_unscored: rows without any score, which are left out.
    """

    path: Path
    findings: tuple[str, ...]
    y_true: tuple[tuple[float, ...], ...]
    y_score: tuple[tuple[float, ...], ...]
    patient_ids: tuple[str, ...] | None
    study_ids: tuple[str, ...] | None
    groups: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    n_unscored: int = 0


def read_scores(path: str | Path, findings: Sequence[str] = ()) -> ScoreTable:
    """Read a table of scores and labels, CSV or Parquet.

    A row without any score is an input that was not scored: it is left out, and a note says how
    many there are and which.

    Args:
        path: of the table.
        findings: that it must hold, in this order; none: those that it has.

    Raises:
        ManifestError: no such table; no scores in it, or not those findings; a label other than 0
            and 1, a score that is no finite number, a patient without an id; each with its row and
            column. No row has a score.
    """
    table = read_table(path)
    columns = _score_columns(table, findings)
    unscored = [
        k for k, row in enumerate(table.rows) if not any(row[s] for _, s in columns.values())
    ]
    if len(unscored) == len(table.rows):
        raise ManifestError(f"{table.path}: no row has a score; fill the score columns")
    kept = [k for k in range(len(table.rows)) if k not in set(unscored)]
    labels, scores = [], []
    for k in kept:
        row, place = table.rows[k], f"{table.path}: row {row_number(k)}"
        y = [_label(row[name], place, name) for name, _ in columns.values()]
        labels.append(tuple(y))
        scores.append(
            tuple(
                _score(row[name], place, name, optional=math.isnan(label))
                for label, (_, name) in zip(y, columns.values(), strict=True)
            )
        )
    notes = []
    if unscored:
        notes.append(
            f"{len(unscored)} of {len(table.rows)} rows have no score and are left out of every "
            f"figure: {format_rows(unscored)}."
        )
    used = {name for pair in columns.values() for name in pair}
    others = [
        name
        for name in table.columns
        if name not in used and name not in ADDRESSES and not name.endswith("_untempered")
    ]
    return ScoreTable(
        table.path,
        tuple(columns),
        tuple(labels),
        tuple(scores),
        _patients(table, kept),
        next((tuple(table.rows[k][c] for k in kept) for c in STUDIES if c in table.columns), None),
        {name: tuple(table.rows[k][name] for k in kept) for name in others},
        tuple(notes),
        len(unscored),
    )


def _score_columns(table: Table, findings: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Columns of label and score by finding."""
    names = set(table.columns)
    if not findings and {"y_true", "y_score"} <= names:
        return {"finding": ("y_true", "y_score")}
    if len(findings) == 1 and {"y_true", "y_score"} <= names:
        return {findings[0]: ("y_true", "y_score")}
    found = {}
    for column in table.columns:
        finding = column.removesuffix(SUFFIX)
        if column.endswith(SUFFIX) and finding:
            label = next((n for n in (finding, f"label_{finding}") if n in names), None)
            if label:
                found[finding] = (label, column)
    if missing := [finding for finding in findings if finding not in found]:
        raise ManifestError(
            f"{table.path}: no columns {missing[0]!r} and {missing[0] + SUFFIX!r} for the finding "
            f"{missing[0]!r}; the table has {', '.join(table.columns)}"
        )
    if not found:
        raise ManifestError(
            f"{table.path}: no labels with scores; name the columns y_true and y_score, or "
            f"<finding> and <finding>_score; the table has {', '.join(table.columns)}"
        )
    return {name: found[name] for name in findings} if findings else found


def _label(cell: str, place: str, column: str) -> float:
    if not cell:
        return math.nan
    value = _number(cell)
    if value not in (0.0, 1.0):
        raise ManifestError(
            f"{place}, column {column}: found {cell!r}; a label is 0, 1, or empty where it is not "
            "known"
        )
    return value


def _score(cell: str, place: str, column: str, *, optional: bool) -> float:
    if not cell and optional:
        return math.nan
    value = _number(cell)
    if not math.isfinite(value):
        raise ManifestError(
            f"{place}, column {column}: found {cell!r}; a score is a finite number (leave all "
            "scores of a row empty where its input was not scored)"
        )
    return value


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _patients(table: Table, kept: Sequence[int]) -> tuple[str, ...] | None:
    if PATIENT not in table.columns:
        return None
    ids = tuple(table.rows[k][PATIENT] for k in kept)
    if empty := [k for k, value in zip(kept, ids, strict=True) if not value]:
        raise ManifestError(
            f"{table.path}: {format_rows(empty)}, column {PATIENT}: empty; give every row one, or "
            "delete the column"
        )
    return ids


def select_groups(
    table: ScoreTable, asked: Sequence[str] | None
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The columns that make subgroups.

    Args:
        table: of scores.
        asked: column names; None: every column with 2 to 20 values.

    Returns:
        Values by column, and a note on each column that was left out.

    Raises:
        ManifestError: a column that is not there.
    """
    if asked is not None:
        if unknown := [name for name in asked if name not in table.groups]:
            there = ", ".join(table.groups) or "none"
            raise ManifestError(
                f"{table.path}: no subgroup column {unknown[0]!r}; the columns that may be one: "
                f"{there}"
            )
        return {name: table.groups[name] for name in asked}, []
    chosen, notes = {}, []
    for name, values in table.groups.items():
        count = len({value for value in values if value})
        if 2 <= count <= MOST_GROUPS or (name == "age" and count > 1):
            chosen[name] = values
        elif count > MOST_GROUPS:
            notes.append(
                f"Column {name} has {count} values and makes no subgroups; name it with "
                f"--subgroup {name} if it should."
            )
    return chosen, notes


def check_same_rows(first: ScoreTable, second: ScoreTable) -> None:
    """Raise unless two tables hold scores of the same rows, in the same order.

    Raises:
        ManifestError: another number of rows, or another patient or label in a row.
    """
    if len(first.y_true) != len(second.y_true):
        raise ManifestError(
            f"{second.path}: {len(second.y_true)} scored rows, {first.path.name} has "
            f"{len(first.y_true)}; give the other model's scores of the same rows"
        )
    if first.patient_ids and second.patient_ids and first.patient_ids != second.patient_ids:
        pairs = zip(first.patient_ids, second.patient_ids, strict=True)
        row = next(k for k, (a, b) in enumerate(pairs) if a != b)
        raise ManifestError(
            f"{second.path}: scored row {row + 1} is of another patient than in "
            f"{first.path.name}; sort both tables alike"
        )
    for k, (mine, theirs) in enumerate(zip(first.y_true, second.y_true, strict=True)):
        for name, a, b in zip(first.findings, mine, theirs, strict=True):
            if a != b and not (math.isnan(a) and math.isnan(b)):
                raise ManifestError(
                    f"{second.path}: scored row {k + 1} has another label of {name} than in "
                    f"{first.path.name}; sort both tables alike"
                )
