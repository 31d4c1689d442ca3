"""The model card that lies with a model: what it is, what it was trained on, its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord


def model_card(record: ModelRecord) -> str:
    """Markdown for people; every figure comes from the record."""
    preprocessing = record.preprocessing
    thresholds = "\n".join(
        f"| {name} | {t.value:.4g} | {t.rule} | {t.n} |" for name, t in record.thresholds.items()
    )
    splits = "\n".join(
        f"| {name} | {counts['patients']} | {counts['studies'] or '–'} | {counts['images']} |"
        for name, counts in record.training.get("splits", {}).items()
    )
    notes = "\n".join(f"- {note}" for note in record.training.get("notes", ()))
    return f"""# {", ".join(record.findings)}: ResNet-{record.network.depth}

Trained with medres {record.provenance.get("medres", "")}. **For research only; not a medical \
device.** Its figures on test patients stand in the run's `report/`.

## Input and output
One image (1, {preprocessing.size}, {preprocessing.size}), {preprocessing.intensity} intensity, \
geometry `{preprocessing.geometry}`, normalised with the training patients' statistics (clip \
{preprocessing.statistics.low:.6g} to {preprocessing.statistics.high:.6g}, mean \
{preprocessing.statistics.mean:.6g}, standard deviation {preprocessing.statistics.std:.6g}). \
Preprocessing digest `{preprocessing.digest()[:16]}`.
{len(record.findings)} output(s), {record.kind}: {", ".join(record.findings)}.

## Thresholds, chosen on validation and locked
{_describe_calibration(record)} A case is one {record.unit}. Images combine to a study by \
their mean, studies to a patient by their maximum.

| finding | threshold | rule | validation cases |
|---|---|---|---|
{thresholds}

## Training
Initial weights: {record.training.get("initial_weights", "unknown")}. Preset: \
{record.training.get("preset", "unknown")}. Best epoch: {record.training.get("best_epoch", "?")}.

| split | patients | studies | images |
|---|---|---|---|
{splits}

{notes}

## Limits
It has seen images of its training sites alone; on others, evaluate before use \
(`medres evaluate`). Where `configs/guard.json` stands beside it, `medres score` tells images of
another kind from its own, at the rate of false alarms stated there; not every one is told.
"""


def _describe_calibration(record: ModelRecord) -> str:
    temperature = record.calibration.temperature
    if temperature is None:
        return f"Probabilities are the network's own (no temperature: {record.calibration.reason})."
    values = ", ".join(f"{value:.4g}" for value in temperature.values)
    return (
        f"Logits are divided by the temperature {values}, fitted on {temperature.n} validation "
        "labels, before they become probabilities."
    )
