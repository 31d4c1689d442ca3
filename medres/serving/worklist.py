"""A scored archive as a worklist: sorted and paged here, so that 100,000 studies open at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from medres.errors import ResultsError
from medres.serving.folders import STUDIES

PAGE_ROWS = 50
KEY, FLAG, REASON = "study_key", "guard_flag", "guard_reason"
FACTS = ("images", "modality", "manufacturer")
GUARD = ("guard_distance", FLAG, REASON)
SIDES = ("_right", "_left")


@dataclass(frozen=True)
class Asked:
    """Which part of a worklist is wanted.

    Attributes:
        sort: a column; "" for the first finding.
        descending: the highest first.
        page: from 1; beyond the last, the last.
        flagged: all, only those that the guard refuses, or only the others.
    """

    sort: str = ""
    descending: bool = True
    page: int = 1
    flagged: str = "all"


@dataclass(frozen=True)
class Worklist:
    """One page of a worklist.

    Attributes:
        findings: columns with a probability.
        columns: all that can be sorted by.
        sort: that it is sorted by.
        rows: a mapping by column each.
        page: from 1.
        pages: how many there are.
        total: studies in all pages.
        guarded: whether the archive was guarded.
    """

    findings: tuple[str, ...]
    columns: tuple[str, ...]
    sort: str
    rows: tuple[Mapping[str, Any], ...]
    page: int
    pages: int
    total: int
    guarded: bool


def read_worklist(folder: Path, asked: Asked) -> Worklist:
    """Read one page.

    Args:
        folder: of the results.
        asked: which page, in which order. An unknown column counts as none.

    Raises:
        ResultsError: the table cannot be read.
    """
    import pyarrow.compute as pc

    table = read_studies(folder)
    findings = finding_columns(table.column_names, table.schema)
    columns = (KEY, *findings, *(c for c in (*FACTS, FLAG) if c in table.column_names))
    guarded = FLAG in table.column_names and table.column(FLAG).null_count < len(table)
    if guarded and asked.flagged in ("only", "without"):
        flag = pc.fill_null(table.column(FLAG), False)
        table = table.filter(flag if asked.flagged == "only" else pc.invert(flag))
    sort = asked.sort if asked.sort in columns else (findings or (KEY,))[0]
    order = "descending" if asked.descending else "ascending"
    # The key decides ties, so that pages never overlap.
    places = pc.sort_indices(table, sort_keys=[(sort, order), (KEY, "ascending")])
    pages = max(1, math.ceil(len(table) / PAGE_ROWS))
    page = min(max(asked.page, 1), pages)
    shown = table.take(places.slice((page - 1) * PAGE_ROWS, PAGE_ROWS)).to_pylist()
    return Worklist(findings, columns, sort, tuple(shown), page, pages, len(table), guarded)


def read_study(folder: Path, key: str) -> tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]:
    """One study and its images by its key; an empty mapping where there is none.

    Raises:
        ResultsError: a table cannot be read.
    """
    import pyarrow.compute as pc

    studies, images = read_studies(folder), _read(folder / "images.parquet")
    found = studies.filter(pc.equal(studies.column(KEY), key)).to_pylist()
    rows = images.filter(pc.equal(images.column(KEY), key)).to_pylist()
    return (found[0] if found else {}), tuple(rows)


def read_studies(folder: Path) -> Any:
    """The table of studies, kept in memory while its file stays as it is.

    Raises:
        ResultsError: the table cannot be read.
    """
    return _read(folder / STUDIES)


def finding_columns(names: Sequence[str], schema: Any) -> tuple[str, ...]:
    """The columns that hold a finding's probability, sides apart."""
    scores = [n for n in names if str(schema.field(n).type) == "double" and n not in GUARD]
    return tuple(
        n for n in scores if not any(n.endswith(s) and n.removesuffix(s) in scores for s in SIDES)
    )


def _read(path: Path) -> Any:
    try:
        stamp = path.stat()
        return _read_table(path, stamp.st_mtime_ns, stamp.st_size)
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ResultsError(
            f"{path.name}: not a table that can be read; give a folder that `medres score` has "
            "finished writing"
        ) from error


@lru_cache(maxsize=8)
def _read_table(path: Path, _changed: int, _size: int) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def read_keys(folder: Path) -> Mapping[str, str]:
    """Addresses by the key of an image; empty where the table is not there.

    Raises:
        ResultsError: it cannot be read.
    """
    path = folder / "keys.parquet"
    if not path.is_file():
        return {}
    table = _read(path)
    keys, addresses = (table.column(name).to_pylist() for name in ("image_key", "image"))
    return dict(zip(keys, addresses, strict=True))
