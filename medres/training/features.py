"""Train from what the frozen stages in front make of each image, computed once.

`FeatureLoader` stands in for a loader of images. In the phases that the plan keeps features for,
its batches hold, in place of images, the input of the first stage that trains, and name that stage
under `start`; `staged_batch` hands both to the network. Order and composition of the batches are
those of the loader it stands for, and on a CPU the values are the same to the bit.

Nothing of it is part of a checkpoint: a run that resumes computes the features of its phase again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.utils.enums import CommonKeys
from torch import Tensor
from torch.utils.data import BatchSampler

from medres.errors import ConfigError
from medres.models.prefix import run_stages
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import Stage
from medres.training.distributed import gather_shares, rank, world_size
from medres.training.feature_plan import FeaturePhase, FeaturePlan, format_size

IMAGE, LABEL = CommonKeys.IMAGE.value, CommonKeys.LABEL.value
START = "start"
"""Key of the stage that a batch of features goes into."""


def is_channels_last(features: Tensor) -> bool:
    """Whether (B, C, h, w) lie in memory as (B, h, w, C)."""
    last = features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last)
    return last and not features.is_contiguous()


class FeatureTable:
    """Features and labels of N images, row by row, in memory or in a file that is mapped into it.

    Rows keep the dtype and the memory format in which the network gave them, so that what goes on
    from them computes as if it had just been given them.

    Args:
        count: N.
        file: of the rows, which lives as long as the table; None keeps them in memory.
    """

    def __init__(self, count: int, file: Path | None = None) -> None:
        self.count = count
        self.file = file
        self.labels: Tensor | None = None
        self.rows: Tensor | None = None
        self.channels_last = False

    def put(self, indices: Sequence[int], features: Tensor, labels: Tensor) -> None:
        """Keep features (B, …) and labels (B, F) of the images with these indices."""
        if self.rows is None or self.labels is None:
            self.channels_last = is_channels_last(features)
            self.rows = self._allocate(self._as_stored(features))
            self.labels = labels.new_empty((self.count, *labels.shape[1:]))
        where = torch.as_tensor(indices)
        self.rows[where] = self._as_stored(features)
        self.labels[where] = labels

    def take(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Features (B, …) and labels (B, F) of the images with these indices."""
        assert self.rows is not None
        assert self.labels is not None
        where = torch.as_tensor(indices)
        rows = self.rows.index_select(0, where)
        features = rows.permute(0, 3, 1, 2) if self.channels_last else rows
        return features, self.labels.index_select(0, where)

    def _as_stored(self, features: Tensor) -> Tensor:
        return features.permute(0, 2, 3, 1) if self.channels_last else features

    def _allocate(self, features: Tensor) -> Tensor:
        shape = (self.count, *features.shape[1:])
        if self.file is None:
            return features.new_empty(shape, device="cpu")
        values = self.count * features[0].numel()
        reserve_file(self.file, values * features.itemsize)
        rows = torch.from_file(str(self.file), shared=True, size=values, dtype=features.dtype)
        with contextlib.suppress(PermissionError):  # Windows keeps a file that is mapped
            self.file.unlink()  # the mapping lives on, and a killed run leaves nothing behind
        return rows.view(shape)


def reserve_file(path: Path, size: int) -> None:
    """Make a file of so many bytes, whose room on the disk is its own where the system can do that.

    A mapped file that finds the disk full kills the process without a word.

    Raises:
        ConfigError: the disk has not so much room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(
            f"{path}: {format_size(size)} of features cannot be written ({error.strerror}); make "
            "room, give another `out`, or set training.feature_cache off"
        ) from error


class FeatureCache:
    """The features of the phase that a training is in.

    Args:
        network: the `GrayscaleResNet` itself.
        plan: which phases keep features.
        folder: of the run, for features that do not fit into memory.
        device: where the network computes.
        autocast: the dtype of its forward pass; None for float32.
        accumulate: iterations whose gradients make one optimizer step.
        show: whether to say on stderr what is planned, and what has been computed.
    """

    def __init__(
        self,
        network: GrayscaleResNet,
        plan: FeaturePlan,
        folder: Path,
        *,
        device: torch.device,
        autocast: torch.dtype | None = None,
        accumulate: int = 1,
        show: bool = False,
    ) -> None:
        self.network = network
        self.plan = plan
        self.folder = folder
        self.device = device
        self.autocast = autocast
        self.accumulate = accumulate
        self.show = show
        self.epoch, self.iteration = 1, 0
        self.phase: FeaturePhase | None = None
        self.tables: dict[str, FeatureTable] = {}

    def attach(self, trainer: Engine) -> None:
        """Follow a trainer's iterations."""
        if self.show:
            print(*self.plan.describe(), sep="\n", file=sys.stderr)
        events = Events.EPOCH_STARTED | Events.ITERATION_COMPLETED
        trainer.add_event_handler(events, self._follow)

    def _follow(self, trainer: Engine) -> None:
        self.epoch, self.iteration = trainer.state.epoch, trainer.state.iteration

    def table(
        self, phase: FeaturePhase, loader: DataLoader, name: str, *, whole_batches: bool
    ) -> FeatureTable:
        """The features of all images of a loader's data set, computed now if not yet in the phase.

        Args:
            phase: that the training is in.
            loader: of images, in the epoch whose randomness they are to have.
            name: of the images and their view, for people and files.
            whole_batches: whether the network would see the images in batches of one size alone.
        """
        if phase != self.phase:
            self.phase = phase
            self.tables.clear()  # before the next ones need the room
        if name not in self.tables:
            self.tables[name] = self._compute(phase, loader, name, whole_batches=whole_batches)
        return self.tables[name]

    def _compute(
        self, phase: FeaturePhase, loader: DataLoader, name: str, *, whole_batches: bool
    ) -> FeatureTable:
        """Of several processes each computes its share, and each gets all.

        In batches of the loader's own size: another size may take another kernel, whose sums are
        rounded otherwise. What fills a batch up is left out afterwards.
        """
        began, count = time.perf_counter(), len(loader.dataset)
        me, all_of_us = rank(), world_size()
        file = self.folder / f"features-{name}-{me}.bin" if phase.kept_in == "file" else None
        table = FeatureTable(count, file)
        size: int = loader.batch_size
        parts = list(BatchSampler(range(count), size * all_of_us, drop_last=False))
        shares = []
        for part in parts:
            share = part[me::all_of_us]
            wanted = size if whole_batches else max(1, len(share))
            shares.append(share + part[:1] * (wanted - len(share)))
        for part, batch in zip(parts, over_batches(loader, shares), strict=True):
            own = len(part[me::all_of_us])
            features = self._run(batch[IMAGE], phase.start)[:own]
            labels = torch.as_tensor(batch[LABEL])[:own]
            table.put(part, _of_all(features, len(part)), _of_all(labels, len(part)))
        if self.show:
            seconds = time.perf_counter() - began
            line = f"input of {phase.start} for {count} images ({name}) in {seconds:.1f} s"
            print(line, file=sys.stderr, flush=True)
        return table

    @torch.no_grad()
    def _run(self, image: Tensor, start: Stage) -> Tensor:
        """What the stages before `start` make of images (B, 1, H, W), in evaluation mode."""
        training = self.network.training
        self.network.eval()
        image = torch.as_tensor(image).as_subclass(Tensor).to(self.device)
        with torch.autocast(
            self.device.type, dtype=self.autocast, enabled=self.autocast is not None
        ):
            features = run_stages(self.network, image, "adapter", start)
        self.network.train(training)
        return features.cpu()


def _of_all(share: Tensor, total: int) -> Tensor:
    """`gather_shares` in the memory format of the share."""
    rows = gather_shares(share, total)
    if is_channels_last(share):
        return rows.contiguous(memory_format=torch.channels_last)
    return rows


class FeatureLoader:
    """A training loader whose batches hold features where the plan keeps them.

    Args:
        loader: of images; its data set and sampler follow the epoch.
        cache: of features, attached to the trainer.
    """

    def __init__(self, loader: DataLoader, cache: FeatureCache) -> None:
        self.loader = loader
        self.cache = cache
        self.dataset = loader.dataset
        self.sampler = loader.sampler

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The epoch's batches. A phase may begin in the middle of an epoch."""
        cache = self.cache
        batches: list[list[int]] = list(self.loader.batch_sampler)
        while batches:
            phase = cache.plan.at(cache.iteration // cache.accumulate)
            left = phase.end_step * cache.accumulate - cache.iteration
            count = left if 0 < left < len(batches) else len(batches)
            now, batches = batches[:count], batches[count:]
            if phase.kept_in is None:
                yield from over_batches(self.loader, now)
            else:
                view = (cache.epoch - 1) % cache.plan.counts.views
                table = cache.table(phase, self.loader, f"train-{view}", whole_batches=True)
                yield from feature_batches(table, now, phase.start)
                del table  # the next phase needs its room


class ValidationFeatureLoader:
    """The same for validation, which sees the network after the trainer's last step.

    Args:
        loader: of images, without randomness.
        cache: of features, attached to the trainer.
    """

    def __init__(self, loader: DataLoader, cache: FeatureCache) -> None:
        self.loader = loader
        self.cache = cache
        self.dataset = loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All batches."""
        cache = self.cache
        phase = cache.plan.at(max(0, cache.iteration - 1) // cache.accumulate)
        if phase.kept_in is None:
            yield from self.loader
        else:
            table = cache.table(phase, self.loader, "validation", whole_batches=False)
            yield from feature_batches(table, self.loader.batch_sampler, phase.start)


def feature_batches(
    table: FeatureTable, batches: Iterable[Sequence[int]], start: Stage
) -> Iterator[dict[str, Any]]:
    """Batches of features under `image`, with their labels and the stage that they go into."""
    for indices in batches:
        features, labels = table.take(indices)
        yield {IMAGE: features, LABEL: labels, START: start}


def over_batches(loader: DataLoader, batches: Sequence[Sequence[int]]) -> DataLoader:
    """A loader like another one, over batches of these images."""
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        generator=torch.Generator().manual_seed(0),
        pin_memory=loader.pin_memory,
    )


def staged_batch(
    batch: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **_: Any
) -> tuple[Any, ...]:
    """A batch as MONAI's engines take it: what goes into the network, labels, and from which stage.

    On a device, as plain tensors: a MetaTensor would keep its records through every operation.
    """
    image, label = (
        torch.as_tensor(batch[key]).to(device, non_blocking=non_blocking).as_subclass(Tensor)
        for key in (IMAGE, LABEL)
    )
    return image, label, (), {START: batch[START]} if START in batch else {}
