"""The model card that lies with a model: what it is, what it was trained on, how well it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord

SHOWN = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier_score": "Brier score",
    "calibration_slope": "calibration slope",
}


def model_card(record: ModelRecord) -> str:
    """Markdown for people; every figure comes from the record."""
    preprocessing = record.preprocessing
    members = f"{len(record.members)} times " if record.members else ""
    return f"""# {", ".join(record.findings)}: {members}ResNet-{record.network.depth}

Trained with medres {record.provenance.get("medres", "")}. **For research only; not a medical \
device.**

## Intended use
Research on images of the kind that it was trained on (below), by people who can judge its output: \
to try it, compare it and evaluate it at another site. Not for diagnosis or treatment decisions, \
and not for other images, findings or populations before an evaluation on them. Of an archive \
`medres score` takes, by what headers say: {record.image_rule.in_words}.

## Input and output
One image (1, {preprocessing.size}, {preprocessing.size}), {preprocessing.intensity} intensity, \
geometry `{preprocessing.geometry}`, normalised with the training patients' statistics (clip \
{preprocessing.statistics.low:.6g} to {preprocessing.statistics.high:.6g}, mean \
{preprocessing.statistics.mean:.6g}, standard deviation {preprocessing.statistics.std:.6g}). \
Preprocessing digest `{preprocessing.digest()[:16]}`.
{len(record.findings)} output(s), {record.kind}: {", ".join(record.findings)}.

## Figures
{_describe_figures(record)}

## Thresholds, chosen on validation and locked
{_describe_calibration(record)} A case is one {record.unit}. Images combine to a study by \
their mean, studies to a patient by their maximum.

{_describe_thresholds(record)}
{_describe_bands(record)}
## Data and training
Initial weights: {record.training.get("initial_weights", "unknown")}. Preset: \
{record.training.get("preset", "unknown")}. Best epoch: {record.training.get("best_epoch", "?")}.

{_describe_splits(record)}

{_describe_notes(record)}

## Limits
It has seen images of its training sites alone; on others, evaluate before use \
(`medres evaluate`). A figure holds for patients like those it was measured on, at their \
prevalence. Its probabilities are of the findings above and say nothing of any other. Where \
`configs/guard.json` stands beside it, `medres score` tells images of another kind from its own, \
at the rate of false alarms stated there; not every one is told.

## Use
`medres score STUDIES --model FOLDER --out RESULTS`, `medres evaluate FOLDER labelled.csv --out \
REPORT`, `medres verify FOLDER`; or MONAI's own command line, in this folder: `python -m \
monai.bundle run --config_file configs/inference.json --dataset_dir STUDIES`.
"""


def _describe_figures(record: ModelRecord) -> str:
    findings: Mapping[str, Any] = record.figures.get("findings", {})
    rows = [
        f"| {finding} | {SHOWN[name]} | {_figure(figures[name])} |"
        for finding, figures in findings.items()
        for name in SHOWN
        if name in figures
    ]
    if not rows:
        return "None are recorded with this model: evaluate it (`medres evaluate`)."
    head = "| finding | figure | value (95 % interval) |\n|---|---|---|\n"
    return f"On {record.figures.get('cases', 'test cases')}:\n\n{head}" + "\n".join(rows)


def _figure(figure: Mapping[str, Any]) -> str:
    if figure.get("value") is None:
        return f"undefined ({figure.get('undefined', 'no reason recorded')})"
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f}), {figure['method']}"


def _describe_thresholds(record: ModelRecord) -> str:
    if not record.thresholds:
        return "None are locked."
    rows = (
        f"| {name} | {t.value:.4g} | {t.rule} | {t.n} |" for name, t in record.thresholds.items()
    )
    return "| finding | threshold | rule | validation cases |\n|---|---|---|---|\n" + "\n".join(
        rows
    )


def _describe_bands(record: ModelRecord) -> str:
    """Scores that a person is to decide; empty where the model has no band."""
    if not record.bands:
        return ""
    rows = "\n".join(
        f"| {name} | {b.lower.value:.4g} | {b.lower.rule} | {b.upper.value:.4g} | {b.upper.rule} "
        f"| {b.lower.n} |"
        for name, b in record.bands.items()
    )
    return f"""
With its band, a finding is called negative below the lower end, positive from the upper end on, \
and indeterminate in between, where a person decides.

| finding | lower end | rule | upper end | rule | validation cases |
|---|---|---|---|---|---|
{rows}
"""


def _describe_splits(record: ModelRecord) -> str:
    rows = "\n".join(
        f"| {name} | {counts['patients']} | {counts['studies'] or '–'} | {counts['images']} |"
        for name, counts in record.training.get("splits", {}).items()
    )
    return f"| split | patients | studies | images |\n|---|---|---|---|\n{rows}"


def _describe_notes(record: ModelRecord) -> str:
    return "\n".join(_notes(record))


def _notes(record: ModelRecord) -> Iterator[str]:
    yield from (f"- {note}" for note in record.training.get("notes", ()))
    if record.unknown:
        named = ", ".join(sorted(record.unknown))
        yield f"- Parts of this model that the medres writing this card does not know: {named}."


def _describe_calibration(record: ModelRecord) -> str:
    temperature = record.calibration.temperature
    if temperature is None:
        return f"Probabilities are the network's own (no temperature: {record.calibration.reason})."
    values = ", ".join(f"{value:.4g}" for value in temperature.values)
    return (
        f"Logits are divided by the temperature {values}, fitted on {temperature.n} validation "
        "labels, before they become probabilities."
    )
