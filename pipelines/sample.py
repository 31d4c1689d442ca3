"""The sample data, made when a program first asks for it."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path("sample_data")
RADIOGRAPHS = FOLDER / "manifest.csv"
SLICES = FOLDER / "slices.csv"


def make_sample_manifest(manifest: Path) -> None:
    """Write the sample data and its manifest, if this is one of theirs and is not there yet."""
    if manifest not in (RADIOGRAPHS, SLICES) or manifest.exists():
        return
    from medres.data.prepare import PrepareOptions, prepare_manifest
    from medres.phantom.sample import ensure_sample_data

    print("writing the sample data: synthetic radiographs, about a minute", file=sys.stderr)
    sample = ensure_sample_data(FOLDER)
    if manifest == RADIOGRAPHS:
        options = PrepareOptions(findings=("opacity",))
        prepare_manifest(sample.studies, sample.labels, out=manifest, options=options)
    else:
        prepare_manifest(sample.folder, sample.volume_labels, out=manifest)
