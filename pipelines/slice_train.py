"""Train a classifier on slices of CT or MR volumes: NIfTI files with a label a slice.

    python -m pipelines.slice_train                                   # the sample volumes
    medres prepare FOLDER --labels slices.csv --out manifest.csv      # columns image, frame, label
    medres slice-train --data.manifest manifest.csv --out runs/slices

The same programme as `pipelines.xray_train`, with defaults for slices: modality units (HU for CT)
instead of a display, and the image as the unit, since slices of one volume differ in their label.
Intervals come from a bootstrap over patients. An address `volume.nii.gz::coronal` takes another
plane than axial. Without arguments it trains on the sample volumes: about 2 minutes on 2 cores.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines import xray_train
from pipelines.shell import exit_status

PROGRAM = "medres slice-train"
CONFIG = Path(__file__).parent / "configs" / "slices.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print("no arguments: training on the sample volumes (medres slice-train --help says more)")
    if "--config" not in " ".join(arguments):
        arguments = ["--config", str(CONFIG), *arguments]
    return exit_status(PROGRAM, lambda: xray_train.train(arguments, PROGRAM, __doc__ or ""))


if __name__ == "__main__":
    sys.exit(main())
