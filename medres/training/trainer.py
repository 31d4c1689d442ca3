"""Fine-tune a network with MONAI's SupervisedTrainer: validate, keep the best, resume.

A run folder holds `checkpoints/last.pt` after every epoch and `checkpoints/best.pt`. Started
again on the same folder with the same configuration, a run goes on after its last whole epoch and
ends as an undisturbed one does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from torch import Tensor, nn

from medres.errors import ConfigError, UndefinedMetricError
from medres.metrics.ranking import auroc
from medres.models.resnet import GrayscaleResNet
from medres.training.average import WeightAverage
from medres.training.checkpoint import load_checkpoint, save_checkpoint
from medres.training.history import EpochRecord, TensorBoardLog, TrainingProgress, write_history
from medres.training.losses import ClassificationLoss, probabilities
from medres.training.optimizer import build_optimizer
from medres.training.precision import AutocastInferer
from medres.training.schedule import Schedule
from medres.training.schedule_handler import ScheduleHandler

LabelKind = Literal["binary", "multilabel", "multiclass"]


@dataclass(frozen=True)
class TrainingPlan:
    """Everything about a training that is not data or network.

    Attributes:
        kind: of the labels.
        schedule: of unfreezing and learning rates, in steps.
        epochs: at most so many.
        optimizer: adamw or sgd.
        weight_decay: on weights of convolutions and of the head.
        label_smoothing: moves targets this far toward the middle.
        class_weights: (F,) weight of the positives of each finding, or of each class; None for 1.
        ema_decay: of the averaged weights; 0 for none.
        select_by: which epoch is kept: of the best validation auroc or loss, or the last.
        patience: stop after so many epochs without a better one; 0 never stops early.
        precision: of the forward pass.
        fingerprint: of the configuration and the inputs; a run resumes only with its own.
    """

    kind: LabelKind
    schedule: Schedule
    epochs: int
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    ema_decay: float = 0.0
    select_by: Literal["auroc", "loss", "last"] = "auroc"
    patience: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    fingerprint: str = ""


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


@dataclass
class _Progress:
    """What a run has to remember from one epoch to the next."""

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    best: tuple[float, float] = (-float("inf"), -float("inf"))
    finished: bool = False
    stopped_early: bool = False


def fingerprint(*parts: object) -> str:
    """A short digest of JSON-able parts: a run resumes only where nothing of it has changed."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TrainingRun:
    """One training in one folder.

    Args:
        network: logits (B, F) from images (B, 1, H, W); trained in place.
        train_loader: batches with `image` and `label`; its data set and sampler follow the epoch.
        validation_loader: the same without randomness.
        plan: the rest.
        folder: of checkpoints, history and events.
        device: where the network computes.
        batch_size: images a step, for the display.
        show: whether to show progress.
    """

    def __init__(
        self,
        network: GrayscaleResNet,
        train_loader: DataLoader,
        validation_loader: DataLoader,
        plan: TrainingPlan,
        folder: Path,
        *,
        device: torch.device,
        batch_size: int,
        show: bool = True,
    ) -> None:
        self.network = network.to(device)
        self.train_loader = train_loader
        self.validation_loader = validation_loader
        self.plan = plan
        self.folder = folder
        self.device = device
        self.optimizer = build_optimizer(network, plan.weight_decay, name=plan.optimizer)
        weights = None if plan.class_weights is None else torch.tensor(plan.class_weights)
        self.loss = ClassificationLoss(
            plan.kind, class_weights=weights, label_smoothing=plan.label_smoothing
        ).to(device)
        self.average = WeightAverage(network, plan.ema_decay) if plan.ema_decay else None
        self.judged: nn.Module = self.average.averaged_network if self.average else network
        self.display = TrainingProgress(batch_size, show=show)
        self.progress = _Progress()
        self.events: TensorBoardLog | None = None
        self.evaluator = self._build_evaluator()
        self.trainer = self._build_trainer()

    @property
    def last(self) -> Path:
        """State after the last whole epoch."""
        return self.folder / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        """Weights of the best epoch."""
        return self.folder / "checkpoints" / "best.pt"

    def run(self) -> TrainingResult:
        """Train to the end, from wherever the folder stands; the network gets the best weights.

        Raises:
            ConfigError: the folder holds a run with another configuration.
        """
        if self.last.exists():
            self._resume()
        if not self.progress.finished:
            self.events = TensorBoardLog(self.folder / "events", len(self.progress.history) + 1)
            try:
                self.trainer.run()
            finally:
                self.events.close()
        self.network.load_state_dict(load_checkpoint(self.best)["network"])
        self.network.eval()
        p = self.progress
        return TrainingResult(tuple(p.history), p.best_epoch, p.stopped_early)

    def _build_trainer(self) -> SupervisedTrainer:
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=self.plan.epochs,
            train_data_loader=self.train_loader,
            network=self.network,
            optimizer=self.optimizer,
            loss_function=self.loss,
            inferer=AutocastInferer(self.plan.precision),
            decollate=False,
            optim_set_to_none=True,  # else a frozen tensor's stale gradient would still step
        )
        trainer.add_event_handler(Events.EPOCH_STARTED, self._follow_epoch)
        ScheduleHandler(self.plan.schedule, self.network, self.optimizer).attach(trainer)
        if self.average:
            self.average.attach(trainer)
        self.display.attach(trainer)
        ValidationHandler(interval=1, validator=self.evaluator).attach(trainer)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._finish_epoch)
        return trainer

    def _build_evaluator(self) -> SupervisedEvaluator:
        evaluator = SupervisedEvaluator(
            device=self.device,
            val_data_loader=self.validation_loader,
            network=self.judged,
            inferer=AutocastInferer(self.plan.precision),
            decollate=False,
        )
        _ValidationFigures(self.loss, self.plan.kind).attach(evaluator)
        return evaluator

    def _follow_epoch(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        for part in (self.train_loader.dataset, self.train_loader.sampler):
            set_epoch: Callable[[int], None] | None = getattr(part, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)

    def _finish_epoch(self, engine: Engine) -> None:
        p = self.progress
        figures = self.evaluator.state.metrics
        loss, area = figures["loss"], figures["auroc"]
        epoch: int = engine.state.epoch
        goodness = _goodness(self.plan.select_by, epoch, loss, area)
        is_best = goodness > p.best
        if is_best:
            p.best, p.best_epoch = goodness, epoch
        record = EpochRecord(
            epoch=epoch,
            train_loss=self.display.mean_loss,
            validation_loss=loss,
            validation_auroc=area,
            learning_rates=self._learning_rates(engine.state.iteration - 1),
            images_per_second=round(self.display.images_per_second, 1),
            best=is_best,
        )
        p.history.append(record)
        p.stopped_early = 0 < self.plan.patience <= epoch - p.best_epoch < self.plan.epochs
        p.stopped_early = p.stopped_early and epoch < self.plan.epochs
        p.finished = p.stopped_early or epoch == self.plan.epochs
        if is_best:
            save_checkpoint(self.best, {"network": self.judged.state_dict(), "epoch": epoch})
        save_checkpoint(self.last, self._state(engine))
        write_history(self.folder / "epochs.jsonl", p.history)
        if self.events is not None:
            self.events.add(record)
        self.display.report(record, self.plan.epochs)
        if p.stopped_early:
            engine.terminate()

    def _learning_rates(self, step: int) -> dict[str, float]:
        states = self.plan.schedule.at(step)
        return {name: s.learning_rate for name, s in states.items() if s.active}

    def _state(self, engine: Engine) -> dict[str, Any]:
        p = self.progress
        return {
            "fingerprint": self.plan.fingerprint,
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "generator": torch.get_rng_state(),
            "history": [asdict(record) for record in p.history],
            "best": list(p.best),
            "best_epoch": p.best_epoch,
            "finished": p.finished,
            "stopped_early": p.stopped_early,
        }

    def _resume(self) -> None:
        state = load_checkpoint(self.last)
        if state["fingerprint"] != self.plan.fingerprint:
            raise ConfigError(
                f"{self.folder}: holds a run with another configuration or other inputs; "
                "give another `out`, or remove the folder to start anew"
            )
        self.network.load_state_dict(state["network"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["generator"])
        self.progress = _Progress(
            history=[EpochRecord(**record) for record in state["history"]],
            best_epoch=state["best_epoch"],
            best=(state["best"][0], state["best"][1]),
            finished=state["finished"],
            stopped_early=state["stopped_early"],
        )
        self.trainer.load_state_dict(
            {
                "iteration": state["iteration"],
                "epoch_length": state["epoch_length"],
                "max_epochs": self.plan.epochs,
            }
        )


def _goodness(
    select_by: Literal["auroc", "loss", "last"], epoch: int, loss: float, area: float | None
) -> tuple[float, float]:
    """What epochs are compared by; the larger is kept, the earlier of equal ones."""
    if select_by == "last":
        return float(epoch), 0.0
    return (-loss, 0.0) if select_by == "loss" or area is None else (area, -loss)


class _ValidationFigures:
    """Loss and macro AUROC of an evaluator, into its `state.metrics`."""

    def __init__(self, loss: ClassificationLoss, kind: LabelKind) -> None:
        self.loss, self.kind = loss, kind
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, _: Engine) -> None:
        self.logits, self.labels = [], []

    def _collect(self, engine: Engine) -> None:
        self.logits.append(engine.state.output["pred"].detach())
        self.labels.append(engine.state.output["label"])

    def _finish(self, engine: Engine) -> None:
        logits, labels = torch.cat(self.logits), torch.cat(self.labels)
        engine.state.metrics["loss"] = float(self.loss(logits, labels))
        if logits.device.type == "mps":  # which has no float64
            logits, labels = logits.cpu(), labels.cpu()
        engine.state.metrics["auroc"] = macro_auroc(labels, probabilities(self.kind, logits))


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
