"""What of a frozen trunk is computed once, how large that is, and why not where it is not.

While the stages in front are frozen, their output depends on the image alone. Where images repeat,
it is computed once and the rest of the network trains from it. The plan is pure in the schedule
and in a few counts, so it can be read before the training begins, and a run that resumes makes the
same one.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from medres.config import RunConfig
from medres.models.stages import STAGES, Stage
from medres.training.distributed import world_size
from medres.training.schedule import Schedule

Place = Literal["memory", "file"]
WORTHWHILE = STAGES[2:]
"""Stages whose input costs something to compute: all behind conv1."""
SHARE_OF_DISK = 0.5
"""At most so much of the free space is taken for a file of features."""


@dataclass(frozen=True)
class ImageCounts:
    """How often images repeat.

    Attributes:
        train: training images.
        validation: validation images.
        views: of each training image: 1 without augmentation, K with K fixed views, and 0 where
            the augmentation is drawn anew in every epoch.
    """

    train: int
    validation: int
    views: int


@dataclass(frozen=True)
class Room:
    """Where features may stay.

    Attributes:
        memory_bytes: that they may take in memory.
        disk_bytes: free on the disk of the run folder.
    """

    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class FeaturePhase:
    """Steps during which the same stages in front are frozen.

    Attributes:
        first_step: its first optimizer step, from 0.
        end_step: the step after its last.
        start: the first stage that trains; its input is what may be kept.
        kept_in: where that input is kept; None where it is computed anew in every step.
        size_bytes: of all that is kept, or would be.
        reason: why nothing is kept; "" where it is.
    """

    first_step: int
    end_step: int
    start: Stage
    kept_in: Place | None
    size_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class FeaturePlan:
    """The phases of a training, and the images they are for.

    Attributes:
        phases: without gaps, from step 0 to the last.
        counts: of images.
        steps_per_epoch: optimizer steps.
    """

    phases: tuple[FeaturePhase, ...]
    counts: ImageCounts
    steps_per_epoch: int

    def at(self, step: int) -> FeaturePhase:
        """The phase of an optimizer step, from 0; past the end, the last one."""
        return next((p for p in self.phases if step < p.end_step), self.phases[-1])

    def describe(self) -> tuple[str, ...]:
        """One line a phase, for people."""
        return tuple(self._describe(phase) for phase in self.phases)

    def _describe(self, phase: FeaturePhase) -> str:
        first, end = (step / self.steps_per_epoch for step in (phase.first_step, phase.end_step))
        where = f"epochs {first:g} to {end:g}, {phase.start} on trains"
        if phase.kept_in is None:
            return f"{where}: all is computed anew, since {phase.reason}"
        c = self.counts
        views = "" if c.views == 1 else f" in {c.views} views"
        return (
            f"{where}: its input is computed once for {c.train} training images{views} and "
            f"{c.validation} validation images, {format_size(phase.size_bytes)} in {phase.kept_in}"
        )

    def as_json(self) -> list[dict[str, Any]]:
        """The phases as plain JSON values."""
        return [asdict(phase) for phase in self.phases]


def format_size(size: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 2**10:.1f} KiB"


def plan_run_features(
    config: RunConfig,
    schedule: Schedule,
    *,
    train: int,
    validation: int,
    random: bool,
    value_bytes: int,
) -> FeaturePlan:
    """The plan of a run.

    Args:
        config: of the run.
        schedule: of its training.
        train: training images.
        validation: validation images.
        random: whether the training images are augmented.
        value_bytes: of one value of a feature.
    """
    training, size = config.training, config.pixels.size
    views = training.augmentation.fixed_views if random else 1
    images = image_bytes(train + validation, size)
    memory = int(training.cache_gib * 2**30)
    disk = _free_disk(config.out) // world_size()
    return plan_features(
        schedule,
        ImageCounts(train, validation, views),
        input_values(config.model.depth, size),
        Room(memory - images if images <= memory else memory, disk),
        value_bytes=value_bytes,
        wanted=training.feature_cache,
    )


def image_bytes(images: int, size: int) -> int:
    """What so many images of a side take in memory, in float32."""
    return images * size**2 * 4


def _free_disk(folder: Path) -> int:
    """Bytes free where a folder is or will be."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def plan_features(
    schedule: Schedule,
    counts: ImageCounts,
    value_counts: Mapping[Stage, int],
    room: Room,
    *,
    value_bytes: int,
    wanted: Literal["auto", "off"] = "auto",
) -> FeaturePlan:
    """Which phases of a schedule train from features that are kept.

    A phase keeps them where its images repeat within it and there is room: in memory, else in a
    file in the run folder.

    Args:
        schedule: of the training.
        counts: of images and views.
        value_counts: values an image in the input of each stage; see `input_values`.
        room: for features.
        value_bytes: of one value: 4 in float32, 2 in bfloat16 and float16.
        wanted: off keeps nothing.
    """
    bounds = [*_boundaries(schedule), schedule.total_steps]
    phases = []
    for first, end in pairwise(bounds):
        start = first_open_stage(schedule, first)
        epochs = (end - first) / schedule.steps_per_epoch
        rows = counts.train * min(counts.views, math.ceil(epochs)) + counts.validation
        size = rows * value_counts[start] * value_bytes
        reason = _why_not(start, counts.views, epochs, wanted)
        place = None if reason else _place(size, room)
        if place is None and not reason:
            reason = (
                f"its {format_size(size)} fit neither into the {format_size(room.memory_bytes)} of "
                f"memory that training.cache_gib leaves nor into half of the "
                f"{format_size(room.disk_bytes)} that are free on the run folder's disk"
            )
        phases.append(FeaturePhase(first, end, start, place, size, reason))
    return FeaturePlan(tuple(phases), counts, schedule.steps_per_epoch)


def _boundaries(schedule: Schedule) -> list[int]:
    """Steps at which the first stage that trains becomes another one."""
    steps = [step for step in schedule.openings if step < schedule.total_steps]
    starts = [first_open_stage(schedule, step) for step in steps]
    return [step for i, step in enumerate(steps) if i == 0 or starts[i] != starts[i - 1]]


def first_open_stage(schedule: Schedule, step: int) -> Stage:
    """The first stage that trains at a step; the head where none before it does.

    What precedes it has not trained before either: a stage that has opened stays open.
    """
    states = schedule.at(step)
    return next((stage for stage, state in states.items() if state.active), STAGES[-1])


def _why_not(start: Stage, views: int, epochs: float, wanted: str) -> str:
    """Why nothing is kept, room aside; "" where something is."""
    if wanted == "off":
        return "training.feature_cache is off"
    if start == "adapter":
        return "the adapter trains, and whatever follows depends on it"
    if start not in WORTHWHILE:
        return f"no stage in front of {start} is frozen"
    if views == 0:
        return (
            "the augmentation is drawn anew in every epoch (training.augmentation.fixed_views "
            "would let it repeat)"
        )
    if epochs <= views:
        return f"its {epochs:g} epochs show each of the {views} views of an image at most once"
    return ""


def _place(size: int, room: Room) -> Place | None:
    if size <= room.memory_bytes:
        return "memory"
    return "file" if size <= room.disk_bytes * SHARE_OF_DISK else None


def input_values(depth: int, size: int) -> dict[Stage, int]:
    """Values an image in the input of each stage of a ResNet.

    Args:
        depth: of the ResNet.
        size: side of the square image, in pixels.
    """
    widening = 1 if depth < 50 else 4  # bottleneck blocks give four times their width
    values: dict[Stage, int] = {"adapter": size**2, "conv1": 3 * size**2}
    side, channels = _halved(_halved(size)), 64
    for stage, width in zip(STAGES[2:6], (64, 128, 256, 512), strict=True):
        values[stage] = channels * side**2
        side, channels = side if width == 64 else _halved(side), width * widening
    values["head"] = channels
    return values


def _halved(side: int) -> int:
    """After a convolution or pooling with stride 2 whose padding keeps the border."""
    return (side + 1) // 2
