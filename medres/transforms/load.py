"""Read a file inside a MONAI chain, as a reading workstation would show it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils.enums import CommonKeys, MetaKeys

from medres.imaging.grayscale import GrayscaleImage
from medres.imaging.read import read_grayscale


class LoadGrayscaled(MapTransform):
    """Replace an image address by its pixels, (1, H, W) float32, rows before columns.

    Reads DICOM, NIfTI slices, PNG, JPEG and npz arrays. Modality LUT, window, polarity and
    padding are applied; see `medres.imaging.grayscale` for their order.

    Args:
        keys: of image addresses, such as `study/a.dcm` or `x.npz::train_images`.
        intensity: display in [0, 1], modality units, or auto by modality.
        frame_key: key of the frame or slice index, where the item has one; frame 0 elsewhere.
        allow_missing_keys: pass by items without the key.

    Returns:
        From `__call__`, the item with a `MetaTensor` whose meta holds the pixel spacing in its
        affine (mm, row then column) and, under `medres`, the record as JSON text:
        what the file says and what was applied to its pixels. Pixel
        padding is filled with the smallest value outside it.

    Raises:
        UnreadableImageError: with its reason code, where the file is no image to score.
    """

    def __init__(
        self,
        keys: KeysCollection = CommonKeys.IMAGE,
        intensity: Literal["auto", "display", "modality"] = "auto",
        frame_key: str = "frame",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.intensity = intensity
        self.frame_key = frame_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read each image of an item."""
        item = dict(data)
        frame = int(item.get(self.frame_key, 0))
        for key in self.key_iterator(item):
            image = read_grayscale(item[key], frame, intensity=self.intensity)
            item[key] = as_meta_tensor(image, filename=str(item[key]))
        return item


def as_meta_tensor(image: GrayscaleImage, *, filename: str = "") -> MetaTensor:
    """One grayscale image as MONAI carries it.

    Args:
        image: pixels (H, W); padding, where it has any, is filled with the smallest value
            outside it, so that no padding value passes for tissue.
        filename: for the `filename_or_obj` of MONAI's metadata.

    Returns:
        (1, H, W) float32.
    """
    pixels = image.pixels
    if image.padding is not None and image.padding.any() and not image.padding.all():
        pixels = np.where(image.padding, pixels[~image.padding].min(), pixels)
    row_mm, column_mm = image.record.pixel_spacing_mm or (1.0, 1.0)
    affine = torch.diag(torch.tensor([row_mm, column_mm, 1.0, 1.0], dtype=torch.float64))
    meta = {
        "filename_or_obj": filename,
        MetaKeys.ORIGINAL_AFFINE: affine.clone(),
        MetaKeys.SPATIAL_SHAPE: np.array(pixels.shape),
        # Text, since MONAI collates metadata: values differ in kind from image to image.
        "medres": json.dumps(image.record.as_json()),
    }
    tensor = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    return MetaTensor(tensor[None], affine=affine, meta=meta)
