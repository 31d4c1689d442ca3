"""The chains of transforms that training and evaluation run, as MONAI `Compose`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from monai.transforms import (
    Compose,
    EnsureTyped,
    RandAdjustContrastd,
    RandAffined,
    RandCoarseDropoutd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    Transform,
)
from monai.utils.enums import CommonKeys

from medres.transforms.geometry import FitGeometryd
from medres.transforms.load import LoadGrayscaled
from medres.transforms.normalize import NormalizeGrayscaled

if TYPE_CHECKING:
    from medres.transforms.augmentation import Augmentation
    from medres.transforms.preprocessing import Preprocessing

IMAGE = CommonKeys.IMAGE.value


def preprocessing_steps(preprocessing: Preprocessing) -> list[Transform]:
    """The deterministic steps: load, fit the geometry, normalise. Addresses in, (1, S, S) out."""
    return [
        LoadGrayscaled(
            IMAGE,
            intensity=preprocessing.intensity,
            fit_size=preprocessing.size,
            geometry=preprocessing.geometry,
        ),
        *fitting_steps(preprocessing),
    ]


def fitting_steps(preprocessing: Preprocessing) -> list[Transform]:
    """The same without loading: (1, H, W) in the preprocessing's intensity in, (1, S, S) out."""
    statistics = preprocessing.statistics
    return [
        FitGeometryd(IMAGE, preprocessing.size, preprocessing.geometry, pad_value=statistics.low),
        NormalizeGrayscaled(
            IMAGE, statistics.low, statistics.high, statistics.mean, statistics.std
        ),
    ]


def augmentation_steps(augmentation: Augmentation, size: int) -> list[Transform]:
    """The random steps, on normalised (1, size, size) images; see `augmentation_arguments`."""
    return [step(IMAGE, **options) for step, options in augmentation_arguments(augmentation, size)]


def augmentation_arguments(
    augmentation: Augmentation, size: int
) -> list[tuple[type[Transform], dict[str, Any]]]:
    """MONAI's random transforms with their arguments. A step whose amount is 0 is left out.

    Geometry changes every image; contrast and brightness four in five; gamma and erasing every
    second; noise three in ten; blur one in five: most images keep the quality they were taken in.

    Args:
        augmentation: amounts; see `medres.transforms.augmentation`.
        size: side of the images, in pixels.

    Returns:
        Arguments as JSON values, without the keys of the images.
    """
    a = augmentation
    side = max(1, round(a.erase * size))
    steps: list[tuple[float, type[Transform], dict[str, Any]]] = [
        (a.flip_probability, RandFlipd, {"prob": a.flip_probability, "spatial_axis": 1}),
        (
            a.rotate_degrees or a.translate or a.scale,
            RandAffined,
            {
                "prob": 1.0,
                "rotate_range": math.radians(a.rotate_degrees),
                "translate_range": [a.translate * size] * 2,
                "scale_range": [a.scale] * 2,
                "mode": "bilinear",
                "padding_mode": "border",
            },
        ),
        (
            a.blur,
            RandGaussianSmoothd,
            {"sigma_x": [0.01, a.blur], "sigma_y": [0.01, a.blur], "prob": 0.2},
        ),
        (
            a.gamma,
            RandAdjustContrastd,
            {"prob": 0.5, "gamma": [math.exp(-a.gamma), math.exp(a.gamma)]},
        ),
        (a.contrast, RandScaleIntensityd, {"factors": a.contrast, "prob": 0.8}),
        (a.brightness, RandShiftIntensityd, {"offsets": a.brightness, "prob": 0.8}),
        (a.noise, RandGaussianNoised, {"prob": 0.3, "std": a.noise}),
        (
            a.erase,
            RandCoarseDropoutd,
            {"holes": 1, "spatial_size": 1, "max_spatial_size": side, "fill_value": 0.0}
            | {"prob": 0.5},
        ),
    ]
    return [(step, options) for amount, step, options in steps if amount]


def build_evaluation_chain(preprocessing: Preprocessing) -> Compose:
    """Items `{"image": address, "frame": index}` to (1, S, S) float32, without randomness."""
    return Compose([*preprocessing_steps(preprocessing), EnsureTyped(IMAGE, track_meta=False)])


def build_train_chain(preprocessing: Preprocessing, augmentation: Augmentation) -> Compose:
    """The evaluation chain followed by augmentation; a `CacheDataset` keeps what precedes it."""
    return Compose(
        [
            *preprocessing_steps(preprocessing),
            EnsureTyped(IMAGE, track_meta=False),
            *augmentation_steps(augmentation, preprocessing.size),
            EnsureTyped(IMAGE, track_meta=False),
        ]
    )
