"""The whole evidence in one call: every finding, the macro mean, intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError
from medres.metrics.estimate import LEVEL
from medres.metrics.finding_details import (
    AskedDetails,
    FindingDetails,
    LabelledRows,
    finding_details,
    labelled_rows,
)
from medres.metrics.finding_evaluation import FindingEvaluation, evaluate_finding
from medres.metrics.finding_rows import prepare_finding
from medres.metrics.inputs import ArrayLike, as_tensors, check_counts
from medres.metrics.intervals import (
    RESAMPLES,
    PatientGroups,
    patient_bootstrap,
    patient_groups,
)
from medres.metrics.macro import MacroEvaluation, evaluate_macro
from medres.metrics.micro import MicroEvaluation, evaluate_micro
from medres.metrics.multiclass import (
    MulticlassEvaluation,
    evaluate_multiclass,
    prepare_multiclass,
)
from medres.metrics.operating_point import Threshold

Kind = Literal["binary", "multilabel", "multiclass"]

FEW = 10
"""Below so many positives or negatives, intervals cover less than they say (docs/coverage.md)."""

PLURALS = {"patient": "patients", "study": "studies", "image": "images"}


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that was measured on one labelled set.

    Attributes:
        unit: what a row is: "patient", "study" or "image".
        n_patients: patients in the set.
        n_studies: studies, or None where the caller did not say.
        n_images: images, or None likewise.
        findings: one entry for each, in the order given.
        macro: mean over findings.
        micro: all findings pooled, or None for one finding and for other kinds.
        multiclass: decisions by the highest score, or None for other kinds.
        notes: what a reader must know to read the figures, as sentences.
    """

    unit: str
    n_patients: int
    n_studies: int | None
    n_images: int | None
    findings: tuple[FindingEvaluation, ...]
    macro: MacroEvaluation
    micro: MicroEvaluation | None = None
    multiclass: MulticlassEvaluation | None = None
    notes: tuple[str, ...] = ()

    def __getitem__(self, finding: str) -> FindingEvaluation:
        """The evaluation of one finding by name.

        Raises:
            KeyError: no such finding.
        """
        return {entry.finding: entry for entry in self.findings}[finding]

    def as_json(
        self,
        *,
        dataset: Mapping[str, object] | None = None,
        model: Mapping[str, object] | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> dict[str, object]:
        """The content of `evaluation.json`, schema medres.evaluation/1.

        Args:
            dataset: what was evaluated on, known to the caller only.
            model: what was evaluated.
            provenance: versions, seed, digests.
        """
        micro = {"micro": self.micro.as_json()} if self.micro else {}
        multiclass = {"multiclass": self.multiclass.as_json()} if self.multiclass else {}
        return {
            "schema": "medres.evaluation/1",
            "unit": self.unit,
            "n": {
                "patients": self.n_patients,
                "studies": self.n_studies,
                "images": self.n_images,
            },
            "dataset": dict(dataset or {}),
            "findings": {entry.finding: entry.as_json() for entry in self.findings},
            "macro": self.macro.as_json(),
            **micro,
            **multiclass,
            "notes": list(self.notes),
            "model": dict(model or {}),
            "provenance": dict(provenance or {}),
        }


def evaluate(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    findings: Sequence[str],
    patient_ids: ArrayLike | None = None,
    thresholds: Mapping[str, Threshold] | None = None,
    kind: Kind = "multilabel",
    unit: Literal["patient", "study", "image"] | None = None,
    n_studies: int | None = None,
    n_images: int | None = None,
    asked: AskedDetails | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> EvaluationReport:
    """Evaluate scores against labels, per finding, macro and micro.

    Where each patient contributes one labelled row to a finding, its AUROC has Newcombe's interval
    (DeLong's stands beside it) and its proportions Wilson's; where patients contribute several,
    every interval is the patient bootstrap's (DeLong's is Obuchowski's). Average precision, Brier
    score, calibration error and the macro means always take the patient bootstrap, from the same
    resamples. Thresholds are used as given, never chosen.

    Args:
        y_true: (N, F) or, for one finding, (N,) labels: 0, 1, or NaN = missing. One-hot (or all
            NaN) rows for "multiclass".
        y_score: the same shape; finite wherever the label is given. Probabilities in [0, 1], or
            any scale, of which Brier score and calibration are then undefined.
        findings: F names; for "multiclass" the classes, evaluated one against the rest.
        patient_ids: (N,) strings or integers; None: each row counts as a patient.
        thresholds: locked thresholds by finding; findings without one get no operating point.
        kind: what the columns are to each other.
        unit: what a row is; by default "patient" where each patient has one row, else "image".
        n_studies: behind the rows, for the report.
        n_images: behind the rows, for the report; the rows themselves where `unit` is "image".
        asked: a target prevalence, fixed rates, bands, subgroups; None: none of these.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Returns:
        EvaluationReport; what the labels do not define stands there with its reason.

    Raises:
        MetricInputError: shapes differ or do not fit the names, names repeat, a label is not 0, 1
            or NaN, a score with a label is not finite, rows of "multiclass" are not one-hot, a
            threshold for an unknown finding.
        UndefinedMetricError: there are no rows.
    """
    label, score = _checked_table(y_true, y_score, findings, thresholds or {}, kind)
    _check_asked(asked or AskedDetails(), findings, len(label))
    patients = patient_groups(patient_ids, len(label), label.device)
    unit = unit or ("image" if patients.repeated else "patient")
    # One finding after the other: each sees the same resamples, and memory stays that of one.
    entries, blocks = [], []
    for f, name in enumerate(findings):
        threshold = (thresholds or {}).get(name)
        part = prepare_finding(name, label[:, f], score[:, f], patients, threshold)
        block = patient_bootstrap(part.statistics, patients, resamples=resamples, seed=seed)
        entry = evaluate_finding(part, block, level=level, units=PLURALS[unit])
        details = _details(
            labelled_rows(
                name, label[:, f], score[:, f], patients,
                level=level, resamples=resamples, seed=seed, units=PLURALS[unit],
            ),
            ~label[:, f].isnan(),
            threshold,
            asked or AskedDetails(),
        )  # fmt: skip
        entries.append(replace(entry, details=details))
        blocks.append(block)
    return EvaluationReport(
        unit=unit,
        n_patients=patients.n,
        n_studies=len(label) if unit == "study" else n_studies,
        n_images=len(label) if unit == "image" else n_images,
        findings=tuple(entries),
        macro=evaluate_macro(entries, blocks, level),
        micro=evaluate_micro(
            label,
            score,
            patients,
            thresholds or {},
            findings,
            level=level,
            resamples=resamples,
            seed=seed,
        )
        if kind == "multilabel" and len(findings) > 1
        else None,
        multiclass=_classes(label, score, patients, findings, level, resamples, seed)
        if kind == "multiclass"
        else None,
        notes=_notes(entries, PLURALS[unit], patient_ids is not None),
    )


def _details(
    rows: LabelledRows, given: Tensor, threshold: Threshold | None, asked: AskedDetails
) -> FindingDetails:
    kept = given.tolist()
    subgroups = {column: list(compress(values, kept)) for column, values in asked.subgroups.items()}
    return finding_details(rows, threshold, asked, subgroups)


def _check_asked(asked: AskedDetails, findings: Sequence[str], n_rows: int) -> None:
    if unknown := sorted(set(asked.bands) - set(findings)):
        raise MetricInputError(
            f"bands for unknown findings {unknown}; the findings are {list(findings)}"
        )
    for column, values in asked.subgroups.items():
        if len(values) != n_rows:
            raise MetricInputError(
                f"subgroup column {column!r} has {len(values)} values; give one for each of "
                f"{n_rows} rows"
            )


def _checked_table(
    y_true: ArrayLike,
    y_score: ArrayLike,
    findings: Sequence[str],
    thresholds: Mapping[str, Threshold],
    kind: Kind,
) -> tuple[Tensor, Tensor]:
    """Labels and scores (N, F), every given label 0 or 1 and its score finite."""
    label, score = as_tensors(y_true, y_score)
    label, score = (a[:, None] if a.ndim == 1 else a for a in (label, score))
    if isinstance(findings, str) or label.ndim != 2 or label.shape[1] != len(findings):
        raise MetricInputError(
            f"y_true has shape {tuple(label.shape)} for findings {findings!r}; "
            "give a list of names, one for each column"
        )
    if len(set(findings)) < len(findings):
        raise MetricInputError(
            f"findings {list(findings)} repeat a name; each column needs its own"
        )
    if unknown := sorted(set(thresholds) - set(findings)):
        raise MetricInputError(
            f"thresholds for unknown findings {unknown}; the findings are {list(findings)}"
        )
    if kind not in ("binary", "multilabel", "multiclass"):
        raise MetricInputError(
            f"kind {kind!r} is unknown; choose 'binary', 'multilabel' or 'multiclass'"
        )
    given = ~label.isnan()
    strange_labels = (given & (label != 0) & (label != 1)).sum()
    strange_scores = (given & ~score.isfinite()).sum()
    not_one_hot = ((label.sum(1) != 1) & given.any(1)).sum()
    counts = torch.stack([strange_labels, strange_scores, not_one_hot]).tolist()
    check_counts(counts[0], counts[1], label.numel())
    if kind == "multiclass" and counts[2]:
        raise MetricInputError(
            f"{counts[2]} of {len(label)} rows of y_true are not one-hot over {len(findings)} "
            "classes; give each row one class (or all NaN), and evaluate by study where the "
            "studies of a patient differ"
        )
    return label, score


def _classes(
    label: Tensor,
    score: Tensor,
    patients: PatientGroups,
    classes: Sequence[str],
    level: float,
    resamples: int,
    seed: int,
) -> MulticlassEvaluation:
    rows = prepare_multiclass(label, score, patients)
    samples = patient_bootstrap(rows.statistics, patients, resamples=resamples, seed=seed)
    return evaluate_multiclass(rows, samples, classes, level=level)


def _notes(
    entries: Sequence[FindingEvaluation], units: str, patient_ids_given: bool
) -> tuple[str, ...]:
    notes = []
    if not patient_ids_given:
        notes.append("No patient ids were given: each row counts as a patient of its own.")
    for entry in entries:
        if entry.n_missing:
            notes.append(
                f"{entry.finding}: left out for want of a label: {entry.n_missing} {units}."
            )
        fewer = min(entry.n_positive, entry.n - entry.n_positive)
        if 0 < fewer < FEW:
            scarce = "positive" if entry.n_positive == fewer else "negative"
            notes.append(
                f"{entry.finding}: only {fewer} {scarce} {units}; intervals from so few cover less "
                "than their stated level."
            )
    return tuple(notes)
