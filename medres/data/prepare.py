"""From a folder of images and a label table to a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from medres.data.image_index import Follow, ImageIndex, index_images
from medres.data.label_join import (
    LabelColumns,
    LabelJoin,
    LabelledImage,
    join_labels,
    plain,
    recognize_columns,
)
from medres.data.labels import UNCERTAIN, infer_schema, parse_labels, parse_uncertain
from medres.data.manifest import (
    RESERVED,
    Manifest,
    ManifestRow,
    parse_split,
    read_manifest,
    relative_address,
    write_manifest,
)
from medres.data.pseudonyms import Pseudonyms
from medres.data.rejected import (
    LeftOutFile,
    LeftOutReason,
    RejectedFile,
    rejected_path,
    write_rejected,
)
from medres.data.series import SeriesListing, list_series
from medres.data.table import Table, read_table, row_number
from medres.errors import ManifestError
from medres.imaging.empty_slices import EmptySlices, select_frames
from medres.imaging.read import count_frames

# Columns of a label table that say who the patient is, without case and punctuation.
IDENTIFYING = frozenset(
    (
        *("patientid", "otherpatientids", "mrn", "patientname", "accessionnumber"),
        *("patientbirthdate", "birthdate", "dateofbirth", "dob"),
        *("studyinstanceuid", "seriesinstanceuid", "sopinstanceuid"),
    )
)


@dataclass(frozen=True)
class PrepareOptions:
    """How a manifest is made.

    Args:
        findings: label columns of the table; empty takes `label`, else every `label_*`.
        positive: of a label column with two words, the one that is the finding.
        patient_column: of the table; "" takes `patient_id`, else the DICOM header's.
        frames: of files with several that the table labels as one.
        empty_slices: drop leaves out the slices of such files whose pixels are all equal; their
            pixels are read for it.
        localizers: drop leaves out the overview images of CT and MR series that are labelled as a
            whole; one that the table names is kept.
        uncertain: cell of the table that stands for an uncertain label; "" accepts none.
        pseudonyms: in place of patient ids and study UIDs; None keeps these as they are.
    """

    findings: Sequence[str] = ()
    positive: str | None = None
    patient_column: str = ""
    frames: Literal["all", "first"] = "all"
    empty_slices: EmptySlices = "keep"
    localizers: Literal["drop", "keep"] = "drop"
    uncertain: str = ""
    pseudonyms: Pseudonyms | None = field(default_factory=Pseudonyms)


@dataclass(frozen=True)
class Preparation:
    """What was made of a folder.

    Args:
        manifest: as `read_manifest` reads it from the file.
        key: column that the labels were joined by.
        rejected: files that are no images, each with its reason.
        unlabelled: images without a label row, relative to the folder; left out.
        rows_without_image: numbers of label rows whose image is not in the folder.
        notes: what else a person should know.
    """

    manifest: Manifest
    key: str
    rejected: tuple[RejectedFile, ...]
    unlabelled: tuple[str, ...]
    rows_without_image: tuple[int, ...]
    notes: tuple[str, ...]


def prepare_manifest(
    folder: str | Path,
    labels: str | Path | None,
    *,
    out: str | Path,
    options: PrepareOptions | None = None,
    follow: Follow = lambda files: files,
) -> Preparation:
    """Join images and labels, and write the manifest, whole or not at all.

    Args:
        folder: with images, or one `.npz` in MedMNIST's layout.
        labels: a CSV or Parquet table; None where the `.npz` brings its own.
        out: the manifest, CSV or by suffix Parquet; `<out>.rejected.jsonl` beside it lists the
            files that are not in it, if there are any: those that are no images, and those
            without a label, of an overview or of empty slices alone.
        options: see `PrepareOptions`.
        follow: wraps the files, for a progress bar.

    Raises:
        ManifestError: an empty folder, no image, no label for any image, an unknown column, or a
            label that is none.
    """
    out, options = Path(out), options or PrepareOptions()
    table = None if labels is None else read_table(labels)
    own_files = [out, rejected_path(out), *([table.path] if table else [])]
    index = index_images(Path(folder), leave_out=own_files, follow=follow)
    table = table or index.labels
    if table is None:
        raise ManifestError(
            f"{folder}: the images bring no labels; give a table of them, with --labels TABLE.csv"
        )
    columns = recognize_columns(table, options.patient_column)
    join = join_labels(index, table, columns)
    series = list_series(index)
    join, localizers, series_notes = _arrange(join, series, options)
    made, notes = _build(index, table, columns, join, series, out, options)
    notes = [*series_notes, *notes]
    unlabelled = {_file(name) for name in join.unlabelled}
    left_out = _left_out(index, made, unlabelled, localizers)
    write_rejected(out, [*index.rejected, *left_out])
    write_manifest(made, out)
    # What a training will see.
    manifest = read_manifest(out, uncertain=UNCERTAIN if options.uncertain else "")
    return Preparation(
        manifest=manifest,
        key=join.key,
        rejected=index.rejected,
        unlabelled=join.unlabelled,
        rows_without_image=tuple(row_number(row) for row in join.rows_without_image),
        notes=(*notes, *manifest.notes),
    )


def _build(
    index: ImageIndex,
    table: Table,
    columns: LabelColumns,
    join: LabelJoin,
    series: SeriesListing,
    out: Path,
    options: PrepareOptions,
) -> tuple[Manifest, list[str]]:
    """The manifest, and what to say about the identities in it."""
    identifying = {c for c in table.columns if plain(c) in IDENTIFYING}
    reserved = {*RESERVED, *columns.all, *(identifying if options.pseudonyms else ())}
    used = sorted({item.row for item in join.labelled})
    schema = infer_schema(
        table,
        sorted(reserved),
        options.findings,
        options.positive,
        used,
        uncertain=options.uncertain,
    )
    groups = [c for c in table.columns if c not in reserved and c not in schema.columns]
    rows: list[ManifestRow] = []
    for item in join.labelled:
        cells = table.rows[item.row]
        address = relative_address(index.folder / item.image.name, out.parent)
        row = ManifestRow(
            image=f"{address}::{item.member}" if item.member else address,
            frame=0,
            patient_id=_patient_id(item, cells[columns.patient] if columns.patient else ""),
            study_instance_uid=item.image.record.study_instance_uid,
            split=parse_split(table, item.row, columns.split or "split"),
            labels=parse_labels(table, schema, item.row),
            groups={column: cells[column] for column in groups},
            uncertain=parse_uncertain(table, schema, item.row),
        )
        frames = series.in_order(item.image.name, _frames(index, table, item, options))
        rows += [replace(row, frame=frame) for frame in frames]
    notes = []
    left_out = sorted(identifying - columns.all) if options.pseudonyms else []
    if left_out:
        notes.append(f"Columns that identify the patient were left out: {', '.join(left_out)}.")
    rows, ids_given, identity_notes = _settle_identities(rows, options.pseudonyms)
    return Manifest(out.parent, tuple(rows), schema, ids_given), [*notes, *identity_notes]


def _arrange(
    join: LabelJoin, series: SeriesListing, options: PrepareOptions
) -> tuple[LabelJoin, set[str], list[str]]:
    """Slices in the order in which they lie in the patient; localizers left out unless named.

    Returns:
        The join, files of localizers that were left out, and notes.
    """
    first = {item.image.name: at for at, item in reversed([*enumerate(join.labelled)])}
    starts: dict[int, int] = {}
    for item in join.labelled:
        if place := series.places.get((item.image.name, item.frame or 0)):
            starts.setdefault(place.series, first[item.image.name])

    def order(item: LabelledImage) -> tuple[int, int, int]:
        place = series.places.get((item.image.name, item.frame or 0))
        return (
            (starts[place.series], place.stack, place.slice)
            if place
            else (first[item.image.name], 0, 0)
        )

    labelled = sorted(join.labelled, key=order)
    notes, localizers = [*series.notes], set[str]()
    if not join.names_images and options.localizers == "drop":
        kept = [i for i in labelled if not _is_localizer(series, i)]
        if kept and len(kept) < len(labelled):
            notes.append(f"{len(labelled) - len(kept)} localizer images were left out.")
            localizers = {_file(i.image.name) for i in labelled if _is_localizer(series, i)}
            labelled = kept
    return replace(join, labelled=tuple(labelled)), localizers, notes


def _left_out(
    index: ImageIndex, made: Manifest, unlabelled: set[str], localizers: set[str]
) -> list[LeftOutFile]:
    """Files with images, none of which is in the manifest, and why."""
    listed = {_file(row.image) for row in made.rows}
    found = dict.fromkeys(_file(image.name) for image in index.images)
    missing = [f for f in found if relative_address(index.folder / f, made.root) not in listed]
    reasons = (
        LeftOutReason.NO_LABEL
        if file in unlabelled
        else LeftOutReason.LOCALIZER
        if file in localizers
        else LeftOutReason.EMPTY_SLICES
        for file in missing
    )
    return [LeftOutFile(file, reason) for file, reason in zip(missing, reasons, strict=True)]


def _file(address: str) -> str:
    return address.partition("::")[0]


def _is_localizer(series: SeriesListing, item: LabelledImage) -> bool:
    place = series.places.get((item.image.name, item.frame or 0))
    return place is not None and place.is_localizer


def _patient_id(item: LabelledImage, cell: str) -> str:
    """The table's, else the header's."""
    return cell or item.image.record.patient_id


def _frames(
    index: ImageIndex, table: Table, item: LabelledImage, options: PrepareOptions
) -> Sequence[int]:
    """The frames that a label row stands for."""
    count = item.image.record.number_of_frames
    address = f"{index.folder / item.image.name}" + (f"::{item.member}" if item.member else "")
    if item.member:
        count = count_frames(address)
    if item.frame is None:
        frames = range(count if options.frames == "all" else 1)
        if count == 1 or options.empty_slices == "keep":
            return frames
        kept = select_frames(address, empty_slices=options.empty_slices)
        return [frame for frame in kept if frame in frames]
    if item.frame >= count:
        raise ManifestError(
            f"{table.path}: row {row_number(item.row)} labels frame {item.frame} of "
            f"{item.image.name}, which has {count}, counted from 0"
        )
    return [item.frame]


def _settle_identities(
    rows: Sequence[ManifestRow], pseudonyms: Pseudonyms | None
) -> tuple[list[ManifestRow], bool, list[str]]:
    """Fill empty patient ids from the study, and put stand-ins for both.

    Returns:
        Rows; whether patients are known; notes.
    """
    notes = []
    without = sum(not row.patient_id for row in rows)
    ids_given = without < len(rows)
    if ids_given and without:
        unknown = [row.image for row in rows if not (row.patient_id or row.study_instance_uid)]
        if unknown:
            raise ManifestError(
                f"{len(unknown)} of {len(rows)} images have neither patient id nor study, while "
                f"others have: {', '.join(unknown[:3])}{', ...' if unknown[3:] else ''}; add a "
                "column patient_id to the label table, or take them out of it"
            )
        notes.append(
            f"{without} of {len(rows)} images have no patient id: each of their studies counts as "
            "a patient."
        )
    settled = []
    for row in rows:
        study = row.study_instance_uid
        patient = (row.patient_id or study) if ids_given else ""
        if pseudonyms:
            patient = pseudonyms.patient(patient) if patient else ""
            study = pseudonyms.study(study) if study else ""
        settled.append(replace(row, patient_id=patient, study_instance_uid=study))
    if pseudonyms and (ids_given or any(row.study_instance_uid for row in rows)):
        notes.append(pseudonyms.note)
    return settled, ids_given, notes
