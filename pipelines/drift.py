"""Compare two scored archives: scores, guard, rejects, scanners.

    medres score LAST_YEAR --model runs/mine/model --out last_year
    medres score THIS_YEAR --model runs/mine/model --out this_year
    medres drift last_year this_year --out drift

Prints a table a subject and leaves `drift.json` and `drift.html`: for each finding Kolmogorov and
Smirnov's test, the population stability index and the share that reaches the threshold; how often
the guard flags, with Newcombe's interval of the difference; what was rejected and why; the mix of
scanners. Both archives must be scored with one model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.shell import exit_status

PROGRAM = "medres drift"


@dataclass(frozen=True)
class DriftConfig:
    """What to compare.

    Attributes:
        first: a folder that `medres score` has written.
        second: another, of the same model.
        out: folder of the comparison.
    """

    first: Path
    second: Path
    out: Path


def run(config: DriftConfig) -> None:
    """Compare, print and write."""
    from medres.files import write_json, write_text
    from medres.reports.drift_page import format_drift, render_drift_page
    from medres.scoring.drift import compare_results, read_results

    drift = compare_results(read_results(config.first), read_results(config.second))
    names = (config.first.resolve().name, config.second.resolve().name)
    if names[0] == names[1]:
        names = (f"{names[0]} (first)", f"{names[1]} (second)")
    write_json(config.out / "drift.json", {**drift, "names": names})
    write_text(config.out / "drift.html", render_drift_page(drift, names))
    print(f"{format_drift(drift, names)}\n\ndrift  {config.out / 'drift.html'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, metavar="RESULTS_A", help="folder of medres score")
    parser.add_argument("second", type=Path, metavar="RESULTS_B", help="another one")
    parser.add_argument("--out", type=Path, default=Path("drift"), help="folder of the comparison")
    config = DriftConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())
