"""Tables on disk: CSV and Parquet in, rows of text out, and files that are written whole or not.

A row's number is the one that a spreadsheet shows: the header is row 1, the first image row 2.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medres.errors import ManifestError
from medres.files import written_whole

FIRST_ROW = 2
DELIMITERS = (",", ";", "\t")
PARQUET_SUFFIXES = (".parquet", ".pq")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Args:
        path: where it was read, for messages.
        columns: names, in the file's order, without surrounding blanks.
        rows: one mapping a row, a cell for every column; an empty cell is "".
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]


def row_number(index: int) -> int:
    """The spreadsheet's number of the row at a 0-based index."""
    return index + FIRST_ROW


def format_rows(indices: Iterable[int], *, limit: int = 5) -> str:
    """Rows in words, such as `rows 2, 3, 9 and 4 more`, from 0-based indices."""
    numbers = sorted(row_number(index) for index in indices)
    shown = ", ".join(str(number) for number in numbers[:limit])
    more = f" and {len(numbers) - limit} more" if len(numbers) > limit else ""
    return f"{'row' if len(numbers) == 1 else 'rows'} {shown}{more}"


def read_table(path: str | Path) -> Table:
    """Read a CSV (comma, semicolon or tab, by its header) or, by suffix, a Parquet table.

    Numbers of a Parquet table become text as a person writes them (1.0 is `1`, true is `1`);
    null and NaN become the empty cell.

    Raises:
        ManifestError: no such file, not UTF-8, no header, a column without a name or named twice,
            a row with more or fewer cells than the header, no rows, or no Parquet file.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"{path}: no such table; give a CSV or Parquet file")
    if path.suffix.lower() in PARQUET_SUFFIXES:
        columns, cells = _read_parquet(path)
    else:
        columns, cells = _read_csv(path)
    _check_columns(path, columns)
    if not cells:
        raise ManifestError(f"{path}: a header and no rows")
    for index, row in enumerate(cells):
        if len(row) != len(columns):
            raise ManifestError(
                f"{path}: row {row_number(index)} has {len(row)} cells, the header {len(columns)}; "
                "put cells that hold the delimiter in double quotes"
            )
    rows = tuple(dict(zip(columns, row, strict=True)) for row in cells)
    return Table(path, tuple(columns), rows)


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel writes a byte order mark
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: not UTF-8 text; save the table as 'CSV UTF-8', or as Parquet with the suffix "
            ".parquet"
        ) from error
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [[cell.strip() for cell in line] for line in reader]
    except csv.Error as error:
        raise ManifestError(f"{path}: not a CSV table: {error}") from error
    while lines and not any(lines[-1]):
        lines.pop()
    if not lines:
        raise ManifestError(f"{path}: an empty table; give a header and one row an image")
    return lines[0], lines[1:]


def _read_parquet(path: Path) -> tuple[list[str], list[list[str]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        columns = [name.strip() for name in table.column_names]
        texts = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    except (pyarrow.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a Parquet file") from error
    except (ValueError, OverflowError):  # quotes the cell
        raise ManifestError(
            f"{path}: a cell is no text in UTF-8, or a date beyond the calendar; save it again"
        ) from None
    return columns, [list(row) for row in zip(*texts, strict=True)]


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    for index, name in enumerate(columns):
        if not name:
            raise ManifestError(
                f"{path}: column {index + 1} has no name; name it or delete it "
                "(from pandas, write with index=False)"
            )
        if name in columns[:index]:
            raise ManifestError(f"{path}: two columns are named {name!r}; rename one")


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table of text, whole or not at all: Parquet by suffix, otherwise CSV in UTF-8."""
    path = Path(path)
    with written_whole(path) as temporary:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            _write_parquet(temporary, columns, rows)
            return
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    cells = list(rows)
    arrays = [
        pyarrow.array([row[index] for row in cells], pyarrow.string())
        for index in range(len(columns))
    ]
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(columns)), path)
