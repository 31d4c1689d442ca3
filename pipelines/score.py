"""Score images that have no labels: a folder of DICOM, NIfTI or pictures.

    medres score STUDIES --model runs/demo/model --out results

Leaves `images.csv` and `studies.csv` with a probability a finding, `rejected.jsonl` with what could
not be scored and why, and `summary.json`. Files in a transfer syntax that no installed package
decodes are told of before scoring starts. Tables carry keys in place of names, paths and UIDs;
`keys.csv`, readable by its owner alone, leads back. Exit status 3 where anything was rejected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.shell import exit_status, format_missing_decoders

PROGRAM = "medres score"
REJECTED = 3


@dataclass(frozen=True)
class ScoreConfig:
    """What to score, with which model.

    Attributes:
        source: a folder, or one file.
        model: a run's `model` folder.
        out: folder of the results.
        site_secret: file with the secret that keys are made with; by default `out/site_secret`.
        device: where the network computes.
    """

    source: Path
    model: Path
    out: Path
    site_secret: Path | None = None
    device: str = "auto"


def run(config: ScoreConfig) -> int:
    """Score and write; returns the exit status."""
    from medres.bundle.directory import load_model
    from medres.data.image_index import index_images
    from medres.data.pseudonyms import Keys
    from medres.scoring.archive import score_archive
    from medres.scoring.outputs import open_secret, write_scores
    from medres.scoring.predictor import Predictor
    from medres.training.precision import resolve_device
    from pipelines.progress import follow

    model = load_model(config.model)
    record = model.record
    device = resolve_device(config.device)
    predictor = Predictor.of_model(model, device)
    index = index_images(config.source, follow=lambda files: follow(files, "indexing"))
    for line in format_missing_decoders(index.rejected):
        print(f"{PROGRAM}: {line}", file=sys.stderr, flush=True)
    scores = score_archive(predictor, index, follow=lambda files: follow(files, "scoring"))
    keys = Keys(open_secret(config.out, config.site_secret))
    counts = write_scores(config.out, scores, index, record, keys)
    print(
        f"{counts['images_scored']} images of {counts['studies_scored']} studies scored, "
        f"{counts['files_rejected']} of {counts['files']} files rejected\n"
        f"results  {config.out}"
    )
    return REJECTED if counts["files_rejected"] else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="STUDIES", help="a folder, or one file")
    parser.add_argument("--model", type=Path, required=True, help="a run's model folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--site-secret", type=Path, help="file with the secret for the keys")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
    config = ScoreConfig(**vars(parser.parse_args(argv)))
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())
