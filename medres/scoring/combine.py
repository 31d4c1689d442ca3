"""From the images of a study to the study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

from medres.errors import ConfigError

Rule = Literal["mean", "max", "noisy-or"]
RULES: tuple[Rule, ...] = get_args(Rule)
SIDES = ("R", "L")
Probabilities = tuple[float, ...]


@dataclass(frozen=True)
class Combined:
    """One study.

    Args:
        probabilities: (F,) in [0, 1].
        sides: the same of the images of each side, where both were taken; else empty.
    """

    probabilities: Probabilities
    sides: Mapping[str, Probabilities]


def check_rule(rule: Rule, kind: str) -> None:
    """Refuse a rule that the kind of model does not allow.

    Raises:
        ConfigError: another rule than mean for classes, of which each image has one.
    """
    if rule not in RULES:
        raise ConfigError(f"combine: {rule!r} is not accepted; give one of {', '.join(RULES)}")
    if kind == "multiclass" and rule != "mean":
        raise ConfigError(
            f"combine: {rule!r} is not accepted for a multiclass model, whose probabilities sum to "
            "1; give mean"
        )


def combine_images(
    images: Sequence[Probabilities], lateralities: Sequence[str], rule: Rule, kind: str
) -> Combined:
    """Combine a study's images by a rule; a study with images of both sides, side by side.

    mean is the mean over images, max the largest; noisy-or is 1 - ∏(1 - p), the chance that any of
    several independent looks finds it. Where there are images of the right and of the left
    (breasts, hands), each side is combined by itself, images of neither side by themselves too,
    and the study has the largest: a finding on either side is one. Classes of a multiclass model
    have no sides.

    Args:
        images: N of (F,) in [0, 1], at least one.
        lateralities: N of R, L, or anything else for neither.
        rule: see above.
        kind: of the model: binary, multilabel or multiclass.
    """
    if kind == "multiclass" or not set(SIDES) <= set(lateralities):
        return Combined(_combine(images, rule), {})
    groups: dict[str, list[Probabilities]] = {}
    for image, side in zip(images, lateralities, strict=True):
        groups.setdefault(side if side in SIDES else "", []).append(image)
    combined = {side: _combine(group, rule) for side, group in groups.items()}
    largest = tuple(map(max, zip(*combined.values(), strict=True)))
    return Combined(largest, {side: combined[side] for side in SIDES})


def _combine(images: Sequence[Probabilities], rule: Rule) -> Probabilities:
    columns = [*zip(*images, strict=True)]
    if rule == "mean":
        return tuple(map(fmean, columns))
    if rule == "max":
        return tuple(map(max, columns))
    return tuple(1.0 - math.prod(1.0 - p for p in column) for column in columns)
