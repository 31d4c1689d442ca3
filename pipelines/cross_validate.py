r"""Train in folds by patient: every image is a test image once, and the folds become one model.

    medres cross-validate --folds 5 --data.manifest manifest.csv --out runs/folds
    medres cross-validate --folds 5 --config pipelines/configs/busi.yaml --data.manifest busi.csv
    medres cross-validate --only 1 2 --data.manifest manifest.csv --out runs/folds    # a part
    medres evaluate runs/folds/model other_hospital.csv --out runs/folds/other_hospital

Every other option is one of `medres train`. In fold k the patients of fold k are tested on, those
of the next one validated on, and all others trained on; a split in the manifest is not looked at.
Without patient ids each image counts as a patient. Patients who share a picture stay together.
With --only the folds that it names are trained, so that several machines can share them; without it
those that are there are taken, the others trained, and all judged together.

Leaves in the folder: `fold-1/` and so on, each a run folder that resumes; `predictions.csv`, each
image scored by the model that has not seen it; `report/` on all of them, with intervals; `folds.md`
and `folds.json`, each fold's own figures; `model/`, the mean of the folds' probabilities, which
`evaluate` and `score` take like any model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medres.config import RunConfig
from medres.config_text import parse_config
from medres.errors import ConfigError
from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.data.manifest import Manifest

PROGRAM = "medres cross-validate"


def run(config: RunConfig, folds: int, only: Sequence[int] = ()) -> Path:
    """Train and judge every fold, then all together; returns the path of the HTML report.

    Raises:
        ConfigError: `only` names none of the folds.
    """
    from medres.data.folds import assign_folds, split_by_fold
    from medres.data.run_manifest import read_run_origin
    from medres.training.training_data import check_and_fit, survey_run_images
    from pipelines import xray_train
    from pipelines.fold_folder import judge_folds
    from pipelines.progress import follow
    from pipelines.sample import make_sample_manifest

    if not set(only) <= set(range(1, folds + 1)):
        raise ConfigError(f"--only: {list(only)} is not accepted; give folds from 1 to {folds}")
    if config.data.manifest is not None:
        make_sample_manifest(config.data.manifest)
    origin = read_run_origin(config)
    manifest, survey = survey_run_images(config, follow=follow)
    fold_of_row = assign_folds(manifest, survey.digests, folds=folds, seed=config.data.split_seed)
    notes = describe_folds(manifest, survey.digests)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    judged = []
    for fold in [number - 1 for number in only] or range(folds):
        print(f"fold {fold + 1} of {folds}", file=sys.stderr, flush=True)
        own = replace(config, out=config.out / f"fold-{fold + 1}")
        split = split_by_fold(manifest, fold_of_row, fold)
        data = check_and_fit(own, split, survey, follow=follow)
        judged.append(xray_train.judge(own, data, xray_train.train_on(own, data)))
    if only:
        return judged[-1].page
    return judge_folds(config, manifest, origin, judged, notes)


def describe_folds(manifest: Manifest, pictures: dict[tuple[str, int], str]) -> list[str]:
    """What a reader has to know about who stands in which fold."""
    from medres.data.folds import count_links

    notes = list(manifest.notes)
    if any(row.split for row in manifest.rows):
        notes.append("The manifest's own split was not looked at: every image is tested on once.")
    if links := count_links(manifest, pictures):
        notes.append(f"{links} pictures are shared by several patients, who stand in one fold.")
    return notes


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--folds", type=int, default=5, help="3 or more")
    parser.add_argument(
        "--only", type=int, nargs="+", default=(), metavar="K", help="train these alone, from 1"
    )
    options, train = parser.parse_known_args(argv)

    def cross_validate() -> None:
        run(parse_config(train, prog=PROGRAM), options.folds, options.only)

    return exit_status(PROGRAM, cross_validate)


if __name__ == "__main__":
    sys.exit(main())
