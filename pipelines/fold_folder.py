"""What a cross-validation leaves in its folder, beside the run folder of each fold.

::

    FOLDS/
        fold-1/ ...        run folders: pipelines.run_folder
        predictions.csv    every image, scored by the model that has not seen it
        cases.csv          whose the cases are that the report shows by number; the owner's alone
        report/            of all of them together, with intervals
        folds.md, .json    each fold's own figures, with mean and spread; runs.csv, summary.csv
        model/             the mean of the folds' probabilities, as one MONAI bundle
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medres.bundle.directory import CARD_NAME, load_model
from medres.bundle.ensemble import write_ensemble
from medres.config import RunConfig
from medres.data.manifest import Manifest
from medres.data.rejected import Origin
from medres.provenance import collect_provenance
from medres.reports.evidence import write_evidence
from medres.reports.summary import format_summary
from medres.reports.sweep import SweptRun, format_sweep, list_swept_figures, write_sweep
from medres.scoring.folds import (
    Fold,
    choose_ensemble_bands,
    choose_ensemble_thresholds,
    evaluate_folds,
    pool_images,
)
from medres.training.precision import describe_device, resolve_device
from medres.training.training_data import count_cases
from pipelines.flow import describe_flow
from pipelines.run_folder import Judged
from pipelines.shown_cases import list_fold_cases


def judge_folds(
    config: RunConfig,
    manifest: Manifest,
    origin: Origin,
    judged: Sequence[Judged],
    notes: list[str],
) -> Path:
    """Judge the predictions out of fold, and write the ensemble; returns the HTML report's path."""
    findings, unit = manifest.schema.findings, config.evaluation.unit
    images = pool_images([j.test for j in judged], [(r.image, r.frame) for r in manifest.rows])
    images.write_csv(config.out / "predictions.csv")
    folds = [Fold(j.test.combine(unit), j.record.thresholds, j.record.bands) for j in judged]
    figures = evaluate_folds(folds, findings, kind=manifest.schema.kind, seed=config.seed)
    thresholds, without = choose_ensemble_thresholds(folds, findings, config.evaluation)
    bands, undecided = choose_ensemble_bands(folds, findings, config.evaluation)
    models = [load_model(config.out / f"fold-{k + 1}" / "model") for k in range(len(judged))]
    provenance = collect_provenance(
        device=describe_device(resolve_device(config.device)), seed=config.seed
    )
    training = {**describe_training(manifest, judged), "notes": [*notes, *without, *undecided]}
    record = write_ensemble(
        config.out / "model", models, thresholds, training, provenance, bands=bands
    )
    runs = write_fold_figures(config.out, judged)
    left_out = {"not asked for (data.where)": origin.images - len(manifest.rows)}
    evaluation = {
        **figures,
        "flow": describe_flow(origin, left_out),
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
    evaluation["cases"], shown = list_fold_cases(
        folds, [j.test for j in judged], findings, keys=config.out / "cases.csv"
    )
    card = config.out / "model" / CARD_NAME
    page = write_evidence(evaluation, config.out / "report", model_card=card, sections=[shown])
    print(f"\n{format_sweep(runs, counted='folds')}\n{format_summary(evaluation)}")
    print(f"\nmodel   {config.out / 'model'}\nreport  {page}")
    return page


def describe_training(manifest: Manifest, judged: Sequence[Judged]) -> dict[str, Any]:
    """How the ensemble was trained, for its record."""
    first = judged[0].record.training
    kept = (
        "weights",
        "initial_weights",
        "preset",
        "stages",
        "batch_norm",
        "batch_size",
        "precision",
    )
    return {
        **{key: first.get(key) for key in kept},
        "best_epoch": [j.record.training.get("best_epoch") for j in judged],
        "splits": {"all folds": count_cases(manifest, manifest.rows)},
    }


def write_fold_figures(out: Path, judged: Sequence[Judged]) -> list[SweptRun]:
    """Write each fold's own figures with their mean and spread; returns them."""
    runs = [
        SweptRun({}, fold, list_swept_figures(j.evaluation)) for fold, j in enumerate(judged, 1)
    ]
    write_sweep(runs, out, name="folds", counted="folds")
    return runs
