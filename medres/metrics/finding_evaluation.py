"""Everything that a report says about one finding: its figures and curves.

All come from one sort of its rows and one set of resamples of them, see `finding_rows`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.auroc_intervals import (
    NEWCOMBE,
    auroc_estimate,
    clustered_auroc_estimate,
)
from medres.metrics.calibration import (
    BINS,
    NOT_PROBABILITIES,
    ReliabilityCurve,
    calibration_error_estimate,
    chance_error,
    reliability_from_bins,
)
from medres.metrics.curve_bands import CurveBand, bands_of
from medres.metrics.curves import (
    PrecisionRecallCurve,
    RocCurve,
    ScoreHistogram,
    precision_recall_curve,
    roc_curve,
    score_histogram,
)
from medres.metrics.estimate import Figure, UndefinedEstimate
from medres.metrics.finding_details import FindingDetails
from medres.metrics.finding_rows import COLUMNS, PROPORTIONS, STATISTICS, FindingRows
from medres.metrics.intervals import (
    BootstrapInterval,
    bootstrap_estimate,
    clustered_proportion,
    patient_groups,
    percentile_intervals,
    wilson,
    wilson_bounds,
)
from medres.metrics.operating_point import (
    UNDEFINED_BECAUSE,
    Confusion,
    Threshold,
)
from medres.metrics.placements import clustered_variance, delong_area
from medres.metrics.ranking import (
    average_precision_estimate,
    patients_by_class,
)
from medres.metrics.threshold_steps import ThresholdSteps, threshold_steps

RANKING = ("auroc", "auroc_delong", "average_precision")
FIGURES = (*RANKING, *STATISTICS[2:], *PROPORTIONS)
"""What a finding reports: the columns, and the AUROC once more with DeLong's interval beside it."""


@dataclass(frozen=True)
class FindingEvaluation:
    """The evidence on one finding.

    Attributes:
        finding: its name.
        n: labelled rows.
        n_positive: rows with the finding.
        n_missing: rows without a label, left out of everything here.
        figures: prevalence, auroc, auroc_delong, average_precision, brier_score,
            expected_calibration_error, sensitivity, specificity, ppv, npv; each an Estimate, or the
            reason why there is none.
        threshold: the locked threshold, or None.
        confusion: counts at that threshold, or None.
        roc: the curve, or None where a class is absent.
        precision_recall: the curve, or None where a class is absent.
        reliability: the curve, or None where the scores are no probabilities.
        scores: histogram of the scores, or None without rows.
        thresholds: counts at every threshold that a reader may set, or None without rows.
        bands: of roc and of precision_recall, or None where there is none.
        details: decisions, calibration line, utility and subgroups, or None.
    """

    finding: str
    n: int
    n_positive: int
    n_missing: int
    figures: dict[str, Figure]
    threshold: Threshold | None
    confusion: Confusion | None
    roc: RocCurve | None
    precision_recall: PrecisionRecallCurve | None
    reliability: ReliabilityCurve | None
    scores: ScoreHistogram | None
    thresholds: ThresholdSteps | None = None
    bands: tuple[CurveBand, CurveBand] | None = None
    details: FindingDetails | None = None

    @property
    def defined(self) -> bool:
        """Whether both classes are there, so that it can be ranked."""
        return 0 < self.n_positive < self.n

    def as_json(self) -> dict[str, object]:
        """One entry of "findings" in `evaluation.json`."""
        figure = {name: self.figures[name].as_json() for name in FIGURES}
        curves = {
            "roc": self.roc,
            "precision_recall": self.precision_recall,
            "reliability": self.reliability,
            "scores": self.scores,
            "thresholds": self.thresholds,
        }
        return {
            "n": self.n,
            "n_positive": self.n_positive,
            "n_missing": self.n_missing,
            "prevalence": figure.pop("prevalence"),
            **{name: figure.pop(name) for name in (*RANKING, *STATISTICS[2:])},
            "threshold": self.threshold.as_json() if self.threshold else None,
            "confusion": self.confusion.as_json() if self.confusion else None,
            **figure,
            **(self.details.as_json() if self.details else {}),
            "curves": {
                **{name: curve.as_json() if curve else None for name, curve in curves.items()},
                "bands": {
                    "roc": self.bands[0].as_json(),
                    "precision_recall": self.bands[1].as_json(),
                }
                if self.bands
                else None,
            },
        }


def evaluate_finding(
    rows: FindingRows, samples: Tensor, *, level: float, units: str
) -> FindingEvaluation:
    """Turn sums and resamples into figures and curves.

    Args:
        rows: of the finding.
        samples: (resamples, WIDTH) of `FindingRows.statistics`.
        level: confidence level in (0, 1).
        units: what a row is, in the plural, for reasons: "patients", "images".
    """
    n = rows.y_true.numel()
    if n == 0:
        return _without_rows(rows, level, units)
    whole = torch.ones((1, rows.patients.n), dtype=samples.dtype, device=samples.device)
    values = rows.statistics(whole)[0]
    counts = [int(c) for c in rows.columns[:, 1:7].sum(0)[[0, 2, 3, 4, 5]].tolist()]
    n_positive, decisions = counts[0], Confusion(*counts[1:])
    both = 0 < n_positive < n
    probabilities = bool(((rows.y_score >= 0) & (rows.y_score <= 1)).all())
    drawn = _Drawn(rows, values, samples, level, units)
    figures = drawn.ranking(n_positive) | drawn.calibration(probabilities)
    figures |= drawn.proportions(n_positive, n, decisions)
    return FindingEvaluation(
        finding=rows.finding,
        n=n,
        n_positive=n_positive,
        n_missing=rows.n_missing,
        figures=figures,
        threshold=rows.threshold,
        confusion=decisions if rows.threshold else None,
        roc=roc_curve(rows.y_true, rows.y_score) if both else None,
        precision_recall=precision_recall_curve(rows.y_true, rows.y_score) if both else None,
        reliability=drawn.reliability() if probabilities else None,
        scores=score_histogram(rows.y_true, rows.y_score, probabilities=probabilities),
        thresholds=threshold_steps(
            rows.y_true,
            rows.y_score,
            probabilities=probabilities,
            independent=rows.is_patient_level,
            locked=rows.threshold.value if rows.threshold else None,
        ),
        bands=bands_of(drawn.intervals[len(COLUMNS) + BINS :]) if both else None,
    )


def _without_rows(rows: FindingRows, level: float, units: str) -> FindingEvaluation:
    reason = UndefinedEstimate(UNDEFINED_BECAUSE["prevalence"].format(unit=units), level)
    return FindingEvaluation(
        rows.finding,
        n=0,
        n_positive=0,
        n_missing=rows.n_missing,
        figures=dict.fromkeys(FIGURES, reason),
        threshold=rows.threshold,
        confusion=None,
        roc=None,
        precision_recall=None,
        reliability=None,
        scores=None,
    )


class _Drawn:
    """Values of one finding with their resamples, and the rules for which interval holds."""

    def __init__(
        self, rows: FindingRows, values: Tensor, samples: Tensor, level: float, units: str
    ) -> None:
        self.rows, self.level, self.units = rows, level, units
        self.values = values.tolist()
        self.intervals = percentile_intervals(samples, level)
        self.aurocs = samples[:, COLUMNS.index("auroc")]
        self.patient_level = rows.is_patient_level

    def _drawn(self, name: str) -> tuple[float, BootstrapInterval]:
        column = COLUMNS.index(name)
        return self.values[column], self.intervals[column]

    def ranking(self, n_positive: int) -> dict[str, Figure]:
        rows, level = self.rows, self.level
        n_negative = rows.y_true.numel() - n_positive
        if not (n_positive and n_negative):
            reason = f"no {'negative' if n_positive else 'positive'} {self.units}"
            drawn = "patient bootstrap"
            return {
                "auroc": UndefinedEstimate(
                    reason, level, NEWCOMBE if self.patient_level else drawn
                ),
                "auroc_delong": UndefinedEstimate(reason, level, "DeLong"),
                "average_precision": UndefinedEstimate(reason, level, drawn),
            }
        by_class = patients_by_class(rows.y_true, rows.patients.index, rows.patients.n)
        m, n = (int(count) for count in by_class.tolist())
        area = self._drawn("auroc")
        if self.patient_level:
            variance = float(delong_area(rows.y_true, rows.y_score).variance)
            auroc = auroc_estimate(area[0], variance, m, n, level)
        else:
            variance = float(clustered_variance(rows.y_true, rows.y_score, rows.patients))
            auroc = clustered_auroc_estimate(area[0], self.aurocs, m, n, level)
        clustered = not self.patient_level
        delong = auroc_estimate(area[0], variance, m, n, level, "DeLong", clustered=clustered)
        precision = average_precision_estimate(*self._drawn("average_precision"), m, n, level)
        return {"auroc": auroc, "auroc_delong": delong, "average_precision": precision}

    def calibration(self, probabilities: bool) -> dict[str, Figure]:
        names = ("brier_score", "expected_calibration_error")
        if not probabilities:
            undefined = UndefinedEstimate(NOT_PROBABILITIES, self.level, "patient bootstrap")
            return dict.fromkeys(names, undefined)
        brier, error = (self._drawn(name) for name in names)
        return {
            names[0]: bootstrap_estimate(*brier, self.level),
            names[1]: calibration_error_estimate(*error, self._chance_error(), self.level),
        }

    def _chance_error(self) -> float:
        label, score = self.rows.y_true, self.rows.y_score
        alone = patient_groups(None, label.numel(), label.device)
        patients = alone if self.patient_level else self.rows.patients
        bins = self.rows.columns[:, 7:]
        return float(chance_error(label, score, bins, patients, level=self.level))

    def proportions(self, n_positive: int, n: int, counts: Confusion) -> dict[str, Figure]:
        tp, fp, tn, fn = counts.tp, counts.fp, counts.tn, counts.fn
        shares = {
            "prevalence": (n_positive, n),
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, tn + fp),
            "ppv": (tp, tp + fp),
            "npv": (tn, tn + fn),
        }
        patients = dict(zip(PROPORTIONS, self._patients_in_denominators(), strict=True))
        figures: dict[str, Figure] = {}
        for name, (successes, total) in shares.items():
            method = "Wilson" if self.patient_level else "patient bootstrap"
            if name != "prevalence" and self.rows.threshold is None:
                figures[name] = UndefinedEstimate("no threshold is locked", self.level, method)
            elif total == 0:
                reason = UNDEFINED_BECAUSE[name].format(unit=self.units)
                figures[name] = UndefinedEstimate(reason, self.level, method)
            elif self.patient_level:
                figures[name] = wilson(successes, total, self.level)
            else:
                figures[name] = clustered_proportion(*self._drawn(name), patients[name], self.level)
        return figures

    def _patients_in_denominators(self) -> list[int]:
        """Patients with a row in the denominator of each of PROPORTIONS."""
        n, positive, _, tp, fp, tn, fn = self.rows.columns[:, :7].unbind(1)
        member = torch.stack([n, positive, n - positive, tp + fp, tn + fn], dim=1)
        return [int(count) for count in self._patients_with(member).tolist()]

    def _patients_with(self, member: Tensor) -> Tensor:
        """(K,) patients with a row where member (N, K) is 1."""
        index = self.rows.patients.index[:, None].expand(member.shape)
        start = member.new_zeros((self.rows.patients.n, member.shape[1]))
        return start.scatter_reduce(0, index, member, "amax").sum(0)

    def reliability(self) -> ReliabilityCurve:
        bins = self.rows.columns[:, 7:]
        count, _, positive = bins.sum(0).chunk(3)
        if self.patient_level:
            low, high = wilson_bounds(positive, count, self.level)
            return reliability_from_bins(bins.sum(0), low, high)
        patients = self._patients_with(bins[:, :BINS])
        wilson_low, wilson_high = wilson_bounds(positive / count * patients, patients, self.level)
        drawn = self.intervals[len(COLUMNS) : len(COLUMNS) + BINS]
        low, high = (
            count.new_tensor([torch.nan if limit is None else limit for limit in limits])
            for limits in ([i.low for i in drawn], [i.high for i in drawn])
        )
        agree = ~(low < high)
        low, high = torch.where(agree, wilson_low, low), torch.where(agree, wilson_high, high)
        return reliability_from_bins(bins.sum(0), low, high)
