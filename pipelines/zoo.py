"""`medres evaluate` and `medres score` with a bundle of others: MONAI's model zoo and its like.

The bundle's own chain reads the images, one by one. It has no locked threshold, no record of the
patients that it was trained on and no guard; the results say so.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.zoo import ZooModel
    from medres.data.manifest import Manifest
    from pipelines.evaluate import EvaluateConfig
    from pipelines.score import ScoreConfig

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


def score(config: ScoreConfig) -> int:
    """Score images with a bundle of others; returns how many were rejected."""
    from medres.bundle.zoo import load_zoo_bundle
    from medres.data.pseudonyms import Keys
    from medres.data.table import write_table
    from medres.errors import UnreadableImageError
    from medres.files import write_json, write_text
    from medres.scoring.secret import open_secret
    from medres.training.precision import resolve_device
    from pipelines.progress import follow

    model = load_zoo_bundle(config.model, trust=config.trust)
    device, keys = resolve_device(config.device), Keys(open_secret(config.out, config.site_secret))
    rows, places, rejected = [], [], []
    for name, path in follow(list(_files(config.sources)), "scoring"):
        key = keys.of(name)
        places.append([key, name])
        try:
            rows.append([key, *(f"{value:.9g}" for value in model.score(str(path), device))])
        except UnreadableImageError as error:
            rejected.append({"key": key, "reason": error.reason.value, "message": error.message})
    write_table(config.out / "images.csv", ["key", *model.labels.findings], rows)
    write_table(config.out / "keys.csv", ["key", "image"], places)
    (config.out / "keys.csv").chmod(0o600)
    lines = "".join(f"{json.dumps(line)}\n" for line in rejected)
    write_text(config.out / "rejected.jsonl", lines)
    summary = {
        "images_scored": len(rows),
        "rejected": len(rejected),
        "model": {"weights": model.title, "weights_sha256": model.weights_sha256},
        "notes": ["Images are not combined to studies: the bundle does not say how."],
    }
    write_json(config.out / "summary.json", summary)
    print(f"{len(rows)} images scored, {len(rejected)} rejected\nresults  {config.out}")
    return len(rejected)


def _files(sources: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Every file under the sources with its name in them, hidden ones and links out passed by."""
    from medres.errors import ManifestError

    for source in sources:
        if not source.exists():
            raise ManifestError(f"{source}: no such folder or file; give images to score")
        folder = source if source.is_dir() else source.parent
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            name = path.relative_to(folder).as_posix()
            inside = path.resolve().is_relative_to(folder.resolve())
            if path.is_file() and inside and not any(p.startswith(".") for p in name.split("/")):
                yield name, path
