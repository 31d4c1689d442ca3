"""Put a site's own labels beside the scores of a results folder, for `medres report`.

`keys.parquet`, which the owner alone can read, leads from whatever names an image or a study in
the label table to the keys of the results. What a label stands for and was not scored keeps a row
without a score: a report counts it, and drops nothing silently.
"""

from __future__ import annotations

import math
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medres.data.label_join import FRAME_NAMES, KEYS, plain
from medres.data.manifest import parse_frame
from medres.data.pseudonyms import Keys
from medres.data.table import Table, format_rows, read_table, row_number
from medres.errors import ManifestError
from medres.imaging.subgroup_attributes import ATTRIBUTES
from medres.scoring.summary import read_summary
from medres.scoring.tables import column_of

KEY_NAMES: Mapping[str, tuple[str, ...]] = {
    "image_key": ("imagekey",),
    **KEYS,
    "study_key": ("studykey",),
}
"""Columns of a label table that name what is scored; the first that fits anything counts."""
GROUP_NAMES = frozenset({*ATTRIBUTES, "patientsex", "patientage"})
"""Columns of a label table that go along unasked: no patient is named in them."""
OF_STUDIES = ("study_key", "study_instance_uid", "patient_id")
FROM_RESULTS = ("modality", "manufacturer", "view_position", "laterality", "guard_flag")
"""Columns of the results that a report may make subgroups of."""
Row = Mapping[str, str]
Owners = Mapping[str, None]
"""Keys of images or of studies, each once."""


@dataclass(frozen=True)
class JoinedScores:
    """Labels and scores in one table.

    Attributes:
        unit: what a row is.
        key: the label table's column that they were joined by.
        columns: of the table, as `medres report` reads it.
        rows: cells.
        unscored: rows without a score: rejected, not chosen or withheld.
        labels_without_input: label rows that name nothing that the results know.
        scores_without_label: scored images or studies that no label row names.
        columns_left_out: columns of the label table that may name somebody, and were not asked for.
    """

    unit: str
    key: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    unscored: int
    labels_without_input: tuple[int, ...]
    scores_without_label: int
    columns_left_out: tuple[str, ...] = ()

    def lines(self, labels: Path) -> list[str]:
        """What came of it, for people."""
        lines = [f"{len(self.rows)} {self.unit} joined by {self.key}"]
        if self.unscored:
            lines.append(f"{self.unscored} of them have no score: rejected, not chosen or withheld")
        if self.labels_without_input:
            where = format_rows(self.labels_without_input)
            lines.append(f"{labels.name}: {where} name nothing in the results; left out")
        if self.scores_without_label:
            lines.append(f"{self.scores_without_label} scored {self.unit} have no label; left out")
        if self.columns_left_out:
            names = ", ".join(self.columns_left_out)
            lines.append(f"{labels.name}: columns left out: {names}; --subgroup takes one along")
        return lines


def join_scores(
    results: Path, labels_path: Path, keys: Keys | None = None, *, subgroups: Sequence[str] = ()
) -> JoinedScores:
    """Join a results folder with a label table.

    Args:
        results: as `medres score` leaves it, with `keys.parquet`.
        labels_path: CSV or Parquet with 0, 1 or nothing in `<finding>` or `label_<finding>`
            (`label` or `y_true` for a single one), and a column that names images or studies:
            image_key, image, sop_instance_uid, series_instance_uid, study_instance_uid, study_key
            or patient_id.
        keys: of the site, for patient ids; None where its secret is not at hand.
        subgroups: columns of the label table that go along, beside sex, age, scanner, site, ...,
            which always do; any other may name a patient.

    Raises:
        ManifestError: no results, no labels of their findings, a label that is none, nothing that
            fits, two rows for one image or study, or no such column.
    """
    findings = _findings(results)
    labels, index = read_table(labels_path), read_table(results / "keys.parquet")
    label_columns = _label_columns(labels, findings)
    _check_labels(labels, label_columns)
    key, column, found = _find(labels, index, keys)
    name = _owner(key)
    of_studies = name == "study_key"
    scores = read_table(results / ("studies.csv" if of_studies else "images.csv"))
    groups = [c for c in FROM_RESULTS if c in scores.columns]
    candidates = _other_columns(labels, label_columns, groups)
    extra = _choose(labels, candidates, subgroups)
    of_study = [] if of_studies else ["study_key"]  # by which a report combines images
    cells = _Cells(label_columns, [*map(column_of, findings)], [*of_study, *groups], extra)
    scored = _by_key(scores, name)
    owners = _label_rows(labels, found, name, _column(labels, FRAME_NAMES))
    patients = {row[name]: row["patient_key"] for row in index.rows}
    pairs = [
        (owner, labels.rows[number], row)
        for (owner, frame), number in owners.items()
        for row in _scores_of(scored, owner, frame)
    ]
    return JoinedScores(
        "studies" if of_studies else "images",
        column,
        (name, "patient_id", *findings, *(f"{f}_score" for f in findings), *cells.named_alike),
        tuple(
            (owner, patients.get(owner) or owner, *cells.join(label, row))
            for owner, label, row in pairs
        ),
        sum(not any(cells.scores_of(row)) for _, _, row in pairs),
        tuple(number for number, named in found.items() if not named),
        len(scores.rows) - sum(bool(row) for _, _, row in pairs),
        tuple(column for column in candidates if column not in extra),
    )


@dataclass(frozen=True)
class _Cells:
    """The columns from which a row's cells come: of the labels, or of the scores."""

    labels: Sequence[str]
    scores: Sequence[str]
    of_scores: Sequence[str]
    of_labels: Sequence[str]

    @property
    def named_alike(self) -> tuple[str, ...]:
        """Columns that keep their names."""
        return (*self.of_scores, *self.of_labels)

    def scores_of(self, row: Row) -> list[str]:
        """The scores of a row; empty cells where it has none."""
        return [row.get(column, "") for column in self.scores]

    def join(self, label: Row, row: Row) -> tuple[str, ...]:
        """Cells of a label row and a row of scores."""
        return (
            *(_text(label[column]) for column in self.labels),
            *self.scores_of(row),
            *(row.get(column, "") for column in self.of_scores),
            *(label[column] for column in self.of_labels),
        )


def _scores_of(scored: Mapping[str, Mapping[str, Row]], owner: str, frame: str) -> Sequence[Row]:
    """The rows of an image or a study, or of one frame; an empty one where nothing was scored."""
    rows = scored.get(owner, {})
    return [rows.get(frame, {})] if frame else [*rows.values()] or [{}]


def _findings(results: Path) -> tuple[str, ...]:
    for name in ("summary.json", "keys.parquet"):
        if not (results / name).is_file():
            raise ManifestError(
                f"{results}: lacks {name}; give a folder that `medres score` has finished writing"
            )
    return tuple(read_summary(results)["findings"])


def _label_columns(labels: Table, findings: Sequence[str]) -> list[str]:
    """The label column of each finding."""
    single = ("label", "y_true") if len(findings) == 1 else ()
    columns = []
    for finding in findings:
        accepted = (finding, f"label_{finding}", *single)
        column = next((name for name in accepted if name in labels.columns), "")
        if not column:
            raise ManifestError(
                f"{labels.path}: no label of the finding {finding!r}; accepted columns are "
                f"{', '.join(accepted)}; the table has {', '.join(labels.columns)}"
            )
        columns.append(column)
    return columns


def _check_labels(labels: Table, columns: Sequence[str]) -> None:
    for number, row in enumerate(labels.rows):
        for column in columns:
            if row[column] and _number(row[column]) not in (0.0, 1.0):
                raise ManifestError(
                    f"{labels.path}: row {row_number(number)}, column {column}: found "
                    f"{row[column]!r}; a label is 0, 1, or empty where it is not known"
                )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _text(cell: str) -> str:
    return str(int(float(cell))) if cell else ""


def _column(labels: Table, names: Iterable[str]) -> str:
    return next((c for name in names for c in labels.columns if plain(c) == name), "")


def _owner(key: str) -> str:
    """The column of the results whose keys a label has."""
    return "study_key" if key in OF_STUDIES else "image_key"


def _find(labels: Table, index: Table, keys: Keys | None) -> tuple[str, str, dict[int, Owners]]:
    """By which key the tables fit: it, its column, and what each label row names."""
    tried = []
    for key, names in KEY_NAMES.items():
        if column := _column(labels, names):
            tried.append(column)
            find = _finder(key, index, keys)
            found = {number: find(row[column]) for number, row in enumerate(labels.rows)}
            if any(found.values()):
                return key, column, found
    if not tried:
        raise ManifestError(
            f"{labels.path}: no column names what a row labels; accepted are "
            f"{', '.join('image' if key == 'path' else key for key in KEY_NAMES)}; the table has "
            f"{', '.join(labels.columns)}"
        )
    secret = "" if keys or tried != ["patient_id"] else "; patient ids need the site's secret"
    raise ManifestError(
        f"{labels.path}: none of its {len(labels.rows)} rows names anything in the results, by "
        f"{', '.join(tried)}{secret}; give labels of the images that were scored"
    )


def _finder(key: str, index: Table, keys: Keys | None) -> Callable[[str], Owners]:
    """From a cell of the label table to the images or studies that it names."""
    if key == "path":
        return _path_finder(index)
    column = "patient_key" if key == "patient_id" else key
    by = _grouped((row[column], row[_owner(key)]) for row in index.rows)
    if key == "patient_id":
        return lambda cell: by.get(keys.of_patient(cell), {}) if cell and keys else {}
    return lambda cell: by.get(cell, {}) if cell else {}


def _path_finder(index: Table) -> Callable[[str], Owners]:
    """By the address relative to the source, else by a file name that only one has."""
    by_name = _grouped((row["image"], row["image_key"]) for row in index.rows)
    by_last = _grouped((posixpath.basename(r["image"]), r["image_key"]) for r in index.rows)

    def find(cell: str) -> Owners:
        name = posixpath.normpath(cell.replace("\\", "/"))
        alone = by_last.get(posixpath.basename(name), {})
        return by_name.get(cell) or by_name.get(name) or (alone if len(alone) == 1 else {})

    return find


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, None]]:
    """The second of each pair by the first, each once: an array's images have one key."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for first, second in pairs:
        groups[first][second] = None
    return dict(groups)


def _label_rows(
    labels: Table, found: Mapping[int, Owners], name: str, frame: str
) -> dict[tuple[str, str], int]:
    """The label row of each key and frame ("" for all frames).

    Raises:
        ManifestError: two rows for one image or study, or a frame that is no number.
    """
    owners: dict[str, dict[str, int]] = defaultdict(dict)
    for number, named in found.items():
        wanted = _frame(labels, number, frame) if frame and name == "image_key" else ""
        for owner in filter(None, named):
            mine = owners[owner]
            anywhere = next(iter(mine.values()), number)
            earlier = mine.get(wanted, mine.get("", number)) if wanted else anywhere
            if earlier != number:
                raise ManifestError(
                    f"{labels.path}: rows {row_number(earlier)} and {row_number(number)} label "
                    f"the same {'image' if name == 'image_key' else 'study'}; keep one"
                )
            mine[wanted] = number
    return {(owner, frame): n for owner, mine in owners.items() for frame, n in mine.items()}


def _frame(labels: Table, number: int, column: str) -> str:
    return str(parse_frame(labels, number, column)) if labels.rows[number][column] else ""


def _by_key(scores: Table, name: str) -> dict[str, dict[str, Row]]:
    """Rows by key and frame; a study has none."""
    by: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in scores.rows:
        by[row[name]][row.get("frame", "")] = row
    return by


def _other_columns(labels: Table, label_columns: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Columns of the label table that may be subgroups: no label, no name, not the results' own."""
    names = {name for accepted in KEY_NAMES.values() for name in accepted}
    taken = {*label_columns, *groups, "split"}
    return [
        column
        for column in labels.columns
        if column not in taken and plain(column) not in {*names, *FRAME_NAMES}
    ]


def _choose(labels: Table, candidates: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Those that are asked for, and those by whose name no patient is told.

    Raises:
        ManifestError: a column that is not there, or that is no subgroup.
    """
    if unknown := [name for name in asked if name not in candidates]:
        raise ManifestError(
            f"{labels.path}: no column {unknown[0]!r} that may be a subgroup; accepted are "
            f"{', '.join(candidates) or 'none'}"
        )
    return [name for name in candidates if name in asked or plain(name) in GROUP_NAMES]
