"""What a report says of a finding beyond its headline figures: decisions, calibration, utility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medres.metrics.brier import BrierParts, brier_parts
from medres.metrics.calibration_line import NAMES as LINE_FIGURES
from medres.metrics.calibration_line import line_coefficients, line_figures, logits_of
from medres.metrics.decision_curve import DecisionCurve, decision_curve
from medres.metrics.decision_measures import MEASURES
from medres.metrics.decisions import measure_figures
from medres.metrics.estimate import Estimate, Figure, UndefinedEstimate
from medres.metrics.fixed_rate import sensitivity_at_specificity, specificity_at_sensitivity
from medres.metrics.intervals import PatientGroups
from medres.metrics.operating_point import Confusion, Threshold, decision_indicators
from medres.metrics.predictive_values import predictive_values_at, predictive_values_from
from medres.metrics.subgroups import MINIMUM, SubgroupColumn, subgroup_analysis
from medres.metrics.three_way import Band, ThreeWay, evaluate_three_way


@dataclass(frozen=True)
class AskedDetails:
    """What else to report, where the caller knows it.

    Attributes:
        prevalence: of the target population, for predictive values and net benefit there.
        specificities: at which to give the sensitivity.
        sensitivities: at which to give the specificity.
        bands: scores that are left undecided, by finding.
        subgroups: (N,) values by column.
        intersections: sets of those columns to cross.
        minimum: rows of a class below which a subgroup's figure is not shown.
    """

    prevalence: float | None = None
    specificities: tuple[float, ...] = ()
    sensitivities: tuple[float, ...] = ()
    bands: Mapping[str, Band] = field(default_factory=dict)
    subgroups: Mapping[str, Sequence[object]] = field(default_factory=dict)
    intersections: Sequence[Sequence[str]] = ()
    minimum: int = MINIMUM


@dataclass(frozen=True)
class FindingDetails:
    """The rest of the evidence on one finding.

    Attributes:
        decisions: at the locked threshold: accuracy, balanced_accuracy, youden_index, f1_score,
            matthews_correlation, positive_ and negative_likelihood_ratio.
        elsewhere: "ppv" and "npv" at the target prevalence, or empty.
        prevalence: that of the target population, or None.
        net_benefit: of the model at the locked threshold, taken for a probability; or None.
        fixed: "sensitivity_at_specificity" and "specificity_at_sensitivity", by the rate held.
        calibration: calibration_slope, calibration_intercept, calibration_in_the_large.
        brier_parts: or None where the scores are no probabilities.
        decision_curve: or None where a class is absent or the scores are no probabilities.
        three_way: decisions with a band, or None.
        subgroups: one entry for each column asked for.
    """

    decisions: dict[str, Figure]
    elsewhere: dict[str, Figure]
    prevalence: float | None
    net_benefit: Figure | None
    fixed: dict[str, dict[str, Figure]]
    calibration: dict[str, Figure]
    brier_parts: BrierParts | None
    decision_curve: DecisionCurve | None
    three_way: ThreeWay | None
    subgroups: tuple[SubgroupColumn, ...]

    def as_json(self) -> dict[str, object]:
        """More keys of one entry of "findings" in `evaluation.json`."""
        return {
            **_as_json(self.decisions),
            **_as_json({"net_benefit": self.net_benefit} if self.net_benefit else {}),
            **_as_json(self.calibration),
            "brier_parts": self.brier_parts.as_json() if self.brier_parts else None,
            "at_prevalence": {"prevalence": self.prevalence, **_as_json(self.elsewhere)}
            if self.prevalence
            else None,
            **{name: _as_json(figures) for name, figures in self.fixed.items()},
            "three_way": self.three_way.as_json() if self.three_way else None,
            "decision_curve": self.decision_curve.as_json() if self.decision_curve else None,
            "subgroups": {column.column: column.as_json() for column in self.subgroups},
        }


def _as_json(figures: Mapping[str, Figure]) -> dict[str, object]:
    return {name: figure.as_json() for name, figure in figures.items()}


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """The labelled rows of one finding.

    Attributes:
        finding: its name.
        y_true: (N,) float64 in {0, 1}.
        y_score: (N,) float64, finite.
        patients: the patient of each row, numbered without gaps.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap, where patients repeat.
        seed: of the patient bootstrap.
        units: what a row is, in the plural.
    """

    finding: str
    y_true: Tensor
    y_score: Tensor
    patients: PatientGroups
    level: float
    resamples: int
    seed: int
    units: str

    @property
    def both_classes(self) -> bool:
        """Whether there is a positive and a negative row."""
        positive = int(self.y_true.sum())
        return 0 < positive < self.y_true.numel()

    @property
    def probabilities(self) -> bool:
        """Whether there are rows, and every score lies in [0, 1]."""
        inside = bool(((self.y_score >= 0) & (self.y_score <= 1)).all())
        return inside and self.y_true.numel() > 0


def labelled_rows(
    finding: str,
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    *,
    level: float,
    resamples: int,
    seed: int,
    units: str,
) -> LabelledRows:
    """Leave out rows without a label, and number the patients of the others anew.

    Args:
        finding: its name.
        y_true: (N,) float64, 0, 1 or NaN.
        y_score: (N,) float64.
        patients: the patient of each row.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        units: what a row is, in the plural.
    """
    given = ~y_true.isnan()
    unique, index = torch.unique(patients.index[given], return_inverse=True)
    groups = PatientGroups(index, len(unique))
    return LabelledRows(
        finding, y_true[given], y_score[given], groups, level, resamples, seed, units
    )


def finding_details(
    rows: LabelledRows,
    threshold: Threshold | None,
    asked: AskedDetails,
    subgroups: Mapping[str, Sequence[object]],
) -> FindingDetails:
    """Everything else about one finding.

    Args:
        rows: labelled.
        threshold: locked, or None.
        asked: what to report.
        subgroups: (N,) values of these rows by column.
    """
    band = asked.bands.get(rows.finding)
    decisions, elsewhere = _decisions(rows, threshold, asked.prevalence)
    useful = rows.both_classes and rows.probabilities
    return FindingDetails(
        decisions=decisions,
        elsewhere=elsewhere,
        prevalence=asked.prevalence,
        net_benefit=_net_benefit(rows, threshold) if useful else None,
        fixed=_fixed(rows, asked),
        calibration=_calibration(rows),
        brier_parts=brier_parts(rows.y_true, rows.y_score) if rows.probabilities else None,
        decision_curve=decision_curve(
            rows.y_true,
            rows.y_score,
            prevalence=asked.prevalence,
            level=rows.level,
            patient_ids=rows.patients.index,
        )
        if useful
        else None,
        three_way=evaluate_three_way(
            rows.y_true,
            rows.y_score,
            band,
            resamples=rows.resamples,
            units=rows.units,
            level=rows.level,
            patient_ids=rows.patients.index,
            seed=rows.seed,
        )
        if band and rows.y_true.numel()
        else None,
        subgroups=subgroup_analysis(
            rows.y_true,
            rows.y_score,
            subgroups,
            threshold=threshold.value if threshold else None,
            intersections=asked.intersections,
            minimum=asked.minimum,
            resamples=rows.resamples,
            units=rows.units,
            level=rows.level,
            patient_ids=rows.patients.index,
            seed=rows.seed,
        )
        if subgroups and rows.y_true.numel()
        else (),
    )


def _decisions(
    rows: LabelledRows, threshold: Threshold | None, prevalence: float | None
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Measures at the threshold, and predictive values elsewhere."""
    if threshold is None or not rows.y_true.numel():
        why = "no threshold is locked" if threshold is None else f"no labelled {rows.units}"
        nothing: Figure = UndefinedEstimate(why, rows.level)
        elsewhere = dict.fromkeys(("ppv", "npv"), nothing) if prevalence else {}
        return dict.fromkeys(MEASURES, nothing), elsewhere
    indicators = decision_indicators(rows.y_true, rows.y_score, threshold.value)
    figures = measure_figures(
        indicators,
        rows.patients,
        level=rows.level,
        resamples=rows.resamples,
        seed=rows.seed,
        units=rows.units,
    )
    if prevalence is None:
        return figures, {}
    if rows.patients.repeated:
        return figures, predictive_values_from(figures, prevalence)
    counts = Confusion(*(int(count) for count in indicators.sum(0).tolist()))
    return figures, predictive_values_at(counts, prevalence, level=rows.level, units=rows.units)


def _net_benefit(rows: LabelledRows, threshold: Threshold | None) -> Figure | None:
    """At the locked threshold, in the prevalence of these rows; None where it is no probability."""
    if threshold is None or not 0 < threshold.value < 1:
        return None
    curve = decision_curve(
        rows.y_true,
        rows.y_score,
        thresholds=(threshold.value,),
        level=rows.level,
        patient_ids=rows.patients.index,
    )
    (value,), (low,), (high,) = curve.model.value, curve.model.low, curve.model.high
    return Estimate(value, low, high, rows.level, curve.method.removesuffix("; pointwise"))


def _fixed(rows: LabelledRows, asked: AskedDetails) -> dict[str, dict[str, Figure]]:
    if not rows.both_classes:
        return {}
    figures: dict[str, dict[str, Figure]] = {}
    for name, metric, rates in (
        ("sensitivity_at_specificity", sensitivity_at_specificity, asked.specificities),
        ("specificity_at_sensitivity", specificity_at_sensitivity, asked.sensitivities),
    ):
        at = {
            f"{rate:g}": metric(
                rows.y_true,
                rows.y_score,
                rate,
                level=rows.level,
                patient_ids=rows.patients.index,
                resamples=rows.resamples,
                seed=rows.seed,
            )
            for rate in rates
        }
        if at:
            figures[name] = dict(at)
    return figures


def _calibration(rows: LabelledRows) -> dict[str, Figure]:
    if not rows.probabilities:
        why = "scores that are no probabilities" if rows.y_true.numel() else "no labelled rows"
        return dict.fromkeys(LINE_FIGURES, UndefinedEstimate(why, rows.level, "Wald"))
    coefficients = line_coefficients(rows.y_true, logits_of(rows.y_score), rows.patients)
    figures = line_figures(coefficients.tolist(), rows.patients, rows.level, rows.units)
    return dict(zip(LINE_FIGURES, figures, strict=True))
