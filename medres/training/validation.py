"""How good is the network between two epochs? Loss and AUROC on the validation images."""

from __future__ import annotations

from typing import Literal

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from medres.errors import UndefinedMetricError
from medres.metrics.ranking import auroc
from medres.training.distributed import from_first, gather_shares
from medres.training.losses import probabilities

LabelKind = Literal["binary", "multilabel", "multiclass"]


class ValidationFigures:
    """Loss and macro AUROC of an evaluator, into its `state.metrics`.

    Of several processes each has looked at its share, and each gets the figures of all.

    Args:
        loss: of logits and labels (N, F).
        kind: of the labels.
        total: N, validation images of all processes.
    """

    def __init__(self, loss: nn.Module, kind: LabelKind, total: int) -> None:
        self.loss, self.kind, self.total = loss, kind, total
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, _: Engine) -> None:
        self.logits, self.labels = [], []

    def _collect(self, engine: Engine) -> None:
        self.logits.append(engine.state.output["pred"].detach())
        self.labels.append(engine.state.output["label"])

    def _finish(self, engine: Engine) -> None:
        logits = gather_shares(torch.cat(self.logits), self.total)
        labels = gather_shares(torch.cat(self.labels), self.total)
        loss = float(self.loss(logits, labels))
        if logits.device.type == "mps":  # which has no float64
            logits, labels = logits.cpu(), labels.cpu()
        area = macro_auroc(labels, probabilities(self.kind, logits))
        # All processes go by these figures: one that rounds otherwise would stop at another epoch.
        both = [loss, float("nan") if area is None else area]
        figures = from_first(torch.tensor(both, dtype=torch.float64))
        engine.state.metrics["loss"] = float(figures[0])
        engine.state.metrics["auroc"] = None if figures[1].isnan() else float(figures[1])


def macro_auroc(labels: Tensor, scores: Tensor) -> float | None:
    """Mean AUROC over the findings that have both classes; None where none has.

    Args:
        labels: (N, F) in {0, 1, NaN}.
        scores: (N, F), higher = more suspicious.
    """
    areas = []
    for label, score in zip(labels.T, scores.T, strict=True):
        known = ~label.isnan()
        try:
            areas.append(auroc(label[known], score[known]).value)
        except UndefinedMetricError:
            continue
    return sum(areas) / len(areas) if areas else None
