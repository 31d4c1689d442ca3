"""Give MONAI's `LoadImage` the images that medres reads."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias

import numpy as np
from monai.data.image_reader import ImageReader, PydicomReader
from monai.utils.enums import MetaKeys
from numpy.typing import NDArray

from medres.errors import ConfigError, RejectReason, UnreadableImageError
from medres.imaging.grayscale import fill_padding
from medres.imaging.read import read_grayscale, sniff_format, split_address
from medres.transforms.load import monai_metadata

Address: TypeAlias = str | PathLike[str]


class MedresReader(ImageReader):
    """Reader for `LoadImage` and `LoadImaged`: the same pixels as `LoadGrayscaled` gives.

        LoadImaged("image", reader=MedresReader(), ensure_channel_first=True)

    Pixels are (H, W) float32, rows before columns: nothing is transposed, against MONAI's own
    readers. Modality LUT, window, polarity and padding are applied. With a list of addresses the
    images are stacked to (C, H, W).

    Args:
        intensity: display in [0, 1], modality units, or auto by modality.
        frame: index of the frame, slice or page of every file.
        voi_index: which of several windows or VOI LUTs of a DICOM file.
        legacy_monai: give exactly what MONAI's `PydicomReader()` gives, for models trained on it:
            columns before rows, no window, MONOCHROME1 left inverted, frames as they come, and
            its metadata. DICOM alone is read, and the other arguments must keep their defaults.

    Raises:
        ConfigError: legacy_monai together with another argument.
    """

    def __init__(
        self,
        intensity: Literal["auto", "display", "modality"] = "auto",
        frame: int = 0,
        voi_index: int = 0,
        legacy_monai: bool = False,
    ) -> None:
        if legacy_monai and (intensity, frame, voi_index) != ("auto", 0, 0):
            raise ConfigError(
                "MedresReader: legacy_monai gives what MONAI's own reader gives, which knows no "
                "intensity, frame or voi_index; leave those out, or legacy_monai"
            )
        self.intensity = intensity
        self.frame = frame
        self.voi_index = voi_index
        self.legacy = PydicomReader() if legacy_monai else None

    def verify_suffix(self, filename: Sequence[Address] | Address) -> bool:
        """Whether medres reads these files: by their content, whatever their suffix.

        Args:
            filename: one address or several.
        """
        if self.legacy is not None:
            return bool(self.legacy.verify_suffix(filename))
        return all(_is_known(address) for address in _addresses(filename))

    def read(self, data: Sequence[Address] | Address, **kwargs: Any) -> Any:
        """Take the addresses; the files are read by `get_data`.

        `LoadImage` answers any error of `read` by trying its other readers. A file that medres
        refuses would then come out of one of them, with pixels that mean something else.

        Args:
            data: one address or several, such as `study/a.dcm` or `x.nii.gz::coronal`.
            kwargs: for `pydicom.dcmread`, with legacy_monai alone.
        """
        if self.legacy is not None:
            return self.legacy.read(data, **kwargs)
        return _addresses(data)

    def get_data(self, img: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Pixels, (H, W), or (C, H, W) of several files; and MONAI's metadata of the first file.

        Args:
            img: what `read` has returned.

        Returns:
            The metadata's affine is that of `medres.transforms.affine.image_affine`; under
            `medres` is the record as JSON text, as from `LoadGrayscaled`.

        Raises:
            UnreadableImageError: with its reason code, where a file is no image to score, or
                where several differ in shape.
        """
        if self.legacy is not None:
            pixels, metadata = self.legacy.get_data(img)
            return pixels, metadata
        images = [
            read_grayscale(address, self.frame, intensity=self.intensity, voi_index=self.voi_index)
            for address in img
        ]
        for address, image in zip(img, images, strict=True):
            if image.pixels.shape != images[0].pixels.shape:
                raise UnreadableImageError(
                    RejectReason.INVALID_HEADER,
                    address,
                    f"is {image.pixels.shape} pixels, but the first file of the list is "
                    f"{images[0].pixels.shape}; channels of one image have one shape",
                )
        filled = [fill_padding(image.pixels, image.padding) for image in images]
        metadata = monai_metadata(images[0])
        if len(images) == 1:
            return filled[0], metadata
        metadata[MetaKeys.ORIGINAL_CHANNEL_DIM] = 0
        return np.stack(filled), metadata


def _addresses(filename: Sequence[Address] | Address) -> tuple[str, ...]:
    if isinstance(filename, (str, PathLike)):
        return (str(filename),)
    return tuple(str(name) for name in filename)


def _is_known(address: str) -> bool:
    try:
        return sniff_format(split_address(address)[0]) is not None
    except (OSError, UnreadableImageError):
        return False
