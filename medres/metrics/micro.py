"""All findings pooled: every labelled pair of row and finding counts the same.

Frequent findings dominate, and the scores of different findings are ranked against one another,
which is fair only where they are calibrated alike; the macro mean is the figure to quote first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.estimate import LEVEL, Figure, UndefinedEstimate
from medres.metrics.intervals import RESAMPLES, PatientGroups
from medres.metrics.operating_point import Threshold, decision_indicators
from medres.metrics.proportions import proportion_figures
from medres.metrics.ranking import auroc, average_precision


@dataclass(frozen=True)
class MicroEvaluation:
    """Figures over the pooled pairs.

    Attributes:
        n: labelled pairs.
        figures: auroc, average_precision; over findings with a locked threshold sensitivity,
            specificity, ppv, npv.
        findings: names that went into the decisions.
        left_out: names without a locked threshold.
    """

    n: int
    figures: dict[str, Figure]
    findings: tuple[str, ...]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The entry "micro" of `evaluation.json`."""
        return {
            "n": self.n,
            **{name: figure.as_json() for name, figure in self.figures.items()},
            "findings": list(self.findings),
            "left_out": list(self.left_out),
        }


def evaluate_micro(
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    thresholds: Mapping[str, Threshold],
    findings: Sequence[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MicroEvaluation:
    """Pool the findings; patients stay whole in every resample.

    Args:
        y_true: (N, F) float64, 0, 1 or NaN.
        y_score: (N, F) float64, finite where the label is given.
        patients: the patient of each row.
        thresholds: locked, by finding.
        findings: F names.
        level: confidence level in (0, 1).
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
    """
    given = ~y_true.isnan()
    index = patients.index[:, None].expand(y_true.shape)
    label, score, patient = y_true[given], y_score[given], index[given]
    positive = int(label.sum())
    figures: dict[str, Figure] = {}
    if 0 < positive < label.numel():
        for name, metric in (("auroc", auroc), ("average_precision", average_precision)):
            figures[name] = metric(
                label, score, level=level, patient_ids=patient, resamples=resamples, seed=seed
            )
    else:
        nothing = UndefinedEstimate("pairs of one class only", level, "patient bootstrap")
        figures |= {"auroc": nothing, "average_precision": nothing}
    locked = [name for name in findings if name in thresholds]
    figures |= _decisions(y_true, y_score, patients, thresholds, findings, level, resamples, seed)
    left_out = tuple(name for name in findings if name not in thresholds)
    return MicroEvaluation(label.numel(), figures, tuple(locked), left_out)


def _decisions(
    y_true: Tensor,
    y_score: Tensor,
    patients: PatientGroups,
    thresholds: Mapping[str, Threshold],
    findings: Sequence[str],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    cells, of_patient = [], []
    for f, name in enumerate(findings):
        if name in thresholds:
            given = ~y_true[:, f].isnan()
            cut = thresholds[name].value
            cells.append(decision_indicators(y_true[given, f], y_score[given, f], cut))
            of_patient.append(patients.index[given])
    if not cells:
        nothing = UndefinedEstimate("no threshold is locked", level)
        return dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), nothing)
    tp, fp, tn, fn = torch.cat(cells).unbind(1)
    unique, index = torch.unique(torch.cat(of_patient), return_inverse=True)
    values = proportion_figures(
        torch.stack([tp, tn, tp, tn], dim=1),
        torch.stack([tp + fn, tn + fp, tp + fp, tn + fn], dim=1),
        PatientGroups(index, len(unique)),
        ["no positive pairs", "no negative pairs", "none called positive", "none called negative"],
        level=level,
        resamples=resamples,
        seed=seed,
    )
    return dict(zip(("sensitivity", "specificity", "ppv", "npv"), values, strict=True))
