"""Every figure of the decisions at a threshold, from rows, whose patients may repeat."""

from __future__ import annotations

import torch
from torch import Tensor

from medres.metrics.by_finding import each_finding
from medres.metrics.decision_measures import clustered_decision_figures, decision_figures
from medres.metrics.estimate import LEVEL, Figure
from medres.metrics.inputs import ArrayLike, as_tensors, read_back
from medres.metrics.intervals import RESAMPLES, PatientGroups, patient_groups
from medres.metrics.operating_point import UNDEFINED_BECAUSE, Confusion, decision_indicators
from medres.metrics.proportions import proportion_figures

RATES = ("sensitivity", "specificity", "ppv", "npv")


@each_finding(own=("threshold",))
def decisions(
    y_true: ArrayLike,
    y_score: ArrayLike,
    threshold: float,
    *,
    level: float = LEVEL,
    patient_ids: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    units: str = "rows",
) -> dict[str, Figure]:
    """Sensitivity, specificity, PPV, NPV and the measures of `decision_measures.MEASURES`.

    What `operating_point.sensitivity` and its like say of counts, where rows are independent; where
    patients repeat, the patient bootstrap's intervals, as `evaluation.evaluate` gives them.

    Args:
        y_true: (N,) or (N, F) in {0, 1}, NaN = missing; 1 = finding present.
        y_score: the same shape, finite; called positive where score ≥ threshold.
        threshold: on the scale of the scores.
        level: confidence level in (0, 1).
        patient_ids: (N,) strings or integers; None: each row is a patient.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        units: what a row is, in the plural, for reasons.

    Returns:
        An Estimate by name, or the reason why there is none.

    Raises:
        MetricInputError: shapes differ, a label not 0, 1 or NaN, a score not finite.
    """
    label, score = as_tensors(y_true, y_score)
    read_back(label, score)
    called = decision_indicators(label, score, threshold)
    patients = patient_groups(patient_ids, label.numel(), label.device)
    tp, fp, tn, fn = called.unbind(1)
    rates = proportion_figures(
        torch.stack([tp, tn, tp, tn], dim=1),
        torch.stack([tp + fn, tn + fp, tp + fp, tn + fn], dim=1),
        patients,
        [UNDEFINED_BECAUSE[name].format(unit=units) for name in RATES],
        level=level,
        resamples=resamples,
        seed=seed,
    )
    measures = measure_figures(
        called, patients, level=level, resamples=resamples, seed=seed, units=units
    )
    return {**dict(zip(RATES, rates, strict=True)), **measures}


def measure_figures(
    called: Tensor,
    patients: PatientGroups,
    *,
    level: float,
    resamples: int,
    seed: int,
    units: str,
) -> dict[str, Figure]:
    """The measures of `MEASURES`, by the patient bootstrap where patients repeat.

    Args:
        called: (N, 4) of `decision_indicators`.
        patients: the patient of each row.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        units: what a row is, in the plural, for reasons.
    """
    counts = Confusion(*(int(count) for count in called.sum(0).tolist()))
    if not patients.repeated:
        return decision_figures(counts, level=level, units=units)
    return clustered_decision_figures(
        counts, called, patients, level=level, resamples=resamples, seed=seed, units=units
    )
