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
from typing import TYPE_CHECKING, Any

from medres.config import RunConfig, parse_config
from medres.errors import ConfigError
from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.data.manifest import Manifest
    from pipelines.run_folder import Judged

PROGRAM = "medres cross-validate"


def run(config: RunConfig, folds: int, only: Sequence[int] = ()) -> Path:
    """Train and judge every fold, then all together; returns the path of the HTML report.

    Raises:
        ConfigError: `only` names none of the folds.
    """
    from medres.data.folds import assign_folds, split_by_fold
    from medres.training.training_data import check_and_fit, survey_run_images
    from pipelines import xray_train
    from pipelines.progress import follow

    if not set(only) <= set(range(1, folds + 1)):
        raise ConfigError(f"--only: {list(only)} is not accepted; give folds from 1 to {folds}")
    manifest, survey = survey_run_images(config, follow=follow)
    fold_of_row = assign_folds(manifest, survey.digests, folds=folds, seed=config.data.split_seed)
    for note in describe_folds(manifest, survey.digests):
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
    return pool(config, manifest, judged, describe_folds(manifest, survey.digests))


def describe_folds(manifest: Manifest, pictures: dict[tuple[str, int], str]) -> list[str]:
    """What a reader has to know about who stands in which fold."""
    from medres.data.folds import count_links

    notes = list(manifest.notes)
    if any(row.split for row in manifest.rows):
        notes.append("The manifest's own split was not looked at: every image is tested on once.")
    if links := count_links(manifest, pictures):
        notes.append(f"{links} pictures are shared by several patients, who stand in one fold.")
    return notes


def pool(config: RunConfig, manifest: Manifest, judged: Sequence[Judged], notes: list[str]) -> Path:
    """Judge the predictions out of fold, and write the ensemble; returns the HTML report's path."""
    from medres.bundle.directory import load_model
    from medres.bundle.ensemble import write_ensemble
    from medres.provenance import collect_provenance
    from medres.reports.evidence import write_evidence
    from medres.reports.summary import format_summary
    from medres.reports.sweep import format_sweep
    from medres.scoring.folds import Fold, choose_ensemble_thresholds, evaluate_folds, pool_images
    from medres.training.precision import describe_device, resolve_device

    findings, unit = manifest.schema.findings, config.evaluation.unit
    images = pool_images([j.test for j in judged], [(r.image, r.frame) for r in manifest.rows])
    images.write_csv(config.out / "predictions.csv")
    folds = [Fold(j.test.combine(unit), j.record.thresholds) for j in judged]
    figures = evaluate_folds(folds, findings, kind=manifest.schema.kind, seed=config.seed)
    thresholds, without = choose_ensemble_thresholds(folds, findings, config.evaluation)
    models = [load_model(config.out / f"fold-{k + 1}" / "model") for k in range(len(judged))]
    provenance = collect_provenance(
        device=describe_device(resolve_device(config.device)), seed=config.seed
    )
    training = {**describe_training(manifest, judged), "notes": [*notes, *without]}
    record = write_ensemble(config.out / "model", models, thresholds, training, provenance)
    runs = write_fold_figures(config.out, judged)
    evaluation = {
        **figures,
        "dataset": {
            "manifest": None if config.data.manifest is None else config.data.manifest.name,
            "split": f"{len(judged)} folds by patient, predictions out of fold",
            "kind": manifest.schema.kind,
            "patient_ids_given": manifest.patient_ids_given,
        },
        "folds": {
            f"fold {run.number}": {f"{f.finding} {f.figure}": f.value for f in run.figures}
            for run in runs
        },
        "model": {**record.network.as_arguments(), "weights_sha256": record.weights_sha256},
        "notes": [*notes, *figures["notes"]],
        "provenance": provenance,
    }
    page = write_evidence(evaluation, config.out / "report")
    print(f"\n{format_sweep(runs, counted='folds')}\n{format_summary(evaluation)}")
    print(f"\nmodel   {config.out / 'model'}\nreport  {page}")
    return page


def describe_training(manifest: Manifest, judged: Sequence[Judged]) -> dict[str, Any]:
    """How the ensemble was trained, for its record."""
    from medres.training.training_data import count_cases

    first = judged[0].record.training
    kept = ("weights", "initial_weights", "preset", "batch_norm", "batch_size", "precision")
    return {
        **{key: first.get(key) for key in kept},
        "best_epoch": [j.record.training.get("best_epoch") for j in judged],
        "splits": {"all folds": count_cases(manifest, manifest.rows)},
    }


def write_fold_figures(out: Path, judged: Sequence[Judged]) -> list[Any]:
    """Write each fold's own figures with their mean and spread; returns them."""
    from medres.reports.sweep import SweptRun, list_swept_figures, write_sweep

    runs = [
        SweptRun({}, fold, list_swept_figures(j.evaluation)) for fold, j in enumerate(judged, 1)
    ]
    write_sweep(runs, out, name="folds", counted="folds")
    return runs


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
