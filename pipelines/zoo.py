"""`medres evaluate` with a bundle of others: MONAI's model zoo and its like.

The bundle's own chain reads the images, one by one. It has no locked threshold, no record of the
patients that it was trained on and no guard; the results say so.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.zoo import ZooModel
    from medres.data.manifest import Manifest
    from pipelines.evaluate import EvaluateConfig

NOT_RECORDED = (
    "Whether patients of this evaluation were among those it was trained on is not recorded.",
    "The bundle has no locked threshold; figures at one are left out.",
)


def evaluate(config: EvaluateConfig) -> Path:
    """Judge a bundle of others on labelled images; returns the HTML report's path."""
    import torch

    from medres.bundle.zoo import load_zoo_bundle
    from medres.data.manifest import check_files
    from medres.metrics.finding_details import AskedDetails
    from medres.reports.evidence import write_evidence
    from medres.reports.summary import format_summary
    from medres.scoring.case_scores import ImageScores
    from medres.scoring.subgroup_values import subgroup_values
    from medres.training.precision import resolve_device
    from pipelines.evaluate import describe_flow, select_labelled
    from pipelines.progress import follow

    model = load_zoo_bundle(config.model, trust=config.trust)
    table = read_labels(model, config.manifest)
    manifest = select_labelled(config, table)
    check_files(manifest)
    device = resolve_device(config.device)
    scores = [
        model.score(manifest.address(row), device) for row in follow(manifest.rows, "scoring")
    ]
    images = ImageScores(manifest, manifest.rows, torch.tensor(scores, dtype=torch.float64))
    images.write_csv(config.out / "predictions.csv")
    cases = images.combine("patient")
    asked = AskedDetails(
        prevalence=config.prevalence,
        subgroups=subgroup_values(manifest, cases, config.subgroup),
        intersections=tuple(tuple(text.split(",")) for text in config.intersect),
    )
    schema = manifest.schema
    figures = cases.evaluate(schema.findings, {}, kind=schema.kind, asked=asked)
    flow = describe_flow(len(table.rows), len(manifest.rows), len(manifest.rows))
    described = _describe(config, model, manifest, device)
    notes = [*manifest.notes, *NOT_RECORDED, *figures["notes"]]
    page = write_evidence({**figures, "flow": flow, **described, "notes": notes}, config.out)
    print(format_summary({**figures, **described, "notes": notes}))
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
