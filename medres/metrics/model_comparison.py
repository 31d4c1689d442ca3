"""Two models on the same rows, figure by figure and finding by finding, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from medres.errors import MetricInputError, UndefinedMetricError
from medres.metrics.comparison import Comparison, bootstrap_difference, compare_aurocs, holm
from medres.metrics.estimate import LEVEL
from medres.metrics.inputs import ArrayLike, as_tensors
from medres.metrics.intervals import RESAMPLES, patient_groups
from medres.metrics.operating_point import Threshold
from medres.metrics.paired_decisions import compare_decisions
from medres.metrics.weighted import WeightedMetric, at_threshold

Measure = Literal["sensitivity", "specificity"]
MEASURES: tuple[Measure, ...] = ("sensitivity", "specificity")
FIGURES = ("auroc", "average_precision", "brier_score", *MEASURES)


@dataclass(frozen=True)
class ModelComparison:
    """Differences of two models, first − second.

    Attributes:
        findings: for each finding, each of `FIGURES` as a Comparison or the reason why it is none.
        adjusted: Holm's p-values over the findings, by finding and figure, where it is one.
    """

    findings: dict[str, dict[str, Comparison | str]]
    adjusted: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, object]:
        """The entry "comparison" of `evaluation.json`."""
        return {
            name: {
                figure: {"undefined": result}
                if isinstance(result, str)
                else {**result.as_json(), "p_holm": self.adjusted[name][figure]}
                for figure, result in figures.items()
            }
            for name, figures in self.findings.items()
        }


def compare_models(
    y_true: ArrayLike,
    first_score: ArrayLike,
    second_score: ArrayLike,
    findings: Sequence[str],
    *,
    first_thresholds: Mapping[str, Threshold] | None = None,
    second_thresholds: Mapping[str, Threshold] | None = None,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ModelComparison:
    """Compare AUROC, average precision, Brier score and decisions, with Holm over the findings.

    AUROC: DeLong's paired test, with Obuchowski's variance where patients repeat. Sensitivity and
    specificity: McNemar's exact test, or the patient bootstrap where patients repeat. The others:
    patient bootstrap.

    Args:
        y_true: (N, F) or (N,) labels: 0, 1, or NaN = missing.
        first_score: the same shape; of the first model.
        second_score: the same shape; of the second.
        findings: F names.
        first_thresholds: locked, by finding.
        second_thresholds: of the second model.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.

    Raises:
        MetricInputError: shapes differ or do not fit the names, a label is not 0, 1 or NaN, a score
            with a label is not finite.
    """
    label, first = as_tensors(y_true, first_score)
    _, second = as_tensors(label, second_score)
    label, first, second = (a[:, None] if a.ndim == 1 else a for a in (label, first, second))
    if label.shape[1] != len(findings):
        raise MetricInputError(
            f"y_true has {label.shape[1]} columns for the findings {list(findings)}; give one a "
            "finding"
        )
    patients = patient_groups(patient_ids, len(label), label.device)
    results = {}
    for f, name in enumerate(findings):
        given = ~label[:, f].isnan()
        rows = _Rows(
            label[given, f], first[given, f], second[given, f], patients.index[given],
            level, resamples, seed,
        )  # fmt: skip
        results[name] = rows.compare(
            (first_thresholds or {}).get(name), (second_thresholds or {}).get(name)
        )
    return ModelComparison(results, _adjust(results))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Labelled rows of one finding."""

    label: Tensor
    first: Tensor
    second: Tensor
    patient: Tensor
    level: float
    resamples: int
    seed: int

    def compare(
        self, first: Threshold | None, second: Threshold | None
    ) -> dict[str, Comparison | str]:
        results: dict[str, Comparison | str] = {
            "auroc": _attempt(
                lambda: compare_aurocs(
                    self.label,
                    self.first,
                    self.second,
                    level=self.level,
                    patient_ids=self.patient,
                )
            ),
            "average_precision": _attempt(lambda: self._drawn("average_precision")),
            "brier_score": _attempt(lambda: self._drawn("brier_score"))
            if self._probabilities
            else "scores outside [0, 1] are no probabilities",
        }
        if first is None or second is None:
            return results | dict.fromkeys(MEASURES, "a model has no threshold")
        for measure in MEASURES:
            results[measure] = _attempt(
                partial(self._decisions, measure, first.value, second.value)
            )
        return results

    def _drawn(
        self,
        metric: Literal["average_precision", "brier_score"] | WeightedMetric,
        second: WeightedMetric | None = None,
    ) -> Comparison:
        return bootstrap_difference(
            self.label,
            self.first,
            self.second,
            metric,
            second_metric=second,
            level=self.level,
            patient_ids=self.patient,
            resamples=self.resamples,
            seed=self.seed,
        )

    @property
    def _probabilities(self) -> bool:
        scores = torch.stack([self.first, self.second])
        return bool(((scores >= 0) & (scores <= 1)).all())

    def _decisions(self, measure: Measure, first: float, second: float) -> Comparison:
        if len(torch.unique(self.patient)) < self.patient.numel():
            return self._drawn(at_threshold(measure, first), at_threshold(measure, second))
        return compare_decisions(
            self.label,
            self.first,
            self.second,
            first,
            second,
            measure=measure,
            level=self.level,
        )


def _attempt(compare: Callable[[], Comparison]) -> Comparison | str:
    try:
        return compare()
    except UndefinedMetricError as error:
        return str(error)


def _adjust(
    results: Mapping[str, Mapping[str, Comparison | str]],
) -> dict[str, dict[str, float]]:
    adjusted: dict[str, dict[str, float]] = {name: {} for name in results}
    for figure in FIGURES:
        tests = {
            name: test.p_value
            for name, figures in results.items()
            if isinstance(test := figures[figure], Comparison)
        }
        for name, p in zip(tests, holm(list(tests.values())), strict=True):
            adjusted[name][figure] = p
    return adjusted
