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
from monai.utils.enums import CommonKeys, MetaKeys, SpaceKeys

from medres.imaging.grayscale import GrayscaleImage, fill_padding
from medres.imaging.isolated import IsolatedReader
from medres.imaging.read import read_grayscale
from medres.imaging.reader_protocol import ReadRequest
from medres.imaging.resampling import Fit, Geometry
from medres.transforms.affine import image_affine, resize_affine


class LoadGrayscaled(MapTransform):
    """Replace an image address by its pixels, (1, H, W) float32, rows before columns.

    Reads DICOM, NIfTI slices, PNG, JPEG and npz arrays. Modality LUT, window, polarity and
    padding are applied; see `medres.imaging.grayscale` for their order.

    Args:
        keys: of image addresses, such as `study/a.dcm` or `x.npz::train_images`.
        intensity: display in [0, 1], modality units, or auto by modality.
        frame_key: key of the frame or slice index, where the item has one; frame 0 elsewhere.
        allow_missing_keys: pass by items without the key.
        fit_size: read the image at the size that `FitGeometryd` with this size and the geometry
            below would resize it to, which is several times faster than one after the other and
            gives the same pixels to rounding. `FitGeometryd` then only pads or crops, and its
            inverse ends at that size. None reads it at its own size.
        geometry: with fit_size; see `FitGeometryd`.
        isolated: decode in a process apart, so that a file on which a decoder crashes, hangs or
            takes all memory costs one `UnreadableImageError`; for archives of unknown origin.

    Returns:
        From `__call__`, the item with a `MetaTensor` whose affine holds the pixel spacing in mm
        (see `medres.transforms.affine`), and whose meta holds, under `medres`, the record as JSON
        text: what the file says and what was applied to its pixels. Pixel padding is filled with
        the smallest value outside it.

    Raises:
        UnreadableImageError: with its reason code, where the file is no image to score.
    """

    def __init__(
        self,
        keys: KeysCollection = CommonKeys.IMAGE,
        intensity: Literal["auto", "display", "modality"] = "auto",
        frame_key: str = "frame",
        allow_missing_keys: bool = False,
        fit_size: int | None = None,
        geometry: Geometry = "pad",
        isolated: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.intensity = intensity
        self.frame_key = frame_key
        self.fit = None if fit_size is None else Fit(fit_size, geometry)
        self.reader = IsolatedReader() if isolated else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read each image of an item."""
        item = dict(data)
        frame = int(item.get(self.frame_key, 0))
        for key in self.key_iterator(item):
            item[key] = as_meta_tensor(self._read(item[key], frame), filename=str(item[key]))
        return item

    def _read(self, address: Any, frame: int) -> GrayscaleImage:
        if self.reader is None:
            return read_grayscale(address, frame, intensity=self.intensity, fit=self.fit)
        return self.reader.read(ReadRequest(str(address), frame, self.intensity, fit=self.fit))


def as_meta_tensor(image: GrayscaleImage, *, filename: str = "") -> MetaTensor:
    """One grayscale image as MONAI carries it.

    Args:
        image: pixels (H, W); padding is filled with the smallest value outside it.
        filename: for the `filename_or_obj` of MONAI's metadata.

    Returns:
        (1, H, W) float32.
    """
    meta = monai_metadata(image)
    meta[MetaKeys.ORIGINAL_CHANNEL_DIM.value] = 0
    meta["filename_or_obj"] = filename
    arrays = [name for name, value in meta.items() if isinstance(value, np.ndarray)]
    meta.update({name: torch.from_numpy(meta[name]) for name in arrays})
    affine = meta.pop(MetaKeys.AFFINE.value)
    return MetaTensor(
        torch.from_numpy(fill_padding(image.pixels, image.padding))[None], affine=affine, meta=meta
    )


def monai_metadata(image: GrayscaleImage) -> dict[str, Any]:
    """What MONAI keeps beside the pixels (H, W) of one image, read at its own size or another.

    Holds the affine (`medres.transforms.affine`), under `medres` the record as JSON text, and,
    where the file says how the image lies in the patient, the (4, 4) affine to RAS+ mm as
    `patient_affine`.
    """
    affine, shape = image_affine(image.record), (image.record.rows, image.record.columns)
    meta: dict[str, Any] = {
        # Plain texts for keys, which a `PersistentDataset` may load again: enums it refuses.
        MetaKeys.AFFINE.value: affine @ resize_affine(shape, image.pixels.shape),
        MetaKeys.ORIGINAL_AFFINE.value: affine,
        MetaKeys.SPATIAL_SHAPE.value: shape,
        MetaKeys.ORIGINAL_CHANNEL_DIM.value: float("nan"),  # MONAI's "no channel"
        MetaKeys.SPACE.value: SpaceKeys.RAS.value,
        # Text, since MONAI collates metadata: values differ in kind from image to image.
        "medres": json.dumps(image.record.as_json()),
    }
    if image.record.affine is not None:
        meta["patient_affine"] = np.array(image.record.affine)
    return meta
