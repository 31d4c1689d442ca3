"""The results of shards put into one folder, as one run over the archive would have written it.

Every table of a shard is in the order of its keys, so that they are merged row by row: memory holds
some hundred rows of each, however many there are.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from medres.errors import ResultsError
from medres.files import write_json, written_whole
from medres.scoring.added_summary import add_summaries
from medres.scoring.journal import no_writer
from medres.scoring.run import check_complete
from medres.scoring.shards import SUMMARY, ShardResults, read_shards
from medres.scoring.tables import KEY_COLUMNS, write_lines, write_parquet, write_table

ROWS_A_SHARD = 512  # held at a time
KEYS: Mapping[str, tuple[str, str]] = {
    "images": ("image_key", "frame"),
    "studies": ("study_key", ""),
    "keys": ("image_key", "study_key"),
    "rejected": ("image_key", "frame"),
    "not_chosen": ("image_key", "frame"),
}
"""What the rows of each table are ordered by, and differ in."""
COUNTED = {
    "images": "images_scored",
    "studies": "studies_scored",
    "rejected": "rejected",
    "not_chosen": "not_chosen",
}
"""Where the summary says how many rows a table has."""
Row = dict[str, Any]
Order = Callable[[Row], tuple[Any, Any]]


@contextmanager
def gathered(folders: Sequence[Path], out: Path) -> Generator[Path, None, None]:
    """Gather shards into a folder that is there once the block has succeeded, or not at all.

    Args:
        folders: of all shards; see `read_shards`. They stay as they are.
        out: of the results; not there yet, or empty.

    Yields:
        The folder with tables and summary, under another name until the block ends.

    Raises:
        ResultsError: shards that do not go together or are being written, tables that do not fit
            their summaries, a study in two shards, or an `out` that holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ResultsError(f"{out}: is there already, and not empty; give another folder")
    shards = read_shards(folders)
    out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for results in shards:
            stack.enter_context(no_writer(results.folder))
        unfinished = stack.enter_context(
            tempfile.TemporaryDirectory(dir=out.parent, prefix=".unfinished-")
        )
        folder = Path(unfinished) / "results"
        folder.mkdir()
        summary = add_summaries([results.summary for results in shards])
        check_complete(summary)
        _gather_tables(shards, folder)
        write_json(folder / SUMMARY, summary)
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)


def _gather_tables(shards: Sequence[ShardResults], folder: Path) -> None:
    for name in ("images", "studies"):
        write_table(folder, name, _columns(shards, name), _merge(shards, name, _parquet_rows))
    with written_whole(folder / "keys.parquet", private=True) as path:
        write_parquet(path, KEY_COLUMNS, _merge(shards, "keys", _key_rows))
    for name in ("rejected", "not_chosen"):
        write_lines(folder / f"{name}.jsonl", _merge(shards, name, _lines))


def _columns(shards: Sequence[ShardResults], name: str) -> dict[str, str]:
    """Names and Arrow types of a table's columns."""
    columns = [_columns_of(results, name) for results in shards]
    for results, found in zip(shards, columns, strict=True):
        if found != columns[0]:
            raise ResultsError(
                f"{results.folder}: other columns in {name}.parquet than {shards[0].folder}; write "
                "all shards with --with-uids, or none"
            )
    return columns[0]


def _columns_of(results: ShardResults, name: str) -> dict[str, str]:
    with _opened(results, name) as file:
        return {field.name: str(field.type) for field in file.schema_arrow}


def _merge(
    shards: Sequence[ShardResults],
    name: str,
    read: Callable[[ShardResults, str], Iterator[Row]],
) -> Iterator[Row]:
    """The rows of all shards in order, each once."""
    order = _order(name)
    rows = [_checked(results, name, order, read(results, name)) for results in shards]
    previous: tuple[Any, Any] | None = None
    for row in heapq.merge(*rows, key=order):
        if previous == order(row):
            what = "study" if name == "studies" else "image"
            raise ResultsError(
                f"{name}: one {what} stands in two shards; the archive has changed in between: "
                "start the command of each shard again, and gather then"
            )
        previous = order(row)
        yield row


def _order(name: str) -> Order:
    key, beside = KEYS[name]

    def place(row: Row) -> tuple[Any, Any]:
        return row[key], row.get(beside, -1)  # a whole file before its frames

    return place


def _checked(results: ShardResults, name: str, order: Order, rows: Iterable[Row]) -> Iterator[Row]:
    """A shard's rows, refused where they are not in order, or more or fewer than it says."""
    previous: tuple[Any, Any] | None = None
    count = 0
    for row in rows:
        if previous is not None and order(row) <= previous:
            raise _damaged(results, name)
        previous, count = order(row), count + 1
        yield row
    if name in COUNTED and count != results.summary[COUNTED[name]]:
        raise _damaged(results, name)


def _damaged(results: ShardResults, name: str) -> ResultsError:
    return ResultsError(
        f"{results.folder}: its {name} are not those of its summary; it was stopped while it wrote "
        "them, or they were changed: start its command again"
    )


def _parquet_rows(results: ShardResults, name: str) -> Iterator[Row]:
    with _opened(results, name) as file:
        for batch in file.iter_batches(batch_size=ROWS_A_SHARD):
            yield from batch.to_pylist()


@contextmanager
def _opened(results: ShardResults, name: str) -> Generator[Any, None, None]:
    """The `ParquetFile` of a table."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(results.folder / f"{name}.parquet") as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(results, name) from error


def _key_rows(results: ShardResults, name: str) -> Iterator[Row]:
    for row in _parquet_rows(results, name):
        uid = row["study_instance_uid"]
        if uid and not results.shard.holds(uid):
            raise ResultsError(
                f"{results.folder}: holds a study of another shard; give each folder as `medres "
                "score` has left it"
            )
        yield row


def _lines(results: ShardResults, name: str) -> Iterator[Row]:
    with (results.folder / f"{name}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError as error:
                raise _damaged(results, name) from error
