"""Schedules that show their preset's own rates."""

from medres.training.presets import build_schedule

STAGES = ("adapter", "conv1", "layer1", "layer2", "layer3", "layer4", "head")


def constant(preset, **options):
    """A schedule without warm-up or decay, so that its rates are the preset's own."""
    settings = {"epochs": 10, "steps_per_epoch": 10, "frozen_epochs": 2, "stem": "adapter"}
    return build_schedule(
        preset,
        **{**settings, **options},
        course="constant",
        warmup_epochs=0,
        stage_warmup_epochs=0,
    )


def rates(schedule, step):
    return {n: round(s.learning_rate, 9) for n, s in schedule.at(step).items() if s.active}
