"""Put the results of all shards of one archive into one folder.

    medres score STUDIES --model runs/mine/model --site-secret s --out r0 --num-shards 2 --shard 0
    medres score STUDIES --model runs/mine/model --site-secret s --out r1 --num-shards 2 --shard 1
    medres gather r0 r1 --out results

Leaves in `results` the tables, rejects, keys, summary and page that one run over the archive would
have left, for `medres join`, `drift` and `serve`: whole, or not at all. Shards that are missing,
given twice, unfinished or of another model, rule, secret or archive are refused. The shards' own
folders stay as they are: a run goes on in them, never in `results`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.shell import exit_status

PROGRAM = "medres gather"


@dataclass(frozen=True)
class GatherConfig:
    """What to gather.

    Attributes:
        shards: folders that `medres score --num-shards N --shard K` has written, one for each K.
        out: folder of the results.
    """

    shards: tuple[Path, ...]
    out: Path


def run(config: GatherConfig) -> None:
    """Gather, and say what there is."""
    from medres.files import read_json
    from medres.reports.score_page import write_score_page
    from medres.scoring.gather import gathered

    with gathered(config.shards, config.out) as folder:
        write_score_page(folder)
    summary = read_json(config.out / "summary.json")
    print(
        f"{len(config.shards)} shards gathered: {summary['images_scored']} images of "
        f"{summary['studies_scored']} studies scored, {summary['rejected']} rejected, "
        f"{summary['not_chosen']} not chosen\nresults  {config.out}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shards", type=Path, nargs="+", metavar="RESULTS", help="of each shard")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    found = parser.parse_args(argv)
    config = GatherConfig(tuple(found.shards), found.out)
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())
