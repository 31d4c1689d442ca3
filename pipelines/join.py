"""Put a site's own labels beside the scores of a results folder, ready for a report.

    medres score STUDIES --model runs/mine/model --out results
    medres join results labels.csv --out scores.csv
    medres report scores.csv --out report

`labels.csv` holds 0 or 1 in a column `<finding>` or `label_<finding>` (`label` for a single one),
and a column that names what it labels: image_key, image (path relative to the source),
sop_instance_uid, series_instance_uid, study_instance_uid, study_key or patient_id. Sex, age,
scanner, site and the like go along as subgroups, another column where `--subgroup` names it. Needs
`keys.parquet` of the results, so that only their owner can do it; what is written names nobody.
What was labelled and not scored keeps a row without a score.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.shell import exit_status

PROGRAM = "medres join"


@dataclass(frozen=True)
class JoinConfig:
    """What to join.

    Attributes:
        results: a folder that `medres score` has written.
        labels: CSV or Parquet.
        out: table of labels and scores.
        site_secret: file with the secret of the keys, for patient ids.
        subgroup: columns of the label table that go along.
    """

    results: Path
    labels: Path
    out: Path
    site_secret: Path | None = None
    subgroup: tuple[str, ...] = ()


def run(config: JoinConfig) -> None:
    """Join, write, and say what fitted and what did not."""
    from medres.data.pseudonyms import Keys
    from medres.data.table import write_table
    from medres.scoring.join import join_scores
    from medres.scoring.secret import find_secret

    secret = find_secret(config.results, config.site_secret)
    keys = Keys(secret) if secret else None
    joined = join_scores(config.results, config.labels, keys, subgroups=config.subgroup)
    write_table(config.out, joined.columns, joined.rows)
    print("\n".join([*joined.lines(config.labels), f"scores  {config.out}"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of medres score")
    parser.add_argument("labels", type=Path, metavar="LABELS", help="CSV or Parquet")
    parser.add_argument("--out", type=Path, required=True, help="table of labels and scores")
    parser.add_argument("--site-secret", type=Path, help="of the keys, to join by patient id")
    parser.add_argument(
        "--subgroup", nargs="+", default=(), metavar="COLUMN", help="of the labels, to go along"
    )
    found = parser.parse_args(argv)
    config = JoinConfig(**{**vars(found), "subgroup": tuple(found.subgroup)})
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())
