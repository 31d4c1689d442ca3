"""What is kept of a frozen trunk, how large it is, and the reasons where it is not."""

import dataclasses
from pathlib import Path

import pytest
import torch

from medres.config import AugmentationConfig, ModelConfig, PixelsConfig, RunConfig, TrainingConfig
from medres.models.prefix import run_stages
from medres.models.resnet import GrayscaleResNet
from medres.models.stages import STAGES
from medres.training.feature_plan import (
    FeaturePlan,
    ImageCounts,
    Room,
    first_open_stage,
    format_size,
    input_values,
    plan_features,
    plan_run_features,
)
from medres.training.presets import build_schedule
from medres.training.schedule import Schedule

AMPLE = Room(memory_bytes=2**33, disk_bytes=2**40)
COUNTS = ImageCounts(train=100, validation=20, views=1)


def schedule(preset: str = "gradual", stem: str = "port", frozen_epochs: float = 2.0) -> Schedule:
    return build_schedule(
        preset, epochs=10, steps_per_epoch=5, frozen_epochs=frozen_epochs, stem=stem
    )


def plan(
    course: Schedule, counts: ImageCounts = COUNTS, room: Room = AMPLE, **options
) -> FeaturePlan:
    values = input_values(18, 224)
    return plan_features(course, counts, values, room, **{"value_bytes": 4, **options})


def test_gradual_keeps_the_input_of_the_first_open_stage() -> None:
    phases = plan(schedule()).phases
    assert [(p.first_step, p.end_step, p.start, p.kept_in) for p in phases] == [
        (0, 10, "head", "memory"),
        (10, 20, "layer4", "memory"),
        (20, 30, "layer3", "memory"),
        (30, 40, "layer2", "memory"),
        (40, 50, "conv1", None),
    ]
    assert [p.size_bytes for p in phases[:4]] == [
        120 * 512 * 4,
        120 * 256 * 14**2 * 4,
        120 * 128 * 28**2 * 4,
        120 * 64 * 56**2 * 4,
    ]
    assert phases[4].reason == "no stage in front of conv1 is frozen"


def test_layer4_open_takes_98_kib_an_image_in_half_precision() -> None:
    phase = plan(schedule(), ImageCounts(1, 0, 1), value_bytes=2).phases[1]
    assert phase.size_bytes == 98 * 1024


def test_plan_finds_the_phase_of_a_step() -> None:
    gradual = plan(schedule())
    assert [gradual.at(step).start for step in (0, 9, 10, 49, 60)] == [
        "head", "head", "layer4", "conv1", "conv1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("course", "counts", "room", "options", "reason"),
    [
        (schedule(), COUNTS, AMPLE, {"wanted": "off"}, "training.feature_cache is off"),
        (
            schedule(),
            ImageCounts(100, 20, 0),
            AMPLE,
            {},
            (
                "the augmentation is drawn anew in every epoch (training.augmentation.fixed_views "
                "would let it repeat)"
            ),
        ),
        (
            schedule(stem="adapter"),
            COUNTS,
            AMPLE,
            {},
            "the adapter trains, and whatever follows depends on it",
        ),
        (schedule("full"), COUNTS, AMPLE, {}, "no stage in front of conv1 is frozen"),
        (
            schedule(),
            ImageCounts(100, 20, 2),
            AMPLE,
            {},
            "its 2 epochs show each of the 2 views of an image at most once",
        ),
        (
            schedule(),
            COUNTS,
            Room(200_000, 400_000),
            {},
            (
                "its 240.0 KiB fit neither into the 195.3 KiB of memory that training.cache_gib "
                "leaves nor into half of the 390.6 KiB that are free on the run folder's disk"
            ),
        ),
    ],
)
def test_plan_says_why_nothing_is_kept(course, counts, room, options, reason) -> None:
    first = plan(course, counts, room, **options).phases[0]
    assert (first.kept_in, first.reason) == (None, reason)


def test_features_that_memory_does_not_hold_go_into_a_file() -> None:
    phases = plan(schedule(), room=Room(10**6, 2**40)).phases
    assert [p.kept_in for p in phases] == ["memory", "file", "file", "file", None]


def test_each_view_that_a_phase_shows_has_its_features() -> None:
    # 7 epochs of 8 views would show each once; 3 views are kept for the 100 training images.
    course = schedule("freeze_then_finetune", frozen_epochs=7)
    assert plan(course, ImageCounts(100, 20, 3)).phases[0].size_bytes == 320 * 512 * 4
    assert plan(course, ImageCounts(100, 20, 8)).phases[0].kept_in is None


def test_stages_that_open_behind_the_first_open_one_begin_no_phase() -> None:
    opened = schedule("discriminative")
    stages = tuple(
        dataclasses.replace(s, opens_at={"layer3": 0, "head": 0, "layer4": 20}.get(s.stage, 30))
        for s in opened.stages
    )
    phases = plan(dataclasses.replace(opened, stages=stages)).phases
    assert [(p.first_step, p.start) for p in phases] == [(0, "layer3"), (30, "conv1")]


def test_adapter_that_opens_ends_what_was_frozen() -> None:
    held = build_schedule(
        "freeze_then_finetune",
        epochs=10,
        steps_per_epoch=5,
        stem="adapter",
        adapter_frozen_steps=6,
    )
    assert first_open_stage(held, 5) == "head"
    assert first_open_stage(held, 6) == "adapter"
    assert [p.kept_in for p in plan(held).phases] == ["memory", None]


@pytest.mark.parametrize(
    ("preset", "stem", "adapter_frozen_steps", "starts"),
    [
        ("linear_probe", "port", 0, ["head"]),
        ("linear_probe", "adapter", 0, ["adapter"]),
        ("linear_probe", "adapter", -1, ["head"]),
        ("gradual", "adapter", -1, ["head", "layer4", "layer3", "layer2", "conv1"]),
        ("surgical", "port", 0, ["conv1"]),
        ("batch_norm_affine", "port", 0, ["conv1"]),
    ],
)
def test_phases_follow_the_preset_and_the_adapter(
    preset, stem, adapter_frozen_steps, starts
) -> None:
    course = build_schedule(
        preset,
        epochs=20,
        steps_per_epoch=5,
        stem=stem,
        adapter_frozen_steps=adapter_frozen_steps,
    )
    phases = plan(course).phases
    assert [p.start for p in phases] == starts
    assert [p.kept_in for p in phases] == [
        None if start in ("adapter", "conv1") else "memory" for start in starts
    ]
    assert phases[-1].end_step == 100


def test_plan_reads_as_lines() -> None:
    lines = plan(schedule(), ImageCounts(100, 20, 1)).describe()
    assert lines[1] == (
        "epochs 2 to 4, layer4 on trains: its input is computed once for 100 training images and "
        "20 validation images, 23.0 MiB in memory"
    )
    assert lines[4] == (
        "epochs 8 to 10, conv1 on trains: all is computed anew, since no stage in front of conv1 "
        "is frozen"
    )
    views = plan(schedule("freeze_then_finetune", frozen_epochs=7), ImageCounts(100, 20, 3))
    assert "100 training images in 3 views and 20 validation images" in views.describe()[0]


@pytest.mark.parametrize(
    ("size", "words"), [(512, "0.5 KiB"), (3 * 2**20, "3.0 MiB"), (5 * 2**30, "5.0 GiB")]
)
def test_sizes_are_said_in_a_unit_that_suits_them(size, words) -> None:
    assert format_size(size) == words


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("size", [64, 77])
def test_values_of_each_input_are_those_of_the_network(depth, size) -> None:
    network = GrayscaleResNet(depth, "duplicate").eval()
    image = torch.zeros(1, 1, size, size)
    with torch.no_grad():
        found = {s: run_stages(network, image, "adapter", s)[0].numel() for s in STAGES[1:]}
    expected = input_values(depth, size)
    del found["conv1"]  # three equal channels, or one
    assert found == {stage: expected[stage] for stage in STAGES[2:]}


def run_plan(out: Path, cache_gib: float, *, fixed_views: int = 0, random: bool) -> FeaturePlan:
    config = RunConfig(
        out=out / "not" / "yet",
        model=ModelConfig(depth=18),
        pixels=PixelsConfig(size=224),
        training=TrainingConfig(
            cache_gib=cache_gib, augmentation=AugmentationConfig(fixed_views=fixed_views)
        ),
    )
    return plan_run_features(
        config, schedule(), train=50, validation=10, random=random, value_bytes=2
    )


@pytest.mark.parametrize(
    ("random", "fixed_views", "views"), [(True, 0, 0), (False, 0, 1), (False, 4, 1), (True, 4, 4)]
)
def test_views_are_those_of_the_augmentation(tmp_path, random, fixed_views, views) -> None:
    made = run_plan(tmp_path, 4.0, fixed_views=fixed_views, random=random)
    assert made.counts == ImageCounts(50, 10, views)


def test_features_get_the_memory_that_images_leave(tmp_path) -> None:
    # 60 images take 11.5 MiB; the inputs of layer4 another 5.7, of the head 0.06.
    def places(gib: float) -> list[str | None]:
        return [p.kept_in for p in run_plan(tmp_path, gib, random=False).phases[:2]]

    assert places(18 / 1024) == ["memory", "memory"]
    assert places(12 / 1024) == ["memory", "file"]
    assert places(11 / 1024) == ["memory", "memory"]  # the images did not fit
    assert places(0) == ["file", "file"]
