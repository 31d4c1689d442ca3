"""The tables of a results folder; docs/scoring.md describes every column.

They are written row by row, in the order of the keys, whole or not at all. Keys stand in for names
and UIDs; `keys.parquet`, readable by its owner alone, leads back.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from medres.data.pseudonyms import Keys
from medres.files import remove_unfinished, written_whole
from medres.imaging.defined_terms import is_uid
from medres.scoring.combine import SIDES, Combined, Rule, combine_images
from medres.scoring.guarding import GUARD_COLUMNS, is_flagged, worst_verdict
from medres.scoring.index import Index
from medres.scoring.pictures import Row
from medres.scoring.scorer import Outputs

ROWS = 8192  # held at a time
WRITTEN = (
    *("images.parquet", "images.csv", "studies.parquet", "studies.csv", "keys.parquet"),
    *("rejected.jsonl", "not_chosen.jsonl", "summary.json", "summary.html"),
)
"""What a results folder holds in the end, beside the journal, its lock and the secret."""
IMAGE_COLUMNS = {
    "image_key": "string",
    "study_key": "string",
    "series_key": "string",
    "frame": "int32",
    "modality": "string",
    "body_part": "string",
    "view_position": "string",
    "laterality": "string",
    "manufacturer": "string",
    "rows": "int32",
    "columns": "int32",
}
STUDY_COLUMNS = {
    "study_key": "string",
    "images": "int32",
    "modality": "string",
    "manufacturer": "string",
}
UID_COLUMNS = {
    "study_instance_uid": "string",
    "series_instance_uid": "string",
    "sop_instance_uid": "string",
}
KEY_COLUMNS = {
    "image_key": "string",
    "image": "string",
    "study_key": "string",
    "patient_key": "string",
    "content_sha256": "string",
    **UID_COLUMNS,
}
RESERVED = {*IMAGE_COLUMNS, *STUDY_COLUMNS, *GUARD_COLUMNS, *UID_COLUMNS}
SIDE_NAMES = dict(zip(SIDES, ("right", "left"), strict=True))
PREFIX, SUFFIXES = "finding_", ("_positive", "_decision", *(f"_{s}" for s in SIDE_NAMES.values()))


@dataclass(frozen=True)
class Tables:
    """What the tables are made of.

    Args:
        index: with the results.
        record: of the model, for names, thresholds and bands.
        keys: of the site.
        combine: rule from images to studies.
        with_uids: whether raw UIDs stand in the tables too.
        withhold: whether images that the guard has flagged, and their studies, have no scores.
    """

    index: Index
    record: Outputs
    keys: Keys
    combine: Rule = "mean"
    with_uids: bool = False
    withhold: bool = False

    def write(self, out: Path) -> None:
        """Write every table into the folder."""
        uids = UID_COLUMNS if self.with_uids else {}
        images = {**IMAGE_COLUMNS, **uids, **self._score_columns(), **GUARD_COLUMNS}
        write_table(out, "images", images, self._images())
        uids = {"study_instance_uid": "string"} if self.with_uids else {}
        write_table(
            out,
            "studies",
            {**STUDY_COLUMNS, **uids, **self._study_columns(), **GUARD_COLUMNS},
            self._studies(),
        )
        with written_whole(out / "keys.parquet", private=True) as path:
            write_parquet(path, KEY_COLUMNS, self._key_rows())
        write_lines(out / "rejected.jsonl", self._rejected())
        write_lines(out / "not_chosen.jsonl", self._not_chosen())

    def _score_columns(self) -> dict[str, str]:
        return dict.fromkeys(map(column_of, self.record.findings), "float64")

    def _study_columns(self) -> dict[str, str]:
        names = [column_of(name) for name in self.record.findings]
        flags = [f"{column_of(n)}_positive" for n in self.record.findings if n in self._thresholds]
        calls = [f"{column_of(n)}_decision" for n in self.record.findings if n in self.record.bands]
        sides = [f"{name}_{side}" for side in SIDE_NAMES.values() for name in names]
        return {
            **dict.fromkeys(names, "float64"),
            **dict.fromkeys(flags, "bool"),
            **dict.fromkeys(calls, "string"),
            **dict.fromkeys(sides, "float64"),
        }

    @property
    def _thresholds(self) -> Mapping[str, float]:
        return {name: threshold.value for name, threshold in self.record.thresholds.items()}

    def _images(self) -> Iterator[dict[str, Any]]:
        for row in self.index.scored():
            yield {
                "image_key": self.keys.of(row.address),
                "study_key": self.keys.of(row.study),
                "series_key": self.keys.of(row.series_uid) if row.series_uid else "",
                "frame": row.frame,
                **{name: getattr(row.facts, name) for name in list(IMAGE_COLUMNS)[4:]},
                **(_uids(row) if self.with_uids else {}),
                **self._scores(row),
                **worst_verdict([row]),
            }

    def _scores(self, row: Row) -> dict[str, Any]:
        names = self._score_columns()
        if self.withhold and is_flagged([row]):
            return dict.fromkeys(names)
        return dict(zip(names, row.result["p"], strict=True))

    def _studies(self) -> Iterator[dict[str, Any]]:
        for study, group in groupby(self.index.scored("study"), key=lambda row: row.study):
            rows = [*group]
            yield {
                "study_key": self.keys.of(study),
                "images": len(rows),
                "modality": "/".join(sorted({row.facts.modality for row in rows} - {""})),
                "manufacturer": "/".join(sorted({row.facts.manufacturer for row in rows} - {""})),
                **({"study_instance_uid": _uid(study)} if self.with_uids else {}),
                **self._combined(rows),
                **worst_verdict(rows),
            }

    def _combined(self, rows: Sequence[Row]) -> dict[str, Any]:
        if self.withhold and is_flagged(rows):
            return dict.fromkeys(self._study_columns())
        combined = combine_rows(rows, self.combine, self.record.kind)
        values: dict[str, Any] = {}
        for f, name in enumerate(self.record.findings):
            column, p = column_of(name), combined.probabilities[f]
            values[column] = p
            if name in self._thresholds:
                values[f"{column}_positive"] = p >= self._thresholds[name]
            if name in self.record.bands:
                values[f"{column}_decision"] = self.record.bands[name].decision(p)
            for side, word in SIDE_NAMES.items():
                found = combined.sides.get(side)
                values[f"{column}_{word}"] = None if found is None else found[f]
        return values

    def _key_rows(self) -> Iterator[dict[str, Any]]:
        for address, study, series_uid, sop_uid, patient, digest in self.index.addresses():
            yield {
                "image_key": self.keys.of(address),
                "image": address,
                "study_key": self.keys.of(study) if study else "",
                "patient_key": patient,
                "content_sha256": digest,
                "study_instance_uid": _uid(study),
                "series_instance_uid": _uid(series_uid),
                "sop_instance_uid": _uid(sop_uid),
            }

    def _rejected(self) -> Iterator[dict[str, Any]]:
        for address, frame, reason, message in self.index.rejected():
            of_frame = {} if frame is None else {"frame": frame}
            key = self.keys.of(address)
            yield {"image_key": key, **of_frame, "reason": reason, "message": message}

    def _not_chosen(self) -> Iterator[dict[str, Any]]:
        for address, frame, why in self.index.not_chosen():
            of_frame = {} if frame is None else {"frame": frame}
            yield {"image_key": self.keys.of(address), **of_frame, "reason": why}


def remove_leftovers(out: Path) -> None:
    """Remove what a run that was killed while it wrote the tables has left of them."""
    for name in WRITTEN:
        remove_unfinished(out / name)


def column_of(finding: str) -> str:
    """The column of a finding: its name, or `finding_` before one that another column may have.

    `effusion_left` may be a finding beside `effusion`, whose left side's column is called so.
    """
    taken = finding in RESERVED or finding.startswith(PREFIX) or finding.endswith(SUFFIXES)
    return f"{PREFIX}{finding}" if taken else finding


def combine_rows(rows: Sequence[Row], rule: Rule, kind: str) -> Combined:
    """A study of its scored images."""
    return combine_images(
        [tuple(row.result["p"]) for row in rows], [row.facts.laterality for row in rows], rule, kind
    )


def _uids(row: Row) -> dict[str, str]:
    found = (row.study, row.series_uid, row.sop_uid)
    return {name: _uid(uid) for name, uid in zip(UID_COLUMNS, found, strict=True)}


def _uid(text: str) -> str:
    """A UID; "" for what only stands for one."""
    return text if is_uid(text) else ""


def write_table(
    out: Path, name: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write one table as Parquet and as CSV, in one pass over its rows."""
    with ExitStack() as stack:
        parquet = stack.enter_context(written_whole(out / f"{name}.parquet"))
        text = stack.enter_context(written_whole(out / f"{name}.csv"))
        file = stack.enter_context(text.open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)

        def both() -> Iterator[Mapping[str, Any]]:
            for row in rows:
                writer.writerow(_as_text(row[column]) for column in columns)
                yield row

        write_parquet(parquet, columns, both())


def write_parquet(
    path: Path, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows as Parquet, some thousands at a time.

    Args:
        path: of the file.
        columns: names and Arrow types, in order.
        rows: with a value for each column; None for none.
    """
    import pyarrow
    import pyarrow.parquet

    types = [(name, pyarrow.type_for_alias(kind)) for name, kind in columns.items()]
    schema = pyarrow.schema(types)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        held: list[Mapping[str, Any]] = []
        for row in rows:
            held.append(row)
            if len(held) == ROWS:
                writer.write_table(pyarrow.Table.from_pylist(held, schema=schema))
                held = []
        writer.write_table(pyarrow.Table.from_pylist(held, schema=schema))


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return "" if value is None else value
