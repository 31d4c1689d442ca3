"""Everything about a training that is neither data nor network, and what it comes to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from medres.training.history import EpochRecord
from medres.training.optimizer import OptimizerName
from medres.training.precision import ComputePrecision
from medres.training.schedule import Schedule
from medres.training.selection import SelectBy

LabelKind = Literal["binary", "multilabel", "multiclass"]


@dataclass(frozen=True)
class TrainingPlan:
    """Everything about a training that is not data or network.

    Attributes:
        kind: of the labels.
        schedule: of unfreezing and learning rates, in optimizer steps.
        epochs: at most so many.
        batch_size: images an iteration and process.
        accumulate: iterations whose gradients make one optimizer step.
        optimizer: adamw, adam or sgd.
        weight_decay: on weights of convolutions and of the head.
        label_smoothing: moves targets this far toward the middle.
        focal_gamma: of the focal loss; 0 for cross-entropy.
        class_weights: (F,) weight of the positives of each finding, or of each class; None for 1.
        ema_decay: of the averaged weights; 0 for none.
        select_by: which epoch is kept: of the best validation auroc or loss, or the last.
        patience: stop after so many epochs without a better one; 0 never stops early.
        precision: of the forward pass.
        compile: whether `torch.compile` makes the network's training code.
        checkpoint_minutes: between two checkpoints within an epoch; 0 for none.
        checkpoint_steps: the same in optimizer steps; 0 for none.
        fingerprint: of the configuration and the inputs; a run resumes only with its own.
    """

    kind: LabelKind
    schedule: Schedule
    epochs: int
    batch_size: int
    accumulate: int = 1
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    class_weights: tuple[float, ...] | None = None
    ema_decay: float = 0.0
    select_by: SelectBy = "auroc"
    patience: int = 0
    precision: ComputePrecision = "fp32"
    compile: bool = False
    checkpoint_minutes: float = 0.0
    checkpoint_steps: int = 0
    fingerprint: str = ""

    @property
    def epoch_length(self) -> int:
        """Iterations an epoch: whole optimizer steps, so that no gradient waits between epochs."""
        return self.schedule.steps_per_epoch * self.accumulate


@dataclass(frozen=True)
class TrainingResult:
    """What a training has come to; the network holds the best epoch's weights.

    Attributes:
        history: one record an epoch.
        best_epoch: from 1.
        stopped_early: whether patience ran out before the last epoch.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_early: bool


def fingerprint(*parts: object) -> str:
    """A short digest of JSON-able parts: a run resumes only where nothing of it has changed."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
