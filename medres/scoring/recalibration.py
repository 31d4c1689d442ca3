"""A model at a new site: another temperature, other thresholds and bands, from local scores.

The network and its preprocessing stay as they are; so does every ranking, and with it the AUROC.
Scores of 0 and 1 are taken 2^-24 inside, since they have no finite logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from medres.bundle.record import ModelRecord, Replaced
from medres.config import EvaluationConfig
from medres.data.score_table import ScoreTable
from medres.errors import ManifestError
from medres.metrics.calibration_line import NEAREST, logits_of
from medres.metrics.operating_point import Threshold, confusion
from medres.metrics.three_way import Band, three_way_counts
from medres.scoring.case_scores import CaseScores
from medres.scoring.table_cases import cases_of_table
from medres.training.calibrate import Calibration, fit_calibration


@dataclass(frozen=True)
class Recalibrated:
    """The model's new record and what is different about it.

    Attributes:
        record: with the new temperature, thresholds and bands; the old are in `record.replaced`.
        changes: before and after, as plain JSON values: temperature, calibration figures, and for
            each finding the threshold and the band with their counts on the local cases.
        notes: what did not change, and why, as sentences.
    """

    record: ModelRecord
    changes: Mapping[str, Any]
    notes: tuple[str, ...]


def recalibrate(
    record: ModelRecord, local: ScoreTable, asked: EvaluationConfig, scores_sha256: str
) -> Recalibrated:
    """Fit a temperature and choose thresholds, and bands, on local scores.

    Bands are chosen where the model has some, for the rates that they were chosen for, or where
    others are asked for. What cannot be fitted (too few cases of a class, say) stays as it was,
    and a note says so.

    Args:
        record: of the model that gave the scores.
        local: probabilities with labels, of images or cases, as `medres evaluate` writes them.
        asked: the rule of the thresholds, and the band's rates, None for those of the model's.
        scores_sha256: digest of the table, for the record.

    Raises:
        ManifestError: a score outside [0, 1].
    """
    label = torch.tensor(local.y_true, dtype=torch.float64)
    score = torch.tensor(local.y_score, dtype=torch.float64)
    if bool(((score < 0) | (score > 1)).any()):
        raise ManifestError(
            f"{local.path}: scores outside [0, 1] are no probabilities; give those of the model"
        )
    notes = list(local.notes)
    logits = _own_logits(record, score.nan_to_num(nan=0.5))
    calibration = fit_calibration(record.kind, label, logits)
    if calibration.temperature is None:
        notes.append(f"The temperature stays as it was: {calibration.reason}.")
        calibration = record.calibration
    probabilities = calibration.apply(record.kind, logits).masked_fill(score.isnan(), torch.nan)
    before, after = (
        cases_of_table(local, record.unit, values) for values in (score, probabilities)
    )
    thresholds, without = after.choose_thresholds(record.findings, asked, split="local scores")
    bands, undecided = after.choose_bands(
        record.findings, replace(asked, band=asked.band or _targets(record)), split="local scores"
    )
    notes += [f"{sentence[:-1]}; the old one stays." for sentence in (*without, *undecided)]
    thresholds = {**record.thresholds, **thresholds}
    bands = {**record.bands, **bands}
    changes = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores_sha256": scores_sha256,
        "cases": len(after.patient_ids),
        "temperature": {"before": _value(record.calibration), "after": _value(calibration)},
        "calibration": _figures(record, label, logits, calibration),
        "findings": _findings(record, before, after, thresholds, bands),
    }
    old = Replaced(record.thresholds, record.calibration, changes, record.bands)
    new = replace(
        record,
        thresholds=thresholds,
        bands=bands,
        calibration=calibration,
        replaced=(*record.replaced, old),
        figures={},  # they were those of the old temperature and thresholds
    )
    return Recalibrated(new, changes, tuple(notes))


def _targets(record: ModelRecord) -> tuple[float, float] | None:
    """The rates that the model's bands were chosen for: one pair, as a configuration has one."""
    return next((band.targets for band in record.bands.values() if band.targets), None)


def _own_logits(record: ModelRecord, score: Tensor) -> Tensor:
    """Logits before the model's temperature; for softmax up to a constant, which changes nothing.

    An ensemble's members keep their own temperatures inside, and its logits are those of its
    probabilities.
    """
    scaled = score.clamp(min=NEAREST).log() if record.kind == "multiclass" else logits_of(score)
    return scaled * _value(record.calibration)


def _value(calibration: Calibration) -> float:
    return 1.0 if calibration.temperature is None else calibration.temperature.values[0]


def _figures(
    record: ModelRecord, label: Tensor, logits: Tensor, calibration: Calibration
) -> dict[str, Any]:
    """Log-likelihood, Brier score and calibration error of the images, before and after."""
    scaled = [logits / _value(c) for c in (record.calibration, calibration)]
    before, after = (
        fit_calibration(record.kind, label, z).validation["untempered"] for z in scaled
    )
    return {"before": dict(before), "after": dict(after)}


def _findings(
    record: ModelRecord,
    before: CaseScores,
    after: CaseScores,
    thresholds: Mapping[str, Threshold],
    bands: Mapping[str, Band],
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for f, name in enumerate(record.findings):
        old, new = record.thresholds.get(name), thresholds.get(name)
        table[name] = {"before": _at(before, f, old), "after": _at(after, f, new)}
        if name in bands:
            pair = _within(before, f, record.bands.get(name)), _within(after, f, bands[name])
            table[name]["band"] = dict(zip(("before", "after"), pair, strict=True))
    return table


def _within(cases: CaseScores, finding: int, band: Band | None) -> dict[str, Any] | None:
    if band is None:
        return None
    label, score = cases.y_true[:, finding], cases.y_score[:, finding]
    known = ~label.isnan()
    ends = band.lower.value, band.upper.value
    counts = three_way_counts(label[known], score[known], *ends) if bool(known.any()) else None
    return {**band.as_json(), "counts": counts.as_json() if counts else None}


def _at(cases: CaseScores, finding: int, threshold: Threshold | None) -> dict[str, Any] | None:
    if threshold is None:
        return None
    label, score = cases.y_true[:, finding], cases.y_score[:, finding]
    known = ~label.isnan()
    if not bool(known.any()):
        return {"threshold": threshold.as_json(), "confusion": None}
    counts = confusion(label[known], score[known], threshold.value)
    return {"threshold": threshold.as_json(), "confusion": counts.as_json()}
