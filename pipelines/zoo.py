"""`medres evaluate` with a bundle of others: MONAI's model zoo and its like.

The bundle's own chain reads the images in processes of its own, as for `medres score`. What it
cannot read is left out, counted, and named in `predictions.csv.rejected.jsonl`. The bundle has no
locked threshold, no record of the patients that it was trained on and no guard; the results say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.zoo import ZooModel
    from medres.data.manifest import Manifest
    from medres.data.rejected import RejectedFile
    from pipelines.evaluate import EvaluateConfig

NOT_RECORDED = (
    "Whether patients of this evaluation were among those it was trained on is not recorded.",
    "The bundle has no locked threshold; figures at one are left out.",
)


def evaluate(config: EvaluateConfig) -> Path:
    """Judge a bundle of others on labelled images; returns the HTML report's path."""
    from medres.bundle.zoo import load_zoo_bundle
    from medres.data.manifest import check_files
    from medres.data.rejected import (
        count_reasons,
        describe_rejected,
        read_origin,
        write_rejected,
    )
    from medres.metrics.finding_details import AskedDetails
    from medres.reports.evidence import write_evidence
    from medres.reports.summary import format_summary
    from medres.scoring.run import Settings
    from medres.scoring.subgroup_values import subgroup_values
    from medres.scoring.zoo_rows import score_rows
    from medres.training.precision import resolve_device
    from pipelines.evaluate import select_labelled
    from pipelines.flow import describe_flow
    from pipelines.progress import follow

    model = load_zoo_bundle(config.model, trust=config.trust)
    table = read_labels(model, config.manifest)
    manifest = select_labelled(config, table)
    check_files(manifest)
    device = resolve_device(config.device)
    images, rejected = score_rows(
        model,
        manifest,
        Settings(device, workers=config.workers or None),
        follow=lambda rows: follow(rows, "scoring"),
    )
    predictions = config.out / "predictions.csv"
    images.write_csv(predictions)
    write_rejected(predictions, rejected)
    cases = images.combine("patient")
    asked = AskedDetails(
        prevalence=config.prevalence,
        subgroups=subgroup_values(images.manifest, cases, config.subgroup),
        intersections=tuple(tuple(text.split(",")) for text in config.intersect),
    )
    schema = manifest.schema
    figures = cases.evaluate(schema.findings, {}, kind=schema.kind, asked=asked)
    left_out = {
        "not asked for (--split, --where)": len(table.rows) - len(manifest.rows),
        **{f"refused: {reason}": n for reason, n in count_reasons(rejected).items()},
    }
    flow = describe_flow(read_origin(config.manifest), left_out)
    described = _describe(config, model, manifest, device)
    notes = [*manifest.notes, *_refused(rejected), *NOT_RECORDED, *figures["notes"]]
    page = write_evidence({**figures, "flow": flow, **described, "notes": notes}, config.out)
    print(format_summary({**figures, **described, "notes": notes}))
    if rejected:
        print(f"\nnot scored: {describe_rejected(rejected, predictions)}")
    print(f"\nreport  {page}")
    return page


def read_labels(model: ZooModel, path: Path) -> Manifest:
    """A manifest as the bundle's findings; of several, one column with their names will do."""
    from medres.data.labels import LABEL_COLUMN, LabelSchema
    from medres.data.manifest import read_manifest
    from medres.data.table import read_table

    labels = model.labels
    columns = read_table(path).columns
    if labels.kind == "multilabel" and LABEL_COLUMN in columns:
        one = LabelSchema("multiclass", labels.findings, (LABEL_COLUMN,))
        return dataclasses.replace(read_manifest(path, schema=one), schema=labels)
    return read_manifest(path, schema=labels)


def _refused(rejected: Sequence[RejectedFile]) -> list[str]:
    if not rejected:
        return []
    images = "1 image" if len(rejected) == 1 else f"{len(rejected)} images"
    return [f"The bundle could not score {images}, left out of every figure: see the flow."]


def _describe(
    config: EvaluateConfig, model: ZooModel, manifest: Manifest, device: Any
) -> dict[str, Any]:
    from medres.provenance import collect_provenance
    from medres.training.precision import describe_device

    return {
        "intended_use": config.intended_use,
        "dataset": {
            "manifest": config.manifest.name,
            "split": config.split,
            "where": list(config.where),
            "kind": manifest.schema.kind,
            "patient_ids_given": manifest.patient_ids_given,
        },
        "model": {"weights": model.title, "weights_sha256": model.weights_sha256},
        "provenance": collect_provenance(device=describe_device(device)),
    }
