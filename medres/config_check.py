"""Values of a configuration that no run can have."""

from __future__ import annotations

import dataclasses

from medres.config import STEM_INITS, RunConfig
from medres.errors import ConfigError


def check_config(config: RunConfig) -> RunConfig:
    """Refuse values that no run can have.

    Returns:
        The same configuration.

    Raises:
        ConfigError: naming the key, its value and what is accepted.
    """
    training, pixels, fractions = config.training, config.pixels, config.data.fractions
    low, high = pixels.clip_percentiles
    stem_inits = ("auto", *STEM_INITS[config.model.stem])
    rules: list[tuple[str, object, bool, str]] = [
        (
            "model.stem_init",
            config.model.stem_init,
            config.model.stem_init in stem_inits,
            f"one of {', '.join(stem_inits)} with model.stem {config.model.stem}",
        ),
        ("pixels.size", pixels.size, pixels.size >= 32, "at least 32 pixels"),
        (
            "pixels.clip_percentiles",
            pixels.clip_percentiles,
            0 <= low < high <= 100,
            "two percentiles, 0 <= low < high <= 100",
        ),
        (
            "data.fractions",
            fractions,
            min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-6,
            "three positive fractions that add up to 1",
        ),
        ("training.epochs", training.epochs, training.epochs >= 1, "at least 1"),
        ("training.batch_size", training.batch_size, training.batch_size >= 2, "at least 2"),
        ("training.accumulate", training.accumulate, training.accumulate >= 1, "at least 1"),
        (
            "training.checkpoint_minutes",
            training.checkpoint_minutes,
            training.checkpoint_minutes >= 0,
            "0 or more",
        ),
        (
            "training.checkpoint_steps",
            training.checkpoint_steps,
            training.checkpoint_steps >= 0,
            "0 or more",
        ),
        ("training.learning_rate", training.learning_rate, training.learning_rate > 0, "above 0"),
        ("training.weight_decay", training.weight_decay, training.weight_decay >= 0, "0 or more"),
        (
            "training.label_smoothing",
            training.label_smoothing,
            0 <= training.label_smoothing < 1,
            "from 0 to below 1",
        ),
        ("training.focal_gamma", training.focal_gamma, training.focal_gamma >= 1, "1 or more"),
        (
            "data.uncertain_value",
            repr(config.data.uncertain_value),
            config.data.uncertain_value not in ("", "0", "1"),
            "a cell that is no label, such as -1",
        ),
        ("training.ema_decay", training.ema_decay, 0 <= training.ema_decay < 1, "0 to below 1"),
        ("training.patience", training.patience, training.patience >= 0, "0 or more"),
        ("training.workers", training.workers, training.workers >= 0, "0 or more"),
        ("training.cache_gib", training.cache_gib, training.cache_gib >= 0, "0 or more"),
        (
            "training.warmup_epochs",
            training.warmup_epochs,
            0 <= training.warmup_epochs < training.epochs,
            "from 0 to below training.epochs",
        ),
        (
            "evaluation.sensitivity",
            config.evaluation.sensitivity,
            0 < config.evaluation.sensitivity < 1,
            "between 0 and 1",
        ),
        (
            "evaluation.specificity",
            config.evaluation.specificity,
            0 < config.evaluation.specificity < 1,
            "between 0 and 1",
        ),
        (
            "evaluation.band",
            config.evaluation.band,
            all(0 < rate < 1 for rate in config.evaluation.band or ()),
            "a sensitivity and a specificity between 0 and 1, as [0.95, 0.9], or null",
        ),
        (
            "guard.false_alarms",
            config.guard.false_alarms,
            0 < config.guard.false_alarms < 1,
            "a share between 0 and 1",
        ),
        (
            "evaluation.miss_cost",
            config.evaluation.miss_cost,
            0 < config.evaluation.miss_cost < float("inf"),
            "a number above 0",
        ),
        (
            "evaluation.prevalence",
            config.evaluation.prevalence,
            0 < (config.evaluation.prevalence or 0.5) < 1,
            "between 0 and 1",
        ),
    ]
    for key, value, holds, accepted in rules:
        if not holds:
            raise ConfigError(f"{key}: {value} is not accepted; give {accepted}")
    for f in dataclasses.fields(config.image_rule):
        values = getattr(config.image_rule, f.name)
        if "" in values or ("any" in values and len(values) > 1):
            raise ConfigError(
                f"image_rule.{f.name}: {values} is not accepted; give values of the header, or "
                "any alone"
            )
    for f in dataclasses.fields(training.augmentation):
        amount = getattr(training.augmentation, f.name)
        if isinstance(amount, float | int) and amount < 0:
            raise ConfigError(
                f"training.augmentation.{f.name}: {amount} is not accepted; give 0 or more"
            )
    return config
