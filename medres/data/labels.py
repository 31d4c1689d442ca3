"""What a label table says: which columns are findings, of which kind, and each row's labels.

Labels are 0, 1 or missing, and uncertain where a value for that is named (`uncertain_labels`).
Nothing about them is guessed: a column with two words needs to be told which one is the finding (in
BreastMNIST, label 1 is *normal*).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from medres.data.table import Table, row_number
from medres.errors import ManifestError

LABEL_COLUMN = "label"
LABEL_PREFIX = "label_"
# Beyond this a column holds identifiers or measurements, not classes of a picture.
MAX_CLASSES = 100
# Words that programs write for "no value"; as a class they would be a silent mistake.
NOT_A_LABEL = frozenset({"na", "n/a", "nan", "null", "<na>"})
UNCERTAIN = "-1"
"""How CheXpert writes an uncertain label, and how written manifests do."""


@dataclass(frozen=True)
class LabelSchema:
    """Which findings are labelled, and how their cells read.

    Args:
        kind: binary (one finding), multilabel (several, independent), multiclass (exactly one).
        findings: F names; for multiclass the classes.
        columns: of the table: F of them, or for multiclass the one.
        values: of a binary text column, the negative's and the positive's; empty for 0/1 columns.
        uncertain: the cell that stands for an uncertain label; "" where none is accepted. Where one
            is, -1 is accepted too.
    """

    kind: Literal["binary", "multilabel", "multiclass"]
    findings: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[str, ...] = ()
    uncertain: str = ""

    def is_uncertain(self, cell: str) -> bool:
        """Whether a cell says that nobody knows, rather than that nobody looked."""
        return bool(self.uncertain) and _canonical(cell) in (self.uncertain, UNCERTAIN)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, as stored with a model."""
        return {
            "kind": self.kind,
            "findings": list(self.findings),
            "columns": list(self.columns),
            "values": list(self.values),
            "uncertain": self.uncertain,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LabelSchema:
        """The inverse of `as_json`."""
        return cls(
            values["kind"],
            tuple(values["findings"]),
            tuple(values["columns"]),
            tuple(values["values"]),
            values.get("uncertain", ""),
        )


def nearest_column(name: str, columns: Sequence[str]) -> str:
    """A hint for a column that is not there: the nearest, and all of them."""
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}The columns are {', '.join(columns)}"


def infer_schema(
    table: Table,
    reserved: Sequence[str],
    findings: Sequence[str] = (),
    positive: str | None = None,
    rows: Sequence[int] | None = None,
    uncertain: str = "",
) -> LabelSchema:
    """Find out what a table's label columns hold.

    Args:
        table: with one row an image.
        reserved: columns that cannot be findings.
        findings: label columns; empty takes `label`, else every `label_*`.
        positive: of a column with two values, the one that is the finding.
        rows: indices of the rows that count; None for all.
        uncertain: the cell that stands for an uncertain label; "" accepts none.

    Raises:
        ManifestError: an unknown column, no label column, no or only one label in a column, two
            values and no `positive`, cells that are no labels.
    """
    columns = _label_columns(table, reserved, findings)
    rows = range(len(table.rows)) if rows is None else rows
    uncertain = _canonical(uncertain)
    if len(columns) == 1:
        labels = LabelSchema("binary", (), columns, uncertain=uncertain)
        known = [i for i in rows if not labels.is_uncertain(table.rows[i][columns[0]])]
        found = _single_column(table, columns[0], positive, known)
        return replace(found, uncertain=uncertain)
    if positive is not None:
        raise ManifestError(
            f"{table.path}: positive={positive!r} is for one label column with two values, and "
            f"there are {len(columns)}: {', '.join(columns)}; these take 0, 1 or an empty cell"
        )
    names = tuple(column.removeprefix(LABEL_PREFIX) for column in columns)
    if len(set(names)) < len(names):
        raise ManifestError(f"{table.path}: two label columns name the same finding: {columns}")
    schema = LabelSchema("multilabel", names, columns, uncertain=uncertain)
    for column in columns:
        if not any(table.rows[index][column] for index in rows):
            raise ManifestError(f"{table.path}: column {column!r} holds no label at all")
    return schema


def _label_columns(
    table: Table, reserved: Sequence[str], findings: Sequence[str]
) -> tuple[str, ...]:
    free = [column for column in table.columns if column not in reserved]
    for name in findings:
        if name not in free:
            found = "cannot be a finding" if name in reserved else "does not exist"
            raise ManifestError(
                f"{table.path}: label column {name!r} {found}; {nearest_column(name, free)}"
            )
    if findings:
        return tuple(dict.fromkeys(findings))
    if LABEL_COLUMN in free:
        return (LABEL_COLUMN,)
    columns = tuple(column for column in free if column.startswith(LABEL_PREFIX))
    if not columns:
        raise ManifestError(
            f"{table.path}: no label column; name yours with `findings`, or call it 'label' or "
            f"'label_<finding>'. The columns are {', '.join(table.columns)}"
        )
    return columns


def _single_column(
    table: Table, column: str, positive: str | None, rows: Sequence[int]
) -> LabelSchema:
    first_row = _first_row_of_each_value(table, column, rows)
    values = sorted(
        first_row, key=lambda value: (len(value), value) if value.isdigit() else (0, value)
    )
    if positive is not None:
        positive = _canonical(positive)
    if set(values) <= {"0", "1"} and positive in (None, "1"):
        return LabelSchema("binary", (column.removeprefix(LABEL_PREFIX),), (column,))
    if len(values) >= 3 and positive is None:
        return LabelSchema("multiclass", tuple(values), (column,))
    where, found = f"{table.path}: column {column!r}", " and ".join(map(repr, values))
    if len(values) >= 3:
        rarest = ", ".join(f"{value!r} (row {first_row[value]})" for value in values[:6])
        raise ManifestError(
            f"{where} has {len(values)} values, first seen {rarest}; positive={positive!r} chooses "
            "one of two. Correct the column, make one with 0 and 1, or leave `positive` out for "
            "one class each"
        )
    if positive is not None and positive not in values:
        raise ManifestError(f"{where} has no value {positive!r}; give positive as one of {found}")
    if len(values) == 1:
        raise ManifestError(f"{where} holds one class only, {found}; a classifier needs two")
    if positive is None:
        raise ManifestError(
            f"{where} has the values {found}; say which one is the finding with "
            f"positive={values[0]!r} or positive={values[1]!r}"
        )
    negative = values[1 - values.index(positive)]
    return LabelSchema("binary", (_finding(column, positive),), (column,), (negative, positive))


def _finding(column: str, positive: str) -> str:
    """Name of the finding: `label_x` names it itself, else the word, else column=number."""
    if column.startswith(LABEL_PREFIX):
        return column.removeprefix(LABEL_PREFIX)
    return positive if _number(positive) is None else f"{column}={positive}"


def _first_row_of_each_value(table: Table, column: str, rows: Sequence[int]) -> dict[str, int]:
    """Distinct labels of a column, each with the row where it first stands; refuses non-labels."""
    where = f"{table.path}: column {column!r}"
    first: dict[str, int] = {}
    for index in rows:
        if cell := table.rows[index][column]:
            first.setdefault(_canonical(cell), row_number(index))
    if not first:
        raise ManifestError(f"{where} holds no label at all")
    for value, number in first.items():
        if value.lower() in NOT_A_LABEL:
            raise ManifestError(
                f"{where}, row {number}: {value!r} is no label; leave the cell empty where the "
                "label is missing"
            )
    words = [value for value in first if _number(value) is None]
    if words and len(words) < len(first):
        raise ManifestError(
            f"{where}, row {first[words[0]]}: {words[0]!r} stands among numbers; accepted are "
            "0, 1 and the empty cell, or words only"
        )
    for value, number in first.items():
        if not words and not value.isdigit():
            raise ManifestError(
                f"{where}, row {number}: {value!r} is no label; accepted are 0, 1 and the "
                f"empty cell (missing), or classes 0, 1, 2, ...{_uncertain_hint(value)}"
            )
    _check_classes_differ(where, first)
    return first


def _check_classes_differ(where: str, first: Mapping[str, int]) -> None:
    if len(first) > MAX_CLASSES:
        raise ManifestError(
            f"{where} has {len(first)} different values: identifiers or measurements, no labels"
        )
    folded: dict[str, str] = {}
    for value in first:
        other = folded.setdefault(value.casefold(), value)
        if other != value:
            raise ManifestError(
                f"{where}: {other!r} (row {first[other]}) and {value!r} (row {first[value]}) "
                "differ in capitals only; write both alike"
            )


def fit_schema(table: Table, schema: LabelSchema) -> LabelSchema:
    """The same findings in another table, where their columns may have other names.

    A finding's column is the one that it had, else `label_<finding>`, else `<finding>`.

    Raises:
        ManifestError: no column for a finding.
    """
    alternatives = (
        [(schema.columns[0], LABEL_COLUMN)]
        if schema.kind == "multiclass"
        else [
            (column, f"{LABEL_PREFIX}{finding}", finding)
            for column, finding in zip(schema.columns, schema.findings, strict=True)
        ]
    )
    columns = []
    for names in alternatives:
        found = next((name for name in names if name in table.columns), None)
        if found is None:
            raise ManifestError(
                f"{table.path}: no label column for {names[-1]!r}; accepted are "
                f"{', '.join(dict.fromkeys(names))}. The columns are {', '.join(table.columns)}"
            )
        columns.append(found)
    return replace(schema, columns=tuple(columns))


def parse_labels(table: Table, schema: LabelSchema, index: int) -> tuple[float, ...]:
    """Labels of one row.

    Returns:
        (F,) 0, 1 or NaN where missing or uncertain; for multiclass one 1, or all NaN.

    Raises:
        ManifestError: a cell that is no label of this schema, by row and column.
    """
    row = table.rows[index]
    if schema.kind != "multiclass":
        return tuple(_parse_binary(table, schema, index, column) for column in schema.columns)
    cell = _canonical(row[schema.columns[0]])
    if not cell or schema.is_uncertain(cell):
        return (math.nan,) * len(schema.findings)
    if cell not in schema.findings:
        raise _no_label(table, index, schema.columns[0], ", ".join(schema.findings))
    return tuple(float(cell == finding) for finding in schema.findings)


def parse_uncertain(table: Table, schema: LabelSchema, index: int) -> tuple[int, ...]:
    """Findings (their places) whose label is uncertain in a row.

    Of a multiclass table none: between three classes, uncertain is no better than missing.
    """
    if schema.kind == "multiclass":
        return ()
    cells = (table.rows[index][column] for column in schema.columns)
    return tuple(place for place, cell in enumerate(cells) if schema.is_uncertain(cell))


def _parse_binary(table: Table, schema: LabelSchema, index: int, column: str) -> float:
    cell = _canonical(table.rows[index][column])
    if not cell or schema.is_uncertain(cell):
        return math.nan
    if cell in schema.values:
        return float(schema.values.index(cell))
    if cell in ("0", "1") and not set(schema.values) & {"0", "1"}:
        return float(cell)
    accepted = ", ".join(schema.values or ("0", "1"))
    raise _no_label(table, index, column, accepted)


def _no_label(table: Table, index: int, column: str, accepted: str) -> ManifestError:
    return ManifestError(
        f"{table.path}: row {row_number(index)}, column {column!r}: "
        f"{table.rows[index][column]!r} is no label; accepted are {accepted} and the empty cell "
        f"(missing){_uncertain_hint(table.rows[index][column])}"
    )


def _uncertain_hint(cell: str) -> str:
    if _canonical(cell) != UNCERTAIN:
        return ""
    return (
        f". Where {UNCERTAIN} stands for uncertain, say so: `--uncertain {UNCERTAIN}` when "
        "preparing, and a policy in `data.uncertain` when training"
    )


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _canonical(cell: str) -> str:
    """A cell as compared: whole numbers alike however they are written (1, 1.0, 01)."""
    number = _number(cell)
    if number is None or not number.is_integer():
        return cell
    return str(int(number))
