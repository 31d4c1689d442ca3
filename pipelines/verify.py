"""Check a model: every file's digest, the record, and all that MONAI's own tools ask of a bundle.

    medres verify runs/mine/model
    medres verify runs/mine/model --sha256 0b1f...    # as printed when the model was handed over

MONAI's tools run a bundle's configs as code: they run only where every file is as it was written
and the configs are what this medres writes for the model's record, or with `--trust`. Exit status 1
where anything failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.shell import exit_status
from pipelines.zipped import with_model_folder

if TYPE_CHECKING:
    from medres.bundle.verify import Check

PROGRAM = "medres verify"
FAILED = 1


@dataclass(frozen=True)
class VerifyConfig:
    """Which model, and how far it is trusted.

    Attributes:
        model: a model directory.
        sha256: what the digest of its `digests.json` must begin with; None: not asked.
        trust: run MONAI's tools whatever the configs hold.
    """

    model: Path
    sha256: str | None = None
    trust: bool = False


def run(config: VerifyConfig) -> int:
    """Answer every question, and print the answers as they come; returns the exit status."""
    from medres.bundle.digests import DIGESTS
    from medres.bundle.verify import Check, verify_model
    from medres.files import file_digest

    recorded = config.model / DIGESTS
    digest = file_digest(recorded) if recorded.is_file() else "none"
    checks = []
    if config.sha256 is not None:
        same = digest.startswith(config.sha256.lower()) and len(config.sha256) >= 8
        found = f"expected {config.sha256}, found {digest}"
        checks.append(Check("digest", "passed" if same else "failed", "" if same else found))
        print_check(checks[-1])
    for check in verify_model(config.model, trust=config.trust):
        checks.append(check)
        print_check(check)
    print(f"\nSHA-256 of {DIGESTS}, for your own records: {digest}")
    return FAILED if any(check.outcome == "failed" for check in checks) else 0


def print_check(check: Check) -> None:
    """One line: outcome, name, detail."""
    print(f"{check.outcome:<8} {check.name:<20} {check.detail}".rstrip(), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="its folder, or a zip")
    parser.add_argument("--sha256", metavar="DIGEST", help="of configs/digests.json, or its start")
    parser.add_argument(
        "--trust", action="store_true", help="run the model's configs as code, whoever wrote them"
    )
    config = VerifyConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: with_model_folder(config, run))


if __name__ == "__main__":
    sys.exit(main())
