"""Labelled images, scored: image by image, and combined to the cases that are judged."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from medres.config import EvaluationConfig
from medres.data.manifest import Manifest, ManifestRow
from medres.errors import UndefinedMetricError
from medres.files import write_text
from medres.metrics.aggregation import CombinedScores, combine_scores
from medres.metrics.evaluation import evaluate
from medres.metrics.finding_details import AskedDetails
from medres.metrics.operating_point import Threshold, choose_threshold
from medres.metrics.three_way import Band, choose_band

Unit = Literal["patient", "study", "image"]


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scored rows of a manifest.

    Attributes:
        manifest: that the rows are of.
        rows: N of them.
        y_score: (N, F) probabilities, float64.
        untempered: (N, F) the same before temperature scaling; None where there was none.
    """

    manifest: Manifest
    rows: tuple[ManifestRow, ...]
    y_score: Tensor
    untempered: Tensor | None = None

    @property
    def y_true(self) -> Tensor:
        """(N, F) labels in {0, 1, NaN}, float64, on the scores' device."""
        labels = [row.labels for row in self.rows]
        return torch.tensor(labels, dtype=torch.float64, device=self.y_score.device)

    def combine(self, unit: Unit) -> CaseScores:
        """Combine images to the cases that are judged; see `medres.metrics.aggregation`."""
        patients = [row.patient_id for row in self.rows]
        studies = [row.study_instance_uid for row in self.rows]
        combined = combine_scores(
            self.y_true,
            self.y_score,
            patient_ids=patients,
            study_ids=studies,
            unit="patient" if unit == "image" else unit,
        )
        counts = {
            "patients": combined.n_patients,
            "studies": combined.n_studies if any(studies) else None,
            "images": combined.n_images,
        }
        if unit == "image":
            single = tuple((k,) for k in range(len(patients)))
            return CaseScores(unit, tuple(patients), self.y_true, self.y_score, counts, single)
        return CaseScores(
            unit,
            combined.patient_ids,
            combined.y_true,
            combined.y_score,
            counts,
            images_of_cases(combined, patients, studies),
        )

    def write_csv(self, path: Path) -> None:
        """One row an image: its address, patient, study, and each finding with its score.

        Scores before temperature scaling follow, where there was one.
        """
        findings = self.manifest.schema.findings
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        scores, shown = [f"{name}_score" for name in findings], self.y_score
        if self.untempered is not None:
            scores += [f"{name}_untempered" for name in findings]
            shown = torch.cat([self.y_score, self.untempered], dim=1)
        table.writerow(["image", "frame", "patient_id", "study_instance_uid", *findings, *scores])
        for row, values in zip(self.rows, shown.tolist(), strict=True):
            labels = ["" if math.isnan(label) else f"{label:g}" for label in row.labels]
            identity = [row.image, row.frame, row.patient_id, row.study_instance_uid]
            table.writerow([*identity, *labels, *(f"{value:.9g}" for value in values)])
        write_text(path, stream.getvalue())


def images_of_cases(
    combined: CombinedScores, patients: Sequence[str], studies: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Rows of each case, in the order of the cases.

    Args:
        combined: of the rows.
        patients: of each row.
        studies: of each row, "" = one of its own.
    """
    by_case: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k, (patient, study) in enumerate(zip(patients, studies, strict=True)):
        by_case[patient, study if combined.unit == "study" else patient].append(k)
    taken: dict[tuple[str, str], int] = defaultdict(int)
    cases = []
    for patient, unit_id in zip(combined.patient_ids, combined.unit_ids, strict=True):
        rows = by_case[patient, unit_id]
        if unit_id:
            cases.append(tuple(rows))
        else:  # an image without a study id is a study of its own
            cases.append((rows[taken[patient, unit_id]],))
            taken[patient, unit_id] += 1
    return tuple(cases)


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Labels and scores of cases; a case is an image, a study or a patient.

    Attributes:
        unit: what one case is.
        patient_ids: (N,) the patient of each case.
        y_true: (N, F) in {0, 1, NaN}; NaN = missing.
        y_score: (N, F) probabilities.
        counts: patients, studies (None where none is named) and images that went in.
        images: (N,) which rows of the image scores each case is made of.
    """

    unit: Unit
    patient_ids: tuple[str, ...]
    y_true: Tensor
    y_score: Tensor
    counts: Mapping[str, int | None]
    images: tuple[tuple[int, ...], ...] = ()

    def groups(self, of_image: Sequence[str]) -> list[str]:
        """The value of each case from those of its images; empty where they differ or have none.

        Args:
            of_image: a value for each image row, "" = not stated.
        """
        found = [{of_image[k] for k in rows if of_image[k]} for rows in self.images]
        return [values.pop() if len(values) == 1 else "" for values in found]

    def choose_thresholds(
        self, findings: Sequence[str], asked: EvaluationConfig, *, split: str = "validation"
    ) -> tuple[dict[str, Threshold], list[str]]:
        """A threshold a finding, chosen on these cases by the rule that is asked for.

        Args:
            findings: names of the columns.
            asked: the rule and its figures.
            split: what these cases are, for the thresholds' record.

        Returns:
            The thresholds, and a sentence for each finding that gets none.
        """
        targets = {
            "sensitivity_at_least": asked.sensitivity,
            "specificity_at_least": asked.specificity,
        }
        of_cost = asked.threshold_rule == "cost"
        thresholds, without = {}, []
        for index, name in enumerate(findings):
            known = ~self.y_true[:, index].isnan()
            try:
                thresholds[name] = choose_threshold(
                    self.y_true[known, index],
                    self.y_score[known, index],
                    rule=asked.threshold_rule,
                    target=targets.get(asked.threshold_rule),
                    target_by=asked.target_by,
                    miss_cost=asked.miss_cost if of_cost else None,
                    prevalence=asked.prevalence if of_cost else None,
                    split=split,
                )
            except UndefinedMetricError as error:
                without.append(f"{name}: no threshold was locked: {error}.")
        return thresholds, without

    def choose_bands(
        self, findings: Sequence[str], asked: EvaluationConfig, *, split: str = "validation"
    ) -> tuple[dict[str, Band], list[str]]:
        """A band a finding, chosen on these cases; none where none is asked for.

        Args:
            findings: names of the columns.
            asked: the band's sensitivity and specificity.
            split: what these cases are, for the bands' record.

        Returns:
            The bands, and a sentence for each finding that gets none.
        """
        bands: dict[str, Band] = {}
        without: list[str] = []
        if asked.band is None:
            return bands, without
        sensitivity, specificity = asked.band
        for index, name in enumerate(findings):
            known = ~self.y_true[:, index].isnan()
            try:
                bands[name] = choose_band(
                    self.y_true[known, index],
                    self.y_score[known, index],
                    sensitivity=sensitivity,
                    specificity=specificity,
                    target_by=asked.target_by,
                    split=split,
                )
            except UndefinedMetricError as error:
                without.append(f"{name}: no band was locked: {error}.")
        return bands, without

    def evaluate(
        self,
        findings: Sequence[str],
        thresholds: Mapping[str, Threshold],
        *,
        kind: Literal["binary", "multilabel", "multiclass"],
        asked: AskedDetails | None = None,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Every figure of these cases, as `evaluation.json` holds them."""
        report = evaluate(
            self.y_true,
            self.y_score,
            findings=findings,
            patient_ids=self.patient_ids,
            thresholds=thresholds,
            kind=kind,
            unit=self.unit,
            asked=asked,
            seed=seed,
        )
        return {**report.as_json(), "n": dict(self.counts)}
