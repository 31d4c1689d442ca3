"""Fine-tune a network with MONAI's SupervisedTrainer: validate, keep the best, resume anywhere.

A run folder holds `checkpoints/last.pt`, the whole state after an epoch or a step within one, and
`checkpoints/best.pt`. Started again on the same folder with the same configuration, a run goes on
after the last state written and ends as an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from torch import nn

from medres.errors import ConfigError
from medres.files import remove_unfinished
from medres.models.resnet import GrayscaleResNet
from medres.training.average import WeightAverage
from medres.training.checkpoint import (
    CheckpointClock,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from medres.training.dataset import EpochSampler
from medres.training.distributed import is_first, share_buffers, wait_for_all, world_size
from medres.training.features import FeatureLoader, ValidationFeatureLoader, staged_batch
from medres.training.history import EpochRecord, TensorBoardLog, TrainingProgress, write_history
from medres.training.losses import ClassificationLoss
from medres.training.optimizer import build_optimizer
from medres.training.plan import TrainingPlan, TrainingResult
from medres.training.precision import AutocastInferer, LossScaling
from medres.training.schedule_handler import ScheduleHandler
from medres.training.selection import Selection
from medres.training.validation import ValidationFigures
from medres.training.wrapping import PhaseWrapping

TrainingEvent = Literal["began", "epoch", "interrupted", "failed"]
Watch = Callable[[TrainingEvent], None]


class TrainingRun:
    """One training in one folder.

    `trainer` and `evaluator` are MONAI's engines; more handlers may be attached before `run`.

    Args:
        network: logits (B, F) from images (B, 1, H, W); trained in place.
        train_loader: batches with `image` and `label`; its data set and sampler follow the epoch.
        validation_loader: the same without randomness, of several processes each its share.
        plan: the rest.
        folder: of checkpoints, history and events.
        device: where the network computes.
        show: whether to show progress.
        watch: told when training begins, when an epoch is over and written down, and when training
            breaks off; in the first process alone.
    """

    def __init__(
        self,
        network: GrayscaleResNet,
        train_loader: DataLoader | FeatureLoader,
        validation_loader: DataLoader | ValidationFeatureLoader,
        plan: TrainingPlan,
        folder: Path,
        *,
        device: torch.device,
        show: bool = True,
        watch: Watch | None = None,
    ) -> None:
        self.network = network.to(device)
        self.watch: Watch = watch or (lambda _: None)
        self.train_loader = train_loader
        self.validation_loader = validation_loader
        self.plan = plan
        self.folder = folder
        self.device = device
        self.optimizer = build_optimizer(network, plan.weight_decay, name=plan.optimizer)
        self.loss = ClassificationLoss(
            plan.kind, plan.class_weights, plan.label_smoothing, plan.focal_gamma
        ).to(device)
        self.average = (
            WeightAverage(network, plan.ema_decay, every=plan.accumulate)
            if plan.ema_decay
            else None
        )
        self.judged: nn.Module = self.average.averaged_network if self.average else network
        self.scaling = LossScaling(device) if plan.precision == "fp16" else None
        self.display = TrainingProgress(plan.batch_size * world_size(), show=show and is_first())
        self.selection = Selection(plan.select_by, plan.patience, plan.epochs)
        self.history: list[EpochRecord] = []
        self.clock = CheckpointClock(plan.checkpoint_minutes, plan.checkpoint_steps)
        self.events: TensorBoardLog | None = None
        self.evaluator = self._build_evaluator()
        self.trainer = self._build_trainer()

    @property
    def last(self) -> Path:
        """The whole state, after an epoch or a step."""
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
        if not self.selection.finished:
            self._train()
        wait_for_all()  # the first process may still be writing
        self.network.load_state_dict(load_checkpoint(self.best)["network"])
        self.network.eval()
        return TrainingResult(
            tuple(self.history), self.selection.best_epoch, self.selection.stopped_early
        )

    def _train(self) -> None:
        if is_first():
            remove_unfinished(self.last)
            remove_unfinished(self.best)
            self.events = TensorBoardLog(self.folder / "events", len(self.history) + 1)
        self.clock.restart()
        self._tell("began")
        try:
            self.trainer.run()
        except BaseException as error:
            self._tell("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        finally:
            if self.events is not None:
                self.events.close()

    def _tell(self, event: TrainingEvent) -> None:
        if is_first():
            self.watch(event)

    def _build_trainer(self) -> SupervisedTrainer:
        plan = self.plan
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=plan.epochs,
            train_data_loader=self.train_loader,
            epoch_length=plan.epoch_length,
            network=self.network,
            optimizer=self.optimizer,
            loss_function=self.loss,
            prepare_batch=staged_batch,
            non_blocking=True,
            inferer=AutocastInferer(plan.precision),
            decollate=False,
            accumulation_steps=plan.accumulate,
            optim_set_to_none=True,  # else a frozen tensor's stale gradient would still step
        )
        trainer.add_event_handler(Events.EPOCH_STARTED, self._follow_epoch)
        for handler in self._training_handlers():
            handler.attach(trainer)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._finish_iteration)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._share_statistics)
        ValidationHandler(interval=1, validator=self.evaluator).attach(trainer)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._finish_epoch)
        return trainer

    def _training_handlers(self) -> list[Any]:
        """In the order in which they have to see an iteration."""
        plan = self.plan
        handlers: list[Any] = [
            ScheduleHandler(
                plan.schedule, self.network, self.optimizer, accumulation=plan.accumulate
            )
        ]
        if plan.compile or world_size() > 1:
            handlers.append(
                PhaseWrapping(self.network, compiled=plan.compile, accumulate=plan.accumulate)
            )
        return handlers + [part for part in (self.scaling, self.average, self.display) if part]

    def _build_evaluator(self) -> SupervisedEvaluator:
        evaluator = SupervisedEvaluator(
            device=self.device,
            val_data_loader=self.validation_loader,
            network=self.judged,
            prepare_batch=staged_batch,
            non_blocking=True,
            inferer=AutocastInferer(self.plan.precision),
            decollate=False,
        )
        total = len(self.validation_loader.dataset)
        ValidationFigures(self.loss, self.plan.kind, total).attach(evaluator)
        return evaluator

    def _follow_epoch(self, engine: Engine) -> None:
        """Choose the epoch's images and their order, without those that have been trained on."""
        epoch: int = engine.state.epoch
        set_epoch: Callable[[int], None] | None = getattr(
            self.train_loader.dataset, "set_epoch", None
        )
        if set_epoch is not None:
            set_epoch(epoch)
        if isinstance(self.train_loader.sampler, EpochSampler):
            done = engine.state.iteration - (epoch - 1) * self.plan.epoch_length
            self.train_loader.sampler.set_epoch(epoch, seen=done * self.plan.batch_size)

    def _finish_iteration(self, engine: Engine) -> None:
        """Save within an epoch; its end saves in any case, after validation."""
        step, rest = divmod(engine.state.iteration, self.plan.accumulate)
        within = engine.state.iteration % self.plan.epoch_length != 0
        if within and rest == 0 and self.clock.is_due(step):
            self._save(engine)

    def _share_statistics(self, _: Engine) -> None:
        share_buffers(self.judged)

    def _finish_epoch(self, engine: Engine) -> None:
        figures = self.evaluator.state.metrics
        loss, area = figures["loss"], figures["auroc"]
        epoch: int = engine.state.epoch
        is_best = self.selection.judge(epoch, loss, area)
        record = EpochRecord(
            epoch=epoch,
            train_loss=self.display.mean_loss,
            validation_loss=loss,
            validation_auroc=area,
            learning_rates=self._learning_rates(epoch * self.plan.schedule.steps_per_epoch - 1),
            images_per_second=round(self.display.images_per_second, 1),
            best=is_best,
        )
        self.history.append(record)
        if is_best and is_first():
            save_checkpoint(self.best, {"network": self.judged.state_dict(), "epoch": epoch})
        self._save(engine)
        if self.events is not None:
            self.events.add(record)
        self.display.report(record, self.plan.epochs)
        self._tell("epoch")
        if self.selection.stopped_early:
            engine.terminate()

    def _learning_rates(self, step: int) -> dict[str, float]:
        states = self.plan.schedule.at(step)
        return {name: s.learning_rate for name, s in states.items() if s.active}

    def _parts(self) -> dict[str, Any]:
        """All that a run has to remember, by name; each with `state_dict` and `load_state_dict`."""
        parts = {
            "network": self.network,
            "optimizer": self.optimizer,
            "average": self.average,
            "scaling": self.scaling,
            "display": self.display,
            "selection": self.selection,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _save(self, engine: Engine) -> None:
        """Write the whole state, between two optimizer steps. The first process does it for all."""
        if not is_first():
            return
        state = {
            "fingerprint": self.plan.fingerprint,
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "random": random_state(self.device),
            "history": [asdict(record) for record in self.history],
            **{name: part.state_dict() for name, part in self._parts().items()},
        }
        save_checkpoint(self.last, state)
        write_history(self.folder / "epochs.jsonl", self.history)
        self.clock.restart()

    def _resume(self) -> None:
        state = load_checkpoint(self.last)
        if state["fingerprint"] != self.plan.fingerprint:
            raise ConfigError(
                f"{self.folder}: holds a run with another configuration or other inputs; "
                "give another `out`, or remove the folder to start anew"
            )
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        set_random_state(state["random"], self.device)
        self.history = [EpochRecord(**record) for record in state["history"]]
        if is_first():  # a run killed between the two files
            write_history(self.folder / "epochs.jsonl", self.history)
        self.trainer.load_state_dict(
            {
                "iteration": state["iteration"],
                "epoch_length": state["epoch_length"],
                "max_epochs": self.plan.epochs,
            }
        )
