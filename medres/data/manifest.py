"""The manifest: one row an image, whose it is, in which split, and what is to be found in it.

Reserved columns are `patient_id`, `study_instance_uid`, `image`, `frame` and `split`; only `image`
and one label column are needed. Every other column is a group, for subgroup figures. `image` is an
address relative to the manifest's folder: `a/b.dcm`, `x.npz::train_images`, `v.nii.gz::coronal`.
"""

from __future__ import annotations

import math
import os
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from medres.data.labels import (
    LABEL_COLUMN,
    LABEL_PREFIX,
    UNCERTAIN,
    LabelSchema,
    fit_schema,
    infer_schema,
    nearest_column,
    parse_labels,
    parse_uncertain,
)
from medres.data.table import Table, format_rows, read_table, row_number, write_table
from medres.errors import ManifestError

__all__ = ["LabelSchema", "Manifest", "ManifestRow", "Split", "read_manifest", "write_manifest"]

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
RESERVED = ("patient_id", "study_instance_uid", "image", "frame", "split")
SPLIT_NAMES: Final[Mapping[str, Split]] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SHOWN = 5
MOST_FRAMES = 2**31  # tables of scores have 32 bits for a frame


@dataclass(frozen=True)
class ManifestRow:
    """One image.

    Args:
        image: address relative to the manifest's root, or absolute, with forward slashes.
        frame: 0-based frame, slice or index in the file.
        patient_id: whose; where the table gives none, one for each file (see `Manifest`).
        study_instance_uid: of the study; "" where the table gives none.
        split: None where the table leaves it open.
        labels: (F,) 0, 1 or NaN where missing or uncertain; one-hot for multiclass.
        groups: the table's other columns.
        uncertain: places of the findings whose label is uncertain; see `uncertain_labels`.
    """

    image: str
    frame: int
    patient_id: str
    study_instance_uid: str
    split: Split | None
    labels: tuple[float, ...]
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)
    uncertain: tuple[int, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """Images with their patients, splits and labels.

    Args:
        root: folder that relative addresses start from.
        rows: in the table's order.
        schema: what the labels mean.
        patient_ids_given: where not, each study counts as a patient where the table gives studies,
            else each file, and in an `.npz` each of its images.
    """

    root: Path
    rows: tuple[ManifestRow, ...]
    schema: LabelSchema
    patient_ids_given: bool

    def split(self, name: Split) -> tuple[ManifestRow, ...]:
        """Rows of one split, in the manifest's order."""
        return tuple(row for row in self.rows if row.split == name)

    def address(self, row: ManifestRow) -> str:
        """The row's image as an address that does not depend on the working directory."""
        path, separator, member = row.image.partition("::")
        return f"{self.root / path}{separator}{member}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report has to say about this manifest."""
        if self.patient_ids_given:
            return ()
        unit = "study" if any(row.study_instance_uid for row in self.rows) else "image"
        note = (
            f"The manifest has no patient ids: each {unit} counts as a patient. Where a patient "
            "has several, they may stand in different splits, and the intervals are too narrow."
        )
        return (note,)


def read_manifest(
    path: str | Path,
    *,
    findings: Sequence[str] = (),
    positive: str | None = None,
    schema: LabelSchema | None = None,
    uncertain: str = "",
) -> Manifest:
    """Read a manifest from CSV or Parquet.

    A 0/1 column is binary, several are multilabel, a column of three or more values is multiclass
    with its values as classes, and a column of two words is binary once `positive` is given. An
    empty cell is a missing label.

    Args:
        path: the table; its folder is the root of relative addresses.
        findings: label columns; empty takes `label`, else every `label_*`.
        positive: of two values, the one that is the finding.
        schema: of a model, to read an outside set as the model was taught, instead of the rest.
        uncertain: the cell that stands for an uncertain label; "" accepts none.

    Raises:
        ManifestError: a table that cannot be read (`read_table`), without the column `image`, with
            an unknown label column or a cell that is no label, with a frame, split or patient id
            that is none, or with an image twice.
    """
    table = read_table(path)
    if "image" not in table.columns:
        raise ManifestError(
            f"{table.path}: no column 'image'; {nearest_column('image', table.columns)}. Rename "
            "it, or let `medres prepare` make the manifest"
        )
    if schema is None:
        schema = infer_schema(table, RESERVED, findings, positive, uncertain=uncertain)
    else:
        schema = fit_schema(table, schema)
    return build_manifest(table, schema, table.path.parent)


def build_manifest(table: Table, schema: LabelSchema, root: Path) -> Manifest:
    """A manifest of a table whose addresses are relative to `root`; see `read_manifest`."""
    patient_ids_given = _check_patient_ids(table)
    used = {*RESERVED, *schema.columns}
    group_columns = [column for column in table.columns if column not in used]
    rows = []
    for index, cells in enumerate(table.rows):
        image, frame = _parse_image(table, index), parse_frame(table, index)
        study = cells.get("study_instance_uid", "")
        patient_id = cells.get("patient_id", "") or study or _image_as_patient(image, frame)
        labels = parse_labels(table, schema, index)
        groups = {column: cells[column] for column in group_columns}
        split, uncertain = parse_split(table, index), parse_uncertain(table, schema, index)
        rows.append(ManifestRow(image, frame, patient_id, study, split, labels, groups, uncertain))
    _check_duplicates(table, rows)
    return Manifest(root, tuple(rows), schema, patient_ids_given)


def _check_patient_ids(table: Table) -> bool:
    if "patient_id" not in table.columns:
        return False
    empty = [index for index, row in enumerate(table.rows) if not row["patient_id"]]
    if not empty:
        return True
    if len(empty) == len(table.rows):
        return False
    raise ManifestError(
        f"{table.path}: no patient_id in {format_rows(empty)}, while other rows have one; fill "
        "them (any word, equal for images of one patient) or delete the column"
    )


def _image_as_patient(image: str, frame: int) -> str:
    """Stand-in for a patient: slices of a volume are one patient's, images in an npz are not."""
    path, _, member = image.partition("::")
    return f"{image}#{frame}" if member and path.lower().endswith(".npz") else path


def _parse_image(table: Table, index: int) -> str:
    cell = table.rows[index]["image"].replace("\\", "/")
    if not cell:
        raise ManifestError(
            f"{table.path}: row {row_number(index)} has an empty image; give the file's path, "
            "relative to the manifest's folder"
        )
    path, separator, member = cell.partition("::")
    return f"{posixpath.normpath(path)}{separator}{member}"


def parse_frame(table: Table, index: int, column: str = "frame") -> int:
    """Frame of a row; 0 where the cell is empty or the column is not there.

    Raises:
        ManifestError: not a whole number from 0.
    """
    cell = table.rows[index].get(column, "")
    try:
        frame = float(cell or 0)
    except ValueError:
        frame = math.nan
    if not (0 <= frame < MOST_FRAMES and frame.is_integer()):
        found = "no number" if math.isnan(frame) else cell  # text may be of another column
        raise ManifestError(
            f"{table.path}: row {row_number(index)}, column {column!r}: {found}; accepted are "
            f"whole numbers from 0 and below {MOST_FRAMES}, and the empty cell for 0"
        )
    return int(frame)


def parse_split(table: Table, index: int, column: str = "split") -> Split | None:
    """Split of a row; None where the cell is empty or the column is not there.

    Raises:
        ManifestError: not the name of a split.
    """
    cell = table.rows[index].get(column, "")
    if not cell:
        return None
    if cell.lower() not in SPLIT_NAMES:
        raise ManifestError(
            f"{table.path}: row {row_number(index)}, column {column!r}: {cell!r}; accepted are "
            f"{', '.join(SPLITS)}, and the empty cell to have it assigned"
        )
    return SPLIT_NAMES[cell.lower()]


def _check_duplicates(table: Table, rows: Sequence[ManifestRow]) -> None:
    first: dict[tuple[str, int], int] = {}
    for index, row in enumerate(rows):
        earlier = first.setdefault((row.image, row.frame), index)
        if earlier != index:
            raise ManifestError(
                f"{table.path}: rows {row_number(earlier)} and {row_number(index)} are the same "
                f"image, {row.image} frame {row.frame}; keep one of them"
            )


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest, whole or not at all, so that `read_manifest(path)` needs no options.

    Findings go to `label_<finding>` with 0 and 1 (one named `label` to `label`), uncertain
    labels as -1, classes of a multiclass manifest to `label` by name. Groups that would then read
    as findings are written with `group_` before their name. Relative addresses are rewritten for
    the new folder.
    """
    path = Path(path)
    findings = manifest.schema.findings
    label_columns = [f"{LABEL_PREFIX}{finding}" for finding in findings]
    if manifest.schema.kind == "multiclass" or findings == (LABEL_COLUMN,):
        label_columns = [LABEL_COLUMN]
    groups = list(dict.fromkeys(name for row in manifest.rows for name in row.groups))
    columns = [*_used_columns(manifest), *label_columns, *map(_group_column, groups)]
    moved = manifest.root.resolve() != path.parent.resolve()
    write_table(
        path,
        columns,
        (
            [
                *_used_cells(manifest, row, path.parent if moved else None),
                *_label_cells(manifest.schema, row),
                *(row.groups.get(name, "") for name in groups),
            ]
            for row in manifest.rows
        ),
    )


def _used_columns(manifest: Manifest) -> list[str]:
    patient = ["patient_id"] if manifest.patient_ids_given else []
    study = ["study_instance_uid"] if any(r.study_instance_uid for r in manifest.rows) else []
    split = ["split"] if any(row.split for row in manifest.rows) else []
    return ["image", "frame", *patient, *study, *split]


def _used_cells(manifest: Manifest, row: ManifestRow, folder: Path | None) -> list[str]:
    image = row.image
    if folder is not None:
        path, separator, member = manifest.address(row).partition("::")
        image = f"{relative_address(Path(path), folder)}{separator}{member}"
    cells = {
        "image": image,
        "frame": str(row.frame),
        "patient_id": row.patient_id,
        "study_instance_uid": row.study_instance_uid,
        "split": row.split or "",
    }
    return [cells[column] for column in _used_columns(manifest)]


def relative_address(file: Path, folder: Path) -> str:
    """`file` as seen from `folder`, with forward slashes; absolute where there is no way."""
    file = file.parent.resolve() / file.name
    try:
        return Path(os.path.relpath(file, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return file.as_posix()


def _label_cells(schema: LabelSchema, row: ManifestRow) -> list[str]:
    if schema.kind == "multiclass":
        return ["".join(n for n, y in zip(schema.findings, row.labels, strict=True) if y == 1)]
    return [
        (UNCERTAIN if place in row.uncertain else "") if math.isnan(label) else str(int(label))
        for place, label in enumerate(row.labels)
    ]


def _group_column(name: str) -> str:
    reads_as_finding = name == LABEL_COLUMN or name.startswith(LABEL_PREFIX)
    return f"group_{name}" if reads_as_finding else name


def select_rows(manifest: Manifest, where: Sequence[str]) -> Manifest:
    """Rows whose columns have the given values, each condition as `column=value`.

    Raises:
        ManifestError: a condition without `=`, an unknown column, or no row left.
    """
    rows = list(manifest.rows)
    columns = ["split", *dict.fromkeys(name for row in rows for name in row.groups)]
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals or column not in columns:
            raise ManifestError(
                f"where={condition!r}: expects column=value; {nearest_column(column, columns)}"
            )
        rows = [row for row in rows if _group(row, column) == value]
        if not rows:
            raise ManifestError(f"where={condition!r}: no row is left")
    return replace(manifest, rows=tuple(rows))


def _group(row: ManifestRow, column: str) -> str:
    return (row.split or "") if column == "split" else row.groups.get(column, "")


def check_files(manifest: Manifest) -> None:
    """Refuse a manifest whose image files are not all there.

    Raises:
        ManifestError: with the first few that are missing, and how many.
    """
    exists: dict[str, bool] = {}
    missing: dict[str, int] = {}
    for index, row in enumerate(manifest.rows):
        path = row.image.partition("::")[0]
        if path not in exists:
            exists[path] = (manifest.root / path).is_file()
        if not exists[path]:
            missing.setdefault(path, index)
    if missing:
        shown = [f"{path} (row {row_number(i)})" for path, i in list(missing.items())[:SHOWN]]
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ManifestError(
            f"{len(missing)} of {len(exists)} image files do not exist: {', '.join(shown)}{more}; "
            f"addresses are relative to the manifest's folder, {manifest.root}"
        )


def check_classes(manifest: Manifest) -> None:
    """Refuse a manifest with a finding of which a split holds one class only.

    Raises:
        ManifestError: naming every such split and finding.
    """
    counts = Counter(
        (row.split, finding, label)
        for row in manifest.rows
        for finding, label in zip(manifest.schema.findings, row.labels, strict=True)
    )
    problems = [
        f"{split or 'the manifest'} has no {word} image of {finding!r}"
        for split in dict.fromkeys(row.split for row in manifest.rows)
        for finding in manifest.schema.findings
        for label, word in ((1.0, "positive"), (0.0, "negative"))
        if not counts[split, finding, label]
    ]
    if problems:
        raise ManifestError(
            f"a class is missing: {'; '.join(problems)}. Add images, change the split, or leave "
            "the finding out with `findings`"
        )
