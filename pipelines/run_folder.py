"""What a training run leaves in its folder, beside checkpoints and events.

::

    RUN/
        config.yaml        resolved, ready for --config
        run.json           versions, machine, seed, digests of the inputs
        schedule.txt, .png what trains when, and at which rates
        manifest.csv       with its split
        training.html      how it goes and went; training.json what it is made of
        epochs.jsonl       one line an epoch;  events/  the same for TensorBoard
        checkpoints/       last.pt, best.pt
        predictions/       validation.csv, test.csv
        model/             a MONAI bundle: what evaluate and score take
        report/            evaluation.html and what stands beside it: medres.reports.evidence
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medres.bundle.card import SHOWN
from medres.bundle.directory import write_bundle, write_weights
from medres.bundle.record import ModelRecord, NetworkRecord
from medres.bundle.seen import SeenCases
from medres.config import RunConfig
from medres.config_text import config_as_json, format_config
from medres.data.image_rule import ImageKind, ImageRule
from medres.data.manifest import write_manifest
from medres.errors import GuardError
from medres.files import file_digest, write_json, write_text
from medres.guard.fitting import fit_guard
from medres.guard.guard import Guard
from medres.guard.storage import write_guard
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.provenance import collect_provenance
from medres.reports.schedule_picture import save_schedule_picture
from medres.scoring.case_scores import ImageScores
from medres.scoring.predictor import Predictor
from medres.training.advice import advise, gather_facts
from medres.training.calibrate import NOT_CALIBRATED, Calibration, fit_calibration
from medres.training.dataset import as_items
from medres.training.fine_tuning import FineTuned, InitialNetwork, plan_features
from medres.training.precision import describe_device, resolve_device
from medres.training.schedule_table import format_schedule
from medres.training.status import TrainingStatus, now
from medres.training.training_data import TrainingData
from pipelines.flow import describe_flow
from pipelines.progress import follow


def announce(config: RunConfig, data: TrainingData, initial: InitialNetwork) -> None:
    """Say what is about to be trained, and what differs from what was asked for."""
    counts, outline = data.counts()["train"], initial.outline
    print(
        f"ResNet-{config.model.depth}, stem {config.model.stem} "
        f"({initial.network.stem_start.init}), {initial.weights.description}, "
        f"preset {outline.resolved.preset}: {counts['images']} images of {counts['patients']} "
        f"patients, {outline.steps_per_epoch} steps of {outline.step_images} images",
        file=sys.stderr,
    )
    print(advise(gather_facts(data.manifest), config).format(), file=sys.stderr)
    print(initial.augmentation, file=sys.stderr)
    for note in (*data.notes, *initial.notes):
        print(f"note: {note}", file=sys.stderr)


def record_inputs(config: RunConfig, data: TrainingData, initial: InitialNetwork) -> None:
    """Write what the run starts from: configuration, split, schedule, versions, digests."""
    device = describe_device(resolve_device(config.device))
    manifest = config.data.manifest
    write_text(config.out / "config.yaml", format_config(config))
    write_manifest(data.manifest, config.out / "manifest.csv")
    schedule = initial.outline.schedule
    write_text(config.out / "schedule.txt", f"{format_schedule(schedule)}\n")
    save_schedule_picture(schedule, config.out / "schedule.png")
    write_json(
        config.out / "run.json",
        {
            "provenance": collect_provenance(device=device, seed=config.seed),
            "manifest_sha256": None if manifest is None else file_digest(manifest),
            "preprocessing": data.preprocessing.as_json(),
            "splits": data.counts(),
            "leakage": data.leakage,
            "notes": list(data.notes),
        },
    )


def describe_start(
    config: RunConfig, data: TrainingData, initial: InitialNetwork
) -> TrainingStatus:
    """What the training's own page says of a run, as of its beginning."""
    training, outline, counts = config.training, initial.outline, data.counts()
    loss = training.loss.replace("_", " ")
    facts = {
        "Network": f"ResNet-{config.model.depth}, stem {config.model.stem} "
        f"({initial.network.stem_start.init})",
        "Initial weights": initial.weights.description,
        "Findings": ", ".join(data.manifest.schema.findings),
        **{
            f"{split.capitalize()} images": f"{n['images']} of {n['patients']} patients"
            for split, n in counts.items()
        },
        "Input": f"{data.preprocessing.size} × {data.preprocessing.size} pixels, "
        f"{data.preprocessing.intensity} intensity, {data.preprocessing.geometry}",
        "A step": f"{outline.step_images} images; {outline.steps_per_epoch} steps an epoch",
        "Optimizer": f"{training.optimizer}, weight decay {training.weight_decay:g}",
        "Loss": loss if not training.class_weights else f"{loss}, positives weighed by their share",
        "Augmentation": str(initial.augmentation),
        "Precision": f"{initial.precision} on {describe_device(initial.device)}",
        "Epoch that is kept": f"by validation {training.select_by}",
        "Stops early": f"after {training.patience} epochs without a better one"
        if training.patience
        else "never",
        "Seed": str(config.seed),
    }
    return TrainingStatus(
        state="training",
        began=now(),
        updated=now(),
        epochs=training.epochs,
        select_by=training.select_by,
        patience=training.patience,
        facts=facts,
        features=plan_features(config, data, initial).describe(),
        notes=(*data.notes, *initial.notes),
        schedule=outline.schedule.as_json(),
    )


@dataclass(frozen=True)
class Judged:
    """What came of a run.

    Attributes:
        page: the HTML report.
        record: of its model.
        test: scored test images.
        evaluation: as `evaluation.json` holds it.
    """

    page: Path
    record: ModelRecord
    test: ImageScores
    evaluation: dict[str, Any]


def calibrate(
    config: RunConfig, data: TrainingData, trained: FineTuned
) -> tuple[Predictor, ImageScores]:
    """The best epoch's network as a calibrated predictor, and the validation images it scored."""
    manifest = data.manifest
    bare = Predictor(
        trained.network,
        manifest.schema.kind,
        data.preprocessing,
        trained.device,
        workers=config.training.workers,
    )
    rows = manifest.split("validation")
    logits = bare.predict_logits(
        as_items(manifest, rows), follow=lambda batches: follow(batches, "scoring validation")
    )
    labels = bare.score_logits(manifest, rows, logits).y_true
    asked = config.evaluation.calibration == "temperature"
    calibration = fit_calibration(bare.kind, labels, logits) if asked else NOT_CALIBRATED
    predictor = replace(bare, calibration=calibration)
    scores = predictor.score_logits(manifest, rows, logits)
    scores.write_csv(config.out / "predictions" / "validation.csv")
    return predictor, scores


def fit_model_guard(
    config: RunConfig, data: TrainingData, trained: FineTuned
) -> tuple[Guard | None, list[str]]:
    """The guard of the trained network, and a note where there is none or it promises less."""
    if not config.guard.fit:
        return None, []
    try:
        guard = fit_guard(
            trained.network,
            data.preprocessing,
            data.manifest,
            data.survey.records,
            false_alarms=config.guard.false_alarms,
            device=trained.device,
            workers=config.training.workers,
            follow=lambda batches: follow(batches, "fitting the guard"),
        )
    except GuardError as error:
        return None, [f"The model has no guard against images of another kind: {error}."]
    return guard, guard.notes()


def score_test(config: RunConfig, data: TrainingData, predictor: Predictor) -> ImageScores:
    """Score the test images, and write their predictions."""
    scores = predictor.score_rows(
        data.manifest,
        data.manifest.split("test"),
        follow=lambda batches: follow(batches, "scoring test"),
    )
    scores.write_csv(config.out / "predictions" / "test.csv")
    return scores


def save_model(
    config: RunConfig,
    data: TrainingData,
    trained: FineTuned,
    thresholds: dict[str, Threshold],
    bands: dict[str, Band],
    calibration: Calibration,
    guard: Guard | None,
) -> ModelRecord:
    """Write `model/`; returns its record."""
    folder = config.out / "model"
    schema = data.manifest.schema
    kinds = _training_kinds(data)
    rule = ImageRule.learn(set(kinds)).stating(config.image_rule)
    (folder / "configs" / "medres.json").unlink(missing_ok=True)
    record = ModelRecord(
        network=NetworkRecord(**trained.network.arguments()),
        labels=schema,
        preprocessing=data.preprocessing,
        unit=config.evaluation.unit,
        thresholds=thresholds,
        bands=bands,
        calibration=calibration,
        image_rule=rule,
        weights_sha256=write_weights(folder, trained.network.state_dict()),
        training={
            **trained.as_json(),
            "intended_use": config.evaluation.intended_use,
            "splits": data.counts(),
            "notes": [*data.notes, *trained.notes, *rule.notes_on(kinds)],
        },
        provenance=collect_provenance(device=describe_device(trained.device), seed=config.seed),
    )
    write_guard(folder, guard, record.weights_sha256)
    write_bundle(folder, record, _seen(data))
    return record


def _training_kinds(data: TrainingData) -> list[ImageKind]:
    records = data.survey.records
    rows = data.manifest.split("train")
    return [ImageKind.of(records[row.image, row.frame]) for row in rows]


def add_figures(
    config: RunConfig, data: TrainingData, record: ModelRecord, evaluation: dict[str, Any]
) -> ModelRecord:
    """Put the figures on test cases into the model's record, card and metadata; returns it."""
    shown = {
        finding: {name: figures[name] for name in SHOWN if figures.get(name)}
        for finding, figures in evaluation["findings"].items()
    }
    cases = f"{evaluation['n']['patients']} test patients of the data set it was trained on"
    record = replace(record, figures={"cases": cases, "findings": shown})
    write_bundle(config.out / "model", record, _seen(data))
    return record


def _seen(data: TrainingData) -> SeenCases:
    manifest = data.manifest
    rows = [*manifest.split("train"), *manifest.split("validation")]
    patients = {row.patient_id for row in rows} if manifest.patient_ids_given else set()
    return SeenCases.of(patients, (data.survey.digests[row.image, row.frame] for row in rows))


def _shareable(config: RunConfig) -> dict[str, Any]:
    """The configuration without folders, whose names may tell of a site or a patient."""
    values = config_as_json(config)
    for place, key in ((values, "out"), (values["data"], "manifest"), (values["model"], "weights")):
        if place[key] is not None:
            place[key] = Path(place[key]).name
    return values


def describe_run(
    config: RunConfig, data: TrainingData, trained: FineTuned, record: ModelRecord
) -> dict[str, Any]:
    """The sections that a report has beside its figures."""
    equal = sum(data.leakage["dropped"].values())
    left_out = {
        "not asked for (data.where)": data.origin.images - len(data.manifest.rows) - equal,
        "equal to an image in another split": equal,
    }
    return {
        "dataset": {
            "manifest": None if config.data.manifest is None else config.data.manifest.name,
            "split": "test",
            "kind": data.manifest.schema.kind,
            "patient_ids_given": data.manifest.patient_ids_given,
        },
        "intended_use": config.evaluation.intended_use,
        "flow": describe_flow(data.origin, left_out),
        "splits": data.counts(),
        "leakage": {
            "equal images in two splits": data.leakage["across_splits"],
            "equal images within one split": data.leakage["within_splits"],
            "of them with different labels": data.leakage["conflicting"],
            "images dropped for it": equal,
        },
        "model": {
            **record.network.as_arguments(),
            "weights": trained.weights.source,
            "weights_sha256": record.weights_sha256,
        },
        "calibration": record.calibration.as_json(),
        "preprocessing": data.preprocessing.as_json(),
        "training": {
            **trained.as_json(),
            "page": "../training.html",
            "history": [asdict(epoch) for epoch in trained.result.history],
            "schedule": trained.schedule.as_table(),
        },
        "notes": list(record.training["notes"]),
        "provenance": {**record.provenance, "config": _shareable(config)},
    }
