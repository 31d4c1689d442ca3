"""Which random changes suit the modality: presets by modality, and the rule about flips.

A training image may be changed in the ways in which two honest images of one patient differ:
positioning, exposure, gain, noise. A left-right flip is none of these where the side means
something: a flipped chest is one with its heart on the right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medres.config import AugmentationConfig, AugmentationPreset
from medres.errors import ConfigError


@dataclass(frozen=True)
class Augmentation:
    """Amounts of random change; zero switches one off. See `medres.config.AugmentationConfig`."""

    rotate_degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    flip_probability: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    erase: float = 0.0

    @property
    def is_random(self) -> bool:
        """Whether it changes any image."""
        return any(dataclasses.astuple(self))


PRESETS: Final[Mapping[AugmentationPreset, Augmentation]] = {
    "none": Augmentation(),
    # Small tilts, shifts and distances, and the exposure: what fits any modality.
    "general": Augmentation(7.0, 0.05, 0.1, contrast=0.1, brightness=0.1),
    # A patient stands a little otherwise each time, and exposure control keeps the rest alike.
    "radiograph": Augmentation(7.0, 0.05, 0.1, contrast=0.1, brightness=0.1),
    # The right breast is the left one mirrored; compression and paddle vary its place and tilt.
    "mammogram": Augmentation(10.0, 0.1, 0.1, flip_probability=0.5, contrast=0.1, brightness=0.1),
    # The probe is held either way round; gain and time-gain compensation are set by hand.
    "ultrasound": Augmentation(
        10.0, 0.1, 0.2, flip_probability=0.5, gamma=0.4, contrast=0.3, brightness=0.3
    ),
    # HU are calibrated: hardly any change of contrast, but noise, which goes with the dose.
    "ct": Augmentation(10.0, 0.05, 0.1, contrast=0.05, brightness=0.05, noise=0.1),
    # Units differ from scanner to scanner and sequence to sequence.
    "mr": Augmentation(10.0, 0.05, 0.1, gamma=0.2, contrast=0.2, brightness=0.1, noise=0.05),
}
"""Amounts were chosen for plausibility within each modality, not tuned on any data set."""

BY_MODALITY: Final[Mapping[str, AugmentationPreset]] = {
    **dict.fromkeys(("CR", "DX", "RG", "RF", "XA"), "radiograph"),
    "MG": "mammogram",
    **dict.fromkeys(("US", "IVUS"), "ultrasound"),
    "CT": "ct",
    "MR": "mr",
}
"""Preset of each DICOM modality (PS3.3 C.7.3.1.1.1) that has one of its own."""

SIDED: Final = frozenset({"CR", "DX", "RG", "RF", "XA", "CT", "MR", "PT", "NM"})
"""Modalities of bodies in which left and right differ, or carry the side in the picture."""


@dataclass(frozen=True)
class ResolvedAugmentation:
    """What a training's augmentation comes to.

    Attributes:
        amounts: of each change.
        preset: that they come from, where they are not set one by one.
        reason: why this preset, for people.
        notes: what differs from what was asked for, or should be thought over.
    """

    amounts: Augmentation
    preset: AugmentationPreset
    reason: str
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Preset, reason and amounts, as a run's record holds them."""
        return {
            "preset": self.preset,
            "reason": self.reason,
            **dataclasses.asdict(self.amounts),
        }

    def __str__(self) -> str:
        """The preset with its reason, and the amounts that are not zero."""
        amounts = dataclasses.asdict(self.amounts)
        words = [f"{name.replace('_', ' ')} {value:g}" for name, value in amounts.items() if value]
        return f"augmentation {self.preset} ({self.reason}): {', '.join(words) or 'no change'}"


def resolve_augmentation(
    asked: AugmentationConfig, modalities: Mapping[str, int]
) -> ResolvedAugmentation:
    """Choose the preset by modality where none is named; single amounts beat it.

    Args:
        asked: of the configuration.
        modalities: DICOM codes in the training set with their counts of images; "" where an image
            names none.

    Raises:
        ConfigError: no such preset.
    """
    preset, reason = _choose(asked.preset, modalities)
    own = {
        f.name: value
        for f in dataclasses.fields(Augmentation)
        if (value := getattr(asked, f.name)) is not None
    }
    amounts = dataclasses.replace(PRESETS[preset], **own)
    sided = sorted(SIDED & modalities.keys())
    if not amounts.flip_probability or not sided:
        return ResolvedAugmentation(amounts, preset, reason)
    named = ", ".join(sided)
    if "flip_probability" in own:
        note = (
            f"Images are flipped left to right, as training.augmentation.flip_probability asks, "
            f"though there are {named} images: no finding that has a side can be learned."
        )
        return ResolvedAugmentation(amounts, preset, reason, (note,))
    note = (
        f"No image is flipped, though the augmentation preset {preset} would: there are {named} "
        "images, in which the side matters. To flip them, set "
        "training.augmentation.flip_probability."
    )
    amounts = dataclasses.replace(amounts, flip_probability=0.0)
    return ResolvedAugmentation(amounts, preset, reason, (note,))


def _choose(
    asked: AugmentationPreset, modalities: Mapping[str, int]
) -> tuple[AugmentationPreset, str]:
    if asked in PRESETS:
        return asked, "as configured"
    if asked != "auto":
        raise ConfigError(
            f"training.augmentation.preset: {asked!r} is not accepted; give one of auto, "
            f"{', '.join(PRESETS)}"
        )
    found = {BY_MODALITY.get(modality, "general") for modality in modalities}
    named = ", ".join(sorted(filter(None, modalities)))
    if len(found) > 1:
        return "general", f"images of several kinds: {named}"
    if not named:
        return "general", "the images name no modality"
    return found.pop(), f"modality {named}"
