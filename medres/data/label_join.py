"""Which row of a label table belongs to which image.

The table names images by one key: a path, or, for DICOM, a SOP Instance UID, Series Instance UID,
Study Instance UID or patient id of the header. The row of a series, study or patient labels all of
its images.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medres.data.image_index import ImageFile, ImageIndex
from medres.data.manifest import parse_frame
from medres.data.table import Table, format_rows, row_number
from medres.errors import ManifestError

# Keys in order of preference; columns are recognised without regard to case and punctuation.
PATH_NAMES = ("image", "file", "path", "filename", "filepath", "imagepath")
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "path": PATH_NAMES,
    "sop_instance_uid": ("sopinstanceuid",),
    "series_instance_uid": ("seriesinstanceuid",),
    "study_instance_uid": ("studyinstanceuid",),
    "patient_id": ("patientid",),
}
FRAME_NAMES = ("frame", "slice")
SPLIT_NAME = "split"
ACCEPTED = (
    "image (or file, path: relative to the folder), sop_instance_uid, series_instance_uid, "
    "study_instance_uid, patient_id"
)
SHOWN = 5


@dataclass(frozen=True)
class LabelledImage:
    """An image file with its row of the label table.

    Args:
        image: the file.
        member: plane of a volume that the table asks for; "" where it asks for none.
        frame: that the row labels; None where it labels all of the file.
        row: index in the label table.
    """

    image: ImageFile
    member: str
    frame: int | None
    row: int


@dataclass(frozen=True)
class LabelJoin:
    """Images and label rows, put together.

    Args:
        key: that they were joined by.
        labelled: in the images' order.
        unlabelled: names of images without a row.
        rows_without_image: indices of label rows whose image is not there.
        names_images: whether a row labels one image, not all of a series, study or patient.
    """

    key: str
    labelled: tuple[LabelledImage, ...]
    unlabelled: tuple[str, ...]
    rows_without_image: tuple[int, ...]
    names_images: bool = True


@dataclass(frozen=True)
class LabelColumns:
    """What the columns of a label table are, other than labels and groups.

    Args:
        keys: column of each key that the table has, in order of preference.
        patient: column of the patient id, "" for none.
        frame: column of the frame or slice, "" for none.
        split: column of the split, "" for none.
    """

    keys: Mapping[str, str]
    patient: str
    frame: str
    split: str

    @property
    def all(self) -> frozenset[str]:
        """Their names."""
        return frozenset({*self.keys.values(), self.patient, self.frame, self.split} - {""})


def plain(column: str) -> str:
    """A column's name without case and punctuation: `PatientID` and `patient_id` are one."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


def recognize_columns(table: Table, patient_column: str = "") -> LabelColumns:
    """Find the key, patient, frame and split columns of a label table.

    Args:
        table: with labels.
        patient_column: its column of patient ids; "" takes `patient_id`, where there is one.

    Raises:
        ManifestError: no such patient column, or no key at all.
    """

    def column_of(names: Sequence[str]) -> str:
        return next((c for name in names for c in table.columns if plain(c) == name), "")

    keys = {key: column for key, names in KEYS.items() if (column := column_of(names))}
    if patient_column:
        if patient_column not in table.columns:
            raise ManifestError(
                f"{table.path}: no patient column {patient_column!r}; the columns are "
                f"{', '.join(table.columns)}"
            )
        keys["patient_id"] = patient_column
    if not keys:
        raise ManifestError(
            f"{table.path}: no column says which image a row labels; accepted are {ACCEPTED}. The "
            f"columns are {', '.join(table.columns)}"
        )
    patient = keys.get("patient_id", "")
    _check_patients(table, patient)
    return LabelColumns(keys, patient, column_of(FRAME_NAMES), column_of((SPLIT_NAME,)))


def _check_patients(table: Table, patient: str) -> None:
    empty = [i for i, row in enumerate(table.rows) if patient and not row[patient]]
    if empty and len(empty) < len(table.rows):
        raise ManifestError(
            f"{table.path}: no {patient} in {format_rows(empty)}, while other rows have one; fill "
            "them (any word, equal for images of one patient) or delete the column"
        )


def join_labels(index: ImageIndex, table: Table, columns: LabelColumns) -> LabelJoin:
    """Join by the first key that fits any image.

    Raises:
        ManifestError: no key fits, two rows label one image, or a frame that is no number.
    """
    for key, column in columns.keys.items():
        find = _by_path(index, table) if key == "path" else _by_header(index.images, key)
        found = {row: find(cells[column]) for row, cells in enumerate(table.rows)}
        if any(found.values()):
            break
    else:
        raise _nothing_fits(index, table, columns)
    labelled = [
        LabelledImage(image, member, _frame(table, columns, row), row)
        for row, images in found.items()
        for image, member in images
    ]
    _check_once(table, labelled)
    order = {image.name: place for place, image in enumerate(index.images)}
    labelled.sort(key=lambda item: (order[item.image.name], item.member, item.frame or 0))
    names = {item.image.name for item in labelled}
    return LabelJoin(
        key=column,
        labelled=tuple(labelled),
        unlabelled=tuple(image.name for image in index.images if image.name not in names),
        rows_without_image=tuple(row for row, images in found.items() if not images),
        names_images=key in ("path", "sop_instance_uid"),
    )


Find = Callable[[str], list[tuple[ImageFile, str]]]


def _by_header(images: Sequence[ImageFile], key: str) -> Find:
    by_key: dict[str, list[tuple[ImageFile, str]]] = defaultdict(list)
    for image in images:
        by_key[getattr(image.record, key)].append((image, ""))
    return lambda cell: by_key.get(cell, []) if cell else []


def _by_path(index: ImageIndex, table: Table) -> Find:
    """By path relative to the folder, else relative to the table's, else by a file name of its own.

    A volume may be named with a plane: `v.nii.gz::coronal`.
    """
    by_name = {image.name: image for image in index.images}
    by_last: dict[str, list[ImageFile]] = defaultdict(list)
    for image in index.images:
        by_last[posixpath.basename(image.name)].append(image)

    def image_at(path: str) -> ImageFile | None:
        seen_from_folder = os.path.relpath(table.path.parent / path, index.folder)
        image = by_name.get(posixpath.normpath(path)) or by_name.get(
            Path(seen_from_folder).as_posix()
        )
        alone = by_last[posixpath.basename(path)]
        return image or (alone[0] if len(alone) == 1 else None)

    def find(cell: str) -> list[tuple[ImageFile, str]]:
        cell = cell.replace("\\", "/")
        if not cell:
            return []
        if image := image_at(cell):
            return [(image, "")]
        path, _, member = cell.rpartition("::")
        volume = image_at(path) if path else None
        return [(volume, member)] if volume and volume.record.format == "nifti" else []

    return find


def _frame(table: Table, columns: LabelColumns, row: int) -> int | None:
    if not columns.frame or not table.rows[row][columns.frame]:
        return None
    return parse_frame(table, row, columns.frame)


def _check_once(table: Table, labelled: Sequence[LabelledImage]) -> None:
    """One row an image and frame; a row for the whole file excludes rows for its frames."""
    whole: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str, int | None], int] = {}
    for item in sorted(labelled, key=lambda item: (item.frame is not None, item.row)):
        address = (item.image.name, item.member)
        if item.frame is None:
            other = whole.setdefault(address, item.row)
        else:
            other = whole.get(address, first.setdefault((*address, item.frame), item.row))
        if other != item.row:
            numbers = " and ".join(str(row_number(row)) for row in sorted((other, item.row)))
            raise ManifestError(
                f"{table.path}: rows {numbers} label the same image, {item.image.name}; keep one"
            )


def _nothing_fits(index: ImageIndex, table: Table, columns: LabelColumns) -> ManifestError:
    tried = ", ".join(columns.keys.values())
    examples = ""
    if column := columns.keys.get("path", ""):
        cell = next((row[column] for row in table.rows if row[column]), "")
        examples = f" The table says {cell!r}, the folder has {index.images[0].name!r}."
    return ManifestError(
        f"{table.path}: none of its {len(table.rows)} rows fits any of the {len(index.images)} "
        f"images under {index.folder}, by {tried}.{examples} Accepted keys are {ACCEPTED}"
    )
