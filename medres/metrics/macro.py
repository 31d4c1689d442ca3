"""The mean over findings, each counting the same, however frequent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medres.metrics.estimate import LEVEL, Estimate, Figure, UndefinedEstimate
from medres.metrics.finding_evaluation import FindingEvaluation
from medres.metrics.finding_rows import COLUMNS
from medres.metrics.intervals import bootstrap_estimate, percentile_intervals


@dataclass(frozen=True)
class MacroEvaluation:
    """Mean over findings, each counting the same.

    Attributes:
        auroc: mean AUROC.
        average_precision: mean average precision.
        findings: names that went in.
        left_out: names that did not, for want of a class.
    """

    auroc: Figure
    average_precision: Figure
    findings: tuple[str, ...]
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The entry "macro" of `evaluation.json`."""
        return {
            "auroc": self.auroc.as_json(),
            "average_precision": self.average_precision.as_json(),
            "findings": list(self.findings),
            "left_out": list(self.left_out),
        }


def evaluate_macro(
    entries: Sequence[FindingEvaluation], blocks: Sequence[Tensor], level: float = LEVEL
) -> MacroEvaluation:
    """Mean over the findings that have both classes, and the names of those that have not.

    Args:
        entries: one for each finding.
        blocks: (resamples, K) of `FindingRows.statistics`, one for each finding.
        level: confidence level in (0, 1).
    """
    defined = [k for k, entry in enumerate(entries) if entry.defined]
    names = tuple(entries[k].finding for k in defined)
    left_out = tuple(entry.finding for entry in entries if not entry.defined)

    def mean(name: str) -> Figure:
        figures = [
            figure for k in defined if isinstance(figure := entries[k].figures[name], Estimate)
        ]
        if not figures:
            return UndefinedEstimate("no finding with both classes", level, "patient bootstrap")
        value, low, high = (
            sum(numbers) / len(figures)
            for numbers in zip(*((f.value, f.low, f.high) for f in figures), strict=True)
        )
        columns = torch.stack([blocks[k][:, COLUMNS.index(name)] for k in defined], dim=1)
        interval = percentile_intervals(columns.mean(1, keepdim=True), level)[0]
        if interval.low == interval.high:
            method = "mean of the findings' limits (all resamples agree)"
            return Estimate(value, low, high, level, method)
        return bootstrap_estimate(value, interval, level)

    return MacroEvaluation(mean("auroc"), mean("average_precision"), names, left_out)
