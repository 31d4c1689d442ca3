"""Images for a MONAI workflow, as the items that its `Dataset` takes.

A data list is a manifest (CSV or Parquet, see `medres.data.manifest`) or MONAI's own JSON::

    {"training": [{"image": "a.dcm", "label": [1], "patient_id": "p1"}],
     "validation": [{"image": "b.dcm", "label": [0], "patient_id": "p2"}],
     "test": [{"image": "v.nii.gz", "frame": 12, "label": [0], "patient_id": "p3"}]}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medres.data.image_index import list_images
from medres.data.labels import LABEL_PREFIX, LabelSchema
from medres.data.manifest import SPLIT_NAMES, SPLITS, Manifest, build_manifest, read_manifest
from medres.data.table import Table
from medres.errors import ManifestError
from medres.files import read_json

Item = dict[str, Any]
COPIED = ("image", "frame", "patient_id", "study_instance_uid")


def read_datalist(
    path: str | Path,
    split: str,
    labels: LabelSchema | Mapping[str, Any],
    *,
    missing_ok: bool = False,
) -> list[Item]:
    """The labelled images of one split.

    Args:
        path: the data list; relative addresses start from its folder.
        split: train, validation, test, or all: every row, whether or not it names a split.
        labels: what a model's outputs stand for; as JSON too (`LabelSchema.as_json`).
        missing_ok: an empty list where there is no such file, for a config that is only looked at;
            `check_items` refuses the empty list when it runs.

    Returns:
        Items with `image` (an address), `frame`, `label` (F floats, NaN = missing, one-hot for
        multiclass) and, where the list names patients, `patient_id`.

    Raises:
        ManifestError: no such file or split, or an item that cannot be read.
    """
    if split not in (*SPLITS, "all"):
        accepted = ", ".join(SPLITS)
        raise ManifestError(f"split: {split!r} is not accepted; give one of {accepted}, all")
    if missing_ok and not Path(path).is_file():
        return []
    schema = labels if isinstance(labels, LabelSchema) else LabelSchema.from_json(labels)
    manifest = read_labelled(Path(path), schema)
    named = manifest.patient_ids_given
    return [
        {
            "image": manifest.address(row),
            "frame": row.frame,
            "label": list(row.labels),
            **({"patient_id": row.patient_id} if named else {}),
        }
        for row in manifest.rows
        if split in ("all", row.split)
    ]


def read_labelled(path: Path, schema: LabelSchema) -> Manifest:
    """A data list of either form as a manifest; see `read_datalist`.

    Raises:
        ManifestError: no such file, or an item that cannot be read.
    """
    if path.suffix.lower() != ".json":
        return read_manifest(path, schema=schema)
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; give a manifest or a .json data list")
    table = _as_table(path, schema)
    columns = tuple(f"{LABEL_PREFIX}{name}" for name in schema.findings)
    columns = ("label",) if schema.kind == "multiclass" else columns
    return build_manifest(table, replace(schema, columns=columns, values=()), path.parent)


def check_items(items: Sequence[Any], path: str | Path) -> None:
    """Refuse to run on nothing: MONAI would only warn.

    Raises:
        ManifestError: no items.
    """
    if not items:
        raise ManifestError(
            f"{path}: no such data, or no image of this split in it; give --datalist_file or "
            "--dataset_dir (docs/bundle.md says what they hold)"
        )


def find_images(folder: str | Path) -> list[Item]:
    """Every image under a folder, told by content, frame by frame; none where there is no folder.

    Files that are no image to medres are left out; `medres score` lists them with the reason.

    Raises:
        ManifestError: an empty folder.
    """
    if not Path(folder).is_dir():
        return []
    index = list_images(Path(folder))
    return [
        {"image": str(Path(folder) / image.name), "frame": frame}
        for image in index.images
        for frame in range(image.record.number_of_frames)
    ]


def as_items(images: Iterable[Any]) -> list[Item]:
    """Items of addresses and items, mixed: a command line gives the former."""
    return [dict(i) if isinstance(i, Mapping) else {"image": str(i), "frame": 0} for i in images]


def _as_table(path: Path, schema: LabelSchema) -> Table:
    try:
        lists = read_json(path)
    except ValueError as error:
        raise ManifestError(f"{path}: not JSON; give a data list or a manifest") from error
    named = {key: SPLIT_NAMES.get(key.lower()) for key in lists} if isinstance(lists, dict) else {}
    rows = []
    for key, split in named.items():
        if split is None:
            continue
        entries = lists[key]
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise ManifestError(f'{path}: {key} is no list of {{"image": ..., "label": ...}}')
        for place, entry in enumerate(entries):
            cells = {name: str(entry[name]) for name in COPIED if entry.get(name) is not None}
            labels = _label_cells(entry.get("label"), schema, f"{path}: {key}[{place}]")
            rows.append(dict.fromkeys(COPIED, "") | cells | labels | {"split": split})
    if not any(named.values()):
        raise ManifestError(f"{path}: holds no list named training, validation or test")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(path, columns, tuple(rows))


def _label_cells(label: Any, schema: LabelSchema, where: str) -> dict[str, str]:
    """The label of an item, whichever way it is written, as cells of a table."""
    findings = schema.findings
    if isinstance(label, Mapping) and label.keys() <= {*findings}:
        label = [label.get(name) for name in findings]
    if schema.kind == "multiclass":
        return {"label": _class_name(label, findings, where)}
    values = label if isinstance(label, list) else [label]
    if len(values) != len(findings) or any(not _is_label(value) for value in values):
        raise ManifestError(
            f"{where}: label {label!r} does not fit; give {len(findings)} of 0, 1 or null, for "
            f"{', '.join(findings)}"
        )
    return {f"{LABEL_PREFIX}{n}": _cell(v) for n, v in zip(findings, values, strict=True)}


def _class_name(label: Any, findings: Sequence[str], where: str) -> str:
    if label is None or label == [None] * len(findings):
        return ""
    if isinstance(label, list) and (label.count(1), label.count(0)) == (1, len(findings) - 1):
        label = label.index(1)
    if str(label) in findings:
        return str(label)
    if isinstance(label, int) and 0 <= label < len(findings):
        return findings[label]
    raise ManifestError(
        f"{where}: label {label!r} is no class; give one of {', '.join(findings)}, its place from "
        "0, or a list with a single 1"
    )


def _is_label(value: Any) -> bool:
    return value is None or (
        isinstance(value, int | float) and _cell(value) in ("", "0", "1", "-1")
    )


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else str(int(value))
