r"""Judge a model on labelled images, from its own test split or from elsewhere.

    medres evaluate runs/demo/model runs/demo/manifest.csv --split test --out runs/demo/again
    medres evaluate runs/mine/model other_hospital.csv --out runs/mine/other_hospital \
        --beside internal=runs/mine/report

Nothing is re-fitted: preprocessing, weights, thresholds and bands are the model's. Patients and
pictures that the model was trained or validated on are refused, or left out with `--on-seen drop`.
Leaves `evaluation.html` with what stands beside it (docs/evidence.md) and `predictions.csv` in the
folder given by --out. What a bundle of others cannot read is left out, counted, and named in
`predictions.csv.rejected.jsonl`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from medres.config import ShownImages
from pipelines import zoo
from pipelines.shell import exit_status
from pipelines.zipped import with_model_folder

if TYPE_CHECKING:
    from medres.bundle.directory import Model
    from medres.data.manifest import Manifest
    from medres.transforms.survey import PixelSurvey

PROGRAM = "medres evaluate"


@dataclass(frozen=True)
class EvaluateConfig:
    """What to judge, on what.

    Attributes:
        model: a run's `model` folder.
        manifest: labelled images.
        out: folder of the report.
        split: all rows, or those of one split.
        where: keep rows whose columns have these values, as `column=value`.
        on_seen: what to do about patients or pictures that the model was fitted on.
        device: where the network computes.
        workers: processes that read images.
        subgroup: columns of the manifest, or sex, age, scanner, view, site of the DICOM headers.
        intersect: columns to cross, as `sex,age`.
        prevalence: of the target population.
        intended_use: a sentence for the report; the model's own where none is given.
        beside: other evaluations of the model, as `NAME=PATH`.
        images: whose pixels may stand in the report.
        trust: run the config of a bundle of others as code.
    """

    model: Path
    manifest: Path
    out: Path
    split: Literal["all", "train", "validation", "test"] = "all"
    where: tuple[str, ...] = ()
    on_seen: Literal["error", "drop"] = "error"
    device: str = "auto"
    workers: int = 0
    subgroup: tuple[str, ...] = ()
    intersect: tuple[str, ...] = ()
    prevalence: float | None = None
    intended_use: str = ""
    beside: tuple[str, ...] = ()
    images: ShownImages = "synthetic"
    trust: bool = False


def run(config: EvaluateConfig) -> Path:
    """Score, judge and write; returns the path of the HTML report."""
    from medres.bundle.directory import CARD_NAME, load_model
    from medres.bundle.zoo import is_zoo_bundle
    from medres.data.decoders import check_decoders
    from medres.data.manifest import check_files, read_manifest
    from medres.data.rejected import read_origin
    from medres.metrics.finding_details import AskedDetails
    from medres.reports.beside import read_beside
    from medres.reports.evidence import write_evidence
    from medres.reports.summary import format_summary
    from medres.scoring.predictor import Predictor
    from medres.scoring.subgroup_values import subgroup_values
    from medres.training.precision import resolve_device
    from medres.transforms.survey import survey_images
    from pipelines.flow import describe_flow
    from pipelines.progress import follow
    from pipelines.shown_cases import show_cases

    if is_zoo_bundle(config.model):
        return zoo.evaluate(config)
    model = load_model(config.model)
    record = model.record
    table = read_manifest(config.manifest, schema=record.labels)
    manifest = chosen = select_labelled(config, table)
    check_files(manifest)
    check_decoders(manifest)
    survey = survey_images(
        manifest,
        intensity=record.preprocessing.intensity,
        follow=lambda rows: follow(rows, "checking"),
    )
    manifest, notes = leave_out_seen(manifest, model, survey, config.on_seen)
    device = resolve_device(config.device)
    predictor = Predictor.of_model(model, device, workers=config.workers)
    images = predictor.score_rows(
        manifest, manifest.rows, follow=lambda batches: follow(batches, "scoring")
    )
    images.write_csv(config.out / "predictions.csv")
    cases = images.combine(record.unit)
    asked = AskedDetails(
        prevalence=config.prevalence,
        bands=record.bands,
        subgroups=subgroup_values(manifest, cases, config.subgroup),
        intersections=tuple(tuple(text.split(",")) for text in config.intersect),
    )
    figures = cases.evaluate(record.findings, record.thresholds, kind=record.kind, asked=asked)
    notes = [*manifest.notes, *notes, *figures["notes"]]
    n_seen = len(chosen.rows) - len(manifest.rows)
    left_out = {
        "not asked for (--split, --where)": len(table.rows) - len(chosen.rows),
        "of patients that the model was fitted on": n_seen,
    }
    evaluation = {
        **figures,
        "intended_use": config.intended_use or record.training.get("intended_use") or "",
        "beside": read_beside(config.beside, record.findings),
        "flow": describe_flow(read_origin(config.manifest), left_out),
        "leakage": {
            "images of patients, or equal to images, that the model was fitted on": n_seen,
            "of them judged here": 0,
        },
        **_describe(config, model, manifest, notes, device),
    }
    evaluation["cases"], shown = show_cases(
        predictor,
        images,
        cases,
        record.findings,
        record.thresholds,
        allowed=config.images,
        keys=config.out / "cases.csv",
    )
    card = config.model / CARD_NAME
    page = write_evidence(evaluation, config.out, model_card=card, sections=[shown])
    print(format_summary(evaluation))
    print(f"\nreport  {page}")
    return page


def select_labelled(config: EvaluateConfig, manifest: Manifest) -> Manifest:
    """The manifest's rows that are asked for.

    Raises:
        ManifestError: none of its rows is in the split, or has the values asked for.
    """
    import dataclasses

    from medres.data.manifest import select_rows
    from medres.errors import ManifestError

    manifest = select_rows(manifest, config.where)
    if config.split == "all":
        return manifest
    rows = manifest.split(config.split)
    if not rows:
        raise ManifestError(
            f"{config.manifest}: no row has {config.split!r} in its column split; give "
            "the manifest.csv of a run folder, or --split all"
        )
    return dataclasses.replace(manifest, rows=rows)


def leave_out_seen(
    manifest: Manifest, model: Model, survey: PixelSurvey, on_seen: Literal["error", "drop"]
) -> tuple[Manifest, list[str]]:
    """Refuse, or leave out, cases that the model was trained or validated on.

    Raises:
        LeakageError: there are such cases and `on_seen` is error, or nothing else is left.
    """
    import dataclasses

    from medres.errors import LeakageError

    seen = [
        (manifest.patient_ids_given and model.seen.has_patient(row.patient_id))
        or model.seen.has_pixels(survey.digests[row.image, row.frame])
        for row in manifest.rows
    ]
    if not any(seen):
        return manifest, []
    found = f"{sum(seen)} of {len(seen)} images are of patients that the model was fitted on"
    if on_seen == "error" or all(seen):
        raise LeakageError(
            f"{found}, or are the same pictures; give other patients, the run's manifest.csv "
            "with --split test, or leave them out with --on-seen drop"
        )
    kept = tuple(row for row, was in zip(manifest.rows, seen, strict=True) if not was)
    return dataclasses.replace(manifest, rows=kept), [f"{found}, and were left out."]


def _describe(
    config: EvaluateConfig, model: Model, manifest: Manifest, notes: list[str], device: Any
) -> dict[str, Any]:
    from medres.provenance import collect_provenance
    from medres.training.precision import describe_device

    record = model.record
    training = record.training
    return {
        "dataset": {
            "manifest": config.manifest.name,
            "split": config.split,
            "where": list(config.where),
            "kind": record.kind,
            "patient_ids_given": manifest.patient_ids_given,
        },
        "model": {
            **record.network.as_arguments(),
            "weights": training.get("weights"),
            "weights_sha256": record.weights_sha256,
        },
        "calibration": record.calibration.as_json(),
        "preprocessing": record.preprocessing.as_json(),
        "notes": [*notes, *training.get("notes", [])],
        "provenance": collect_provenance(device=describe_device(device)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="a run's model, or a zoo bundle; folder or zip")
    parser.add_argument("manifest", type=Path, help="labelled images, CSV or Parquet")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--split", choices=["all", "train", "validation", "test"], default="all")
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="keep such rows alone"
    )
    parser.add_argument(
        "--on-seen",
        choices=["error", "drop"],
        default="error",
        help="cases that the model was fitted on: refuse, or leave out",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images")
    parser.add_argument(
        "--subgroup",
        action="append",
        default=[],
        metavar="COLUMN",
        help="of the manifest; or sex, age, scanner, view, site of the DICOM headers",
    )
    parser.add_argument(
        "--intersect", action="append", default=[], metavar="COLUMN,COLUMN", help="cross subgroups"
    )
    parser.add_argument("--prevalence", type=float, help="of the target population")
    parser.add_argument(
        "--trust", action="store_true", help="run the config of a bundle of others as code"
    )
    parser.add_argument("--intended-use", default="", metavar="TEXT", help="instead of the model's")
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="[NAME=]REPORT",
        help="to stand beside: internal=runs/mine/report",
    )
    parser.add_argument(
        "--images",
        choices=get_args(ShownImages),
        default="synthetic",
        help="whose pixels may stand in the report: nobody's, the phantom's alone, all",
    )
    options = vars(parser.parse_args(argv))
    lists = {name: tuple(options[name]) for name in ("where", "subgroup", "intersect", "beside")}
    config = EvaluateConfig(**{**options, **lists})
    return exit_status(PROGRAM, lambda: with_model_folder(config, run))


if __name__ == "__main__":
    sys.exit(main())
