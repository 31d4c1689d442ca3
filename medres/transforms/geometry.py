"""Bring images of any size to the network's square input."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.transforms.inverse import TraceableTransform
from monai.utils.enums import CommonKeys, TraceKeys
from torch import Tensor
from torch.nn import functional

from medres.imaging.resampling import Fit, Geometry
from medres.transforms.affine import resize_affine


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resample (1, H, W) to (1, height, width): bilinear, antialiased where it shrinks."""
    if tuple(image.shape[1:]) == (height, width):
        return image
    resized: Tensor = functional.interpolate(
        image[None], (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0]


def fit_square(image: Tensor, size: int, geometry: Geometry, pad_value: float) -> Tensor:
    """Resize (1, H, W), then pad or crop about the centre to (1, size, size)."""
    height, width = image.shape[1:]
    resized = resize(image, *Fit(size, geometry).shape(height, width))
    return _place(resized, size, pad_value)


def unfit_square(
    square: Tensor, shape: tuple[int, int], geometry: Geometry, fill: float = 0.0
) -> Tensor:
    """Bring a square back to the rows and columns of the image that `fit_square` made it from.

    Args:
        square: (1, S, S), an image or a map over one.
        shape: H, W of the original image.
        geometry: that it was fitted with.
        fill: what stands where crop has cut the image off.

    Returns:
        (1, H, W).
    """
    size = square.shape[-1]
    rows, columns = Fit(size, geometry).shape(*shape)
    top, left = _offsets(rows, columns, size)
    borders = (-left, left + columns - size, -top, top + rows - size)
    return resize(functional.pad(square, borders, value=fill), *shape)


def _offsets(height: int, width: int, size: int) -> tuple[int, int]:
    """Where the resized image's first row and column stand in the square; negative crops."""
    return (size - height) // 2, (size - width) // 2


def _place(image: Tensor, size: int, pad_value: float) -> Tensor:
    height, width = image.shape[1:]
    top, left = _offsets(height, width, size)
    borders = (left, size - width - left, top, size - height - top)
    return functional.pad(image, borders, value=pad_value) if any(borders) else image


class FitGeometryd(MapTransform, InvertibleTransform):
    """Bring (1, H, W) images to (1, size, size); undone by `inverse`.

    Args:
        keys: of the images.
        size: side of the square, in pixels.
        geometry: pad keeps the aspect ratio and shows all of the image; crop keeps it and fills
            the square; squash does neither and changes the aspect ratio.
        pad_value: what padding is filled with; in display intensity 0 is black.
        allow_missing_keys: pass by items without the key.
    """

    def __init__(
        self,
        keys: KeysCollection = CommonKeys.IMAGE,
        size: int = 224,
        geometry: Geometry = "pad",
        pad_value: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.size = size
        self.geometry = geometry
        self.pad_value = pad_value

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Fit each image of an item."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self._fit(item[key])
        return item

    def _fit(self, image: Tensor) -> Tensor:
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        fitted = fit_square(plain, self.size, self.geometry, self.pad_value)
        if not isinstance(image, MetaTensor):
            return fitted
        shape = tuple(plain.shape[1:])
        meta = TraceableTransform.track_transform_meta(
            image,
            sp_size=(self.size, self.size),
            affine=_index_affine(shape, self.size, self.geometry),
            extra_info={"shape": shape},
            orig_size=shape,
            transform_info=self.get_transform_info(),
            lazy=False,
        )
        tracked: Tensor = MetaTensor(fitted).copy_meta_from(meta)
        return tracked

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring squares back to the image's own rows and columns; cropped parts stay `pad_value`.

        Args:
            data: item whose images this transform has fitted.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self._undo(item[key])
        return item

    def _undo(self, image: MetaTensor) -> MetaTensor:
        info = self.pop_transform(image)
        height, width = (int(n) for n in info[TraceKeys.EXTRA_INFO]["shape"])
        plain = unfit_square(image.as_tensor(), (height, width), self.geometry, self.pad_value)
        undone: MetaTensor = MetaTensor(plain).copy_meta_from(image)
        step = _index_affine((height, width), self.size, self.geometry).to(image.affine)
        undone.affine = image.affine @ torch.linalg.inv(step)
        return undone


def _index_affine(shape: tuple[int, ...], size: int, geometry: Geometry) -> Tensor:
    """(4, 4) float64: from a pixel's index in the square to its index in the image."""
    resized = Fit(size, geometry).shape(shape[0], shape[1])
    moved = np.eye(4)
    moved[:2, 3] = [-offset for offset in _offsets(*resized, size)]
    return torch.from_numpy(resize_affine(shape, resized) @ moved)
