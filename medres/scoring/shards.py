"""Results of shards, read and checked: whether they are all of one archive, and go together.

What they are is told by their `summary.json`, so that folders may be moved, copied and mounted
elsewhere before they are gathered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medres.errors import ResultsError
from medres.scoring.look import Shard
from medres.scoring.summary import read_summary

SUMMARY = "summary.json"
TABLES = ("images.parquet", "studies.parquet", "keys.parquet", "rejected.jsonl", "not_chosen.jsonl")
SAME: Mapping[str, str] = {
    "schema": "version of medres",
    "secret": "secret; give every shard the same --site-secret",
    "model_digest": "model",
    "bundle": "name of the bundle",
    "weights_sha256": "model's weights",
    "findings": "list of findings",
    "thresholds": "set of thresholds",
    "bands": "set of bands",
    "preprocessing_digest": "preprocessing",
    "precision": "--precision",
    "combine": "--combine",
    "image_rule": "rule on headers",
    "guard_digest": "guard",
}
"""What of the summaries has to be equal, in words."""
MOST_NAMED = 8


@dataclass(frozen=True)
class ShardResults:
    """One shard's folder.

    Attributes:
        folder: where it is.
        summary: its `summary.json`.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def shard(self) -> Shard:
        """Which one it is, and of how many."""
        return Shard(self.summary["shard"]["number"], self.summary["shard"]["of"])


def read_shards(folders: Sequence[Path]) -> list[ShardResults]:
    """All shards of one archive, in their order.

    Args:
        folders: as `medres score --num-shards N --shard K` has left them, in any order.

    Raises:
        ResultsError: a folder that is no finished shard, one given twice or missing, or results
            that do not go together.
    """
    shards = [_read_shard(folder) for folder in folders]
    _check_all_there(shards)
    shards.sort(key=lambda results: results.shard.number)
    for other in shards[1:]:
        _check_pair(shards[0], other)
    return shards


def _read_shard(folder: Path) -> ShardResults:
    for name in (SUMMARY, *TABLES):
        if not (folder / name).is_file():
            raise ResultsError(
                f"{folder}: lacks {name}; give a folder that `medres score` has finished writing"
            )
    summary = read_summary(folder)
    if "sources" not in summary:
        raise ResultsError(
            f"{folder}: an older medres has written it; start its command again with this one, "
            "which writes its tables anew and scores nothing again"
        )
    return ShardResults(folder, summary)


def _check_all_there(shards: Sequence[ShardResults]) -> None:
    first = shards[0]
    count = first.shard.count
    if count == 1:
        raise ResultsError(f"{first.folder}: is no shard but a whole run; there is nothing to add")
    by_number: dict[int, ShardResults] = {}
    for results in shards:
        if results.shard.count != count:
            raise ResultsError(
                f"{results.folder}: one of {results.shard.count} shards, {first.folder} one of "
                f"{count}; give the shards of one run"
            )
        other = by_number.setdefault(results.shard.number, results)
        if other is not results:
            raise ResultsError(
                f"{results.folder}: shard {results.shard.number} of {count}, as {other.folder} is; "
                "give each shard once"
            )
    missing = [number for number in range(count) if number not in by_number]
    if missing:
        named = ", ".join(map(str, missing[:MOST_NAMED]))
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        raise ResultsError(
            f"{len(missing)} of {count} shards {'is' if len(missing) == 1 else 'are'} missing: "
            f"{named}{more} (counted from 0); give their folders too"
        )


def _check_pair(first: ShardResults, other: ShardResults) -> None:
    for name, words in SAME.items():
        if first.summary[name] != other.summary[name]:
            raise ResultsError(f"{other.folder}: another {words} than {first.folder}")
    if _guard_mode(first) != _guard_mode(other):
        raise ResultsError(f"{other.folder}: another --guard than {first.folder}")
    seen = [results.summary["sources"] for results in (first, other)]
    unread = [{k: v for k, v in sources.items() if k.startswith("unread")} for sources in seen]
    if seen[0]["digest"] == seen[1]["digest"] and unread[0] != unread[1]:
        raise ResultsError(
            f"{other.folder}: not the same files could be read as in {first.folder}, and what one "
            "shard cannot read may be no other's; see to it that each can, start the command of "
            "every shard again with --retry-rejected, and gather then"
        )
    if seen[0] != seen[1]:
        raise ResultsError(
            f"{other.folder}: other sources than {first.folder} ({seen[1]['files']} files, not "
            f"{seen[0]['files']}), or the archive has changed in between; start the command of "
            "each shard again, which scores what is new alone, and gather then"
        )


def _guard_mode(results: ShardResults) -> str:
    guard = results.summary["guard"]
    return "" if guard is None else str(guard["mode"])
