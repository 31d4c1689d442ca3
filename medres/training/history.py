"""What a run shows of itself: a progress bar, one JSON line an epoch, TensorBoard events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events

from medres.files import write_text
from medres.training.distributed import mean_over_processes

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter
    from tqdm import tqdm

SHOW_EVERY = 8
"""Steps between two readings of the loss for the bar."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a run.

    Attributes:
        epoch: from 1.
        train_loss: mean over the epoch's batches.
        validation_loss: mean over the validation images.
        validation_auroc: macro over the findings that validation defines; None where none is.
        learning_rates: of each stage at the epoch's last step; a frozen stage is absent.
        images_per_second: of training, reading included, in all processes.
        best: whether this is the best epoch so far.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_auroc: float | None
    learning_rates: dict[str, float]
    images_per_second: float
    best: bool


def write_history(path: Path, history: list[EpochRecord]) -> None:
    """One JSON line an epoch, whole or not at all."""
    write_text(path, "".join(json.dumps(asdict(record)) + "\n" for record in history))


class TensorBoardLog:
    """TensorBoard events of a run, from which a resumed run goes on.

    Args:
        folder: of the event files.
        first_epoch: events from this epoch on are hidden: a killed run may have left some.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: SummaryWriter = SummaryWriter(str(folder), purge_step=first_epoch)

    def add(self, record: EpochRecord) -> None:
        """Write one epoch."""
        values: dict[str, float | None] = {
            "loss/train": record.train_loss,
            "loss/validation": record.validation_loss,
            "auroc/validation": record.validation_auroc,
            "images_per_second": record.images_per_second,
            **{f"learning_rate/{stage}": rate for stage, rate in record.learning_rates.items()},
        }
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(name, value, record.epoch)
        self.writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self.writer.close()


class TrainingProgress:
    """A progress bar over the whole run: loss, learning rate, images/s, time left.

    Where the output is no terminal, one line an epoch takes its place.

    Args:
        batch_size: images an iteration, of all processes.
        show: False shows nothing at all.
    """

    def __init__(self, batch_size: int, *, show: bool = True) -> None:
        self.batch_size = batch_size
        self.show = show
        self.loss_sum: Tensor | float = 0.0
        self.steps = 0
        self.started = time.perf_counter()
        self.seconds = 0.0
        self._bar: tqdm[Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Follow a MONAI trainer."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.COMPLETED, self.close)
        engine.add_event_handler(Events.TERMINATE, self.close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _open(self, engine: Engine) -> None:
        from tqdm import tqdm

        state = engine.state
        if self.show and sys.stderr.isatty():
            self._bar = tqdm(
                total=state.max_epochs * state.epoch_length,
                initial=state.iteration,
                unit="step",
                dynamic_ncols=True,
            )

    def _start_epoch(self, engine: Engine) -> None:
        if engine.state.iteration % engine.state.epoch_length == 0:
            self.loss_sum, self.steps, self.seconds = 0.0, 0, 0.0
        self.started = time.perf_counter() - self.seconds
        if self._bar is not None:
            self._bar.set_description(f"epoch {engine.state.epoch}/{engine.state.max_epochs}")

    def _step(self, engine: Engine) -> None:
        # A tensor: reading it every step would make a GPU wait.
        self.loss_sum = self.loss_sum + mean_over_processes(engine.state.output["loss"].detach())
        self.steps += 1
        self.seconds = time.perf_counter() - self.started
        if self._bar is not None and (self.steps % SHOW_EVERY == 0 or self.steps == 1):
            rate = max(group["lr"] for group in engine.optimizer.param_groups)
            self._bar.set_postfix_str(
                f"loss {self.mean_loss:.3f}, lr {rate:.1e}, {self.images_per_second:.0f} images/s",
                refresh=False,
            )
        if self._bar is not None:
            self._bar.update()

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the epoch so far."""
        return float(self.loss_sum) / max(1, self.steps)

    @property
    def images_per_second(self) -> float:
        """Training images a second in the epoch so far."""
        return self.steps * self.batch_size / max(1e-9, self.seconds)

    def state_dict(self) -> dict[str, Any]:
        """How far the epoch has come."""
        return {"loss_sum": self.loss_sum, "steps": self.steps, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on within an epoch."""
        self.loss_sum, self.steps, self.seconds = (
            state["loss_sum"],
            state["steps"],
            state["seconds"],
        )

    def report(self, record: EpochRecord, epochs: int) -> None:
        """Print one line for a finished epoch."""
        auroc = record.validation_auroc
        line = (
            f"epoch {record.epoch:>3}/{epochs}  loss {record.train_loss:.4f}  "
            f"validation loss {record.validation_loss:.4f}  "
            f"auroc {'undefined' if auroc is None else f'{auroc:.4f}'}  "
            f"{record.images_per_second:.0f} images/s{'  *' if record.best else ''}"
        )
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif self.show:
            print(line, file=sys.stderr, flush=True)

    def close(self, _: Engine | None = None) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _fail(self, _: Engine, error: BaseException) -> None:
        self.close()
        raise error
