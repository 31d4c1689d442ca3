"""Train on the sample data and show the result: the first thing to run after installing.

    medres demo                      # about 5 minutes on 2 cores
    medres demo --training.epochs 2  # a quick look; any option of `medres train`

Writes synthetic radiographs to `sample_data/`, prepares their manifest, trains a ResNet-18 from
random weights into `runs/demo/`, and prints the figures and where the report lies.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipelines import xray_train
from pipelines.shell import exit_status

PROGRAM = "medres demo"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--config" not in arguments:
        arguments = ["--config", str(xray_train.SAMPLE_CONFIG), *arguments]
    return exit_status(PROGRAM, lambda: xray_train.train(arguments, PROGRAM, __doc__ or ""))


if __name__ == "__main__":
    sys.exit(main())
