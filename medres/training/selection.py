"""Which epoch is kept, and when a training stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SelectBy = Literal["auroc", "loss", "last"]


@dataclass
class Selection:
    """The best epoch so far, and whether to go on.

    The best is the first with the highest validation AUROC, the lower loss deciding ties; or the
    first with the lowest loss; or the last. Where no AUROC is defined, the loss decides.

    Attributes:
        select_by: which epoch is kept.
        patience: stop after so many epochs without a better one; 0 never stops early.
        epochs: at most so many.
        best_epoch: from 1; 0 before the first.
        best: what epochs are compared by; the larger is better.
        stopped_early: whether patience ran out before the last epoch.
        finished: whether there is nothing left to train.
    """

    select_by: SelectBy
    patience: int
    epochs: int
    best_epoch: int = 0
    best: tuple[float, float] = (-float("inf"), -float("inf"))
    stopped_early: bool = False
    finished: bool = False

    def judge(self, epoch: int, loss: float, area: float | None) -> bool:
        """Take note of an epoch, from 1; returns whether it is the best so far."""
        goodness = self._goodness(epoch, loss, area)
        is_best = goodness > self.best
        if is_best:
            self.best, self.best_epoch = goodness, epoch
        last = epoch == self.epochs
        self.stopped_early = not last and 0 < self.patience <= epoch - self.best_epoch
        self.finished = last or self.stopped_early
        return is_best

    def _goodness(self, epoch: int, loss: float, area: float | None) -> tuple[float, float]:
        if self.select_by == "last":
            return float(epoch), 0.0
        return (-loss, 0.0) if self.select_by == "loss" or area is None else (area, -loss)

    def state_dict(self) -> dict[str, Any]:
        """What has been judged so far."""
        return {
            "best_epoch": self.best_epoch,
            "best": list(self.best),
            "stopped_early": self.stopped_early,
            "finished": self.finished,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what had been judged."""
        self.best_epoch = state["best_epoch"]
        self.best = (state["best"][0], state["best"][1])
        self.stopped_early, self.finished = state["stopped_early"], state["finished"]
