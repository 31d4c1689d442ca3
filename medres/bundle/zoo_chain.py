"""The transform chain of a bundle of others: from the path of an image to the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from monai.data.image_reader import NumpyReader
from monai.transforms import Compose, LoadImage, LoadImaged, MapTransform
from numpy.typing import NDArray

from medres.bundle.zoo_config import ZooConfig
from medres.bundle.zoo_files import read_config, read_formats, trusted_part
from medres.errors import BundleError, RejectReason, UnreadableImageError
from medres.imaging.read import sniff_format

READ: Final = ("dicom", "raster", "nifti")


@dataclass(frozen=True)
class Chain:
    """A bundle's own chain.

    Attributes:
        transforms: of dictionaries.
        key: of the image in them.
    """

    transforms: Compose
    key: str

    def apply(self, path: str) -> NDArray[np.float32]:
        """The network's input (C, H, W) of one image; shape and range are the chain's.

        Raises:
            UnreadableImageError: no image, or one that the chain does not take.
        """
        check_address(path)
        try:
            image = torch.as_tensor(self.transforms({self.key: path})[self.key])
            pixels = np.ascontiguousarray(image.detach().cpu().numpy(), np.float32)
        except Exception as error:  # the bundle's own chain, of which nothing is known
            reason = RejectReason.DECODE_FAILED
            if isinstance(_root(error), MemoryError):
                reason = RejectReason.TOO_LARGE
            raise UnreadableImageError(reason, path, not_taken("chain", error)) from None
        if not np.isfinite(pixels).all():
            message = "the bundle's own chain makes pixels of it that are no numbers"
            raise UnreadableImageError(RejectReason.DECODE_FAILED, path, message)
        return pixels


def load_chain(folder: Path, *, trust: bool = False) -> Chain:
    """Read the chain of a bundle.

    Args:
        folder: of the bundle.
        trust: run its config as code.

    Raises:
        BundleError: a part is missing or damaged, or needs what is not allowed without `trust`.
    """
    name, config = read_config(folder)
    steps = trusted_part(folder, name, "preprocessing") if trust else _built(config)
    return Chain(steps, read_formats(folder).image_key)


def _built(config: ZooConfig) -> Compose:
    chain = config.build("preprocessing")
    if not isinstance(chain, Compose):
        raise BundleError(
            f"{config.name}: preprocessing is {type(chain).__name__}; a Compose is expected"
        )
    for step in chain.transforms:
        if isinstance(step, MapTransform):
            step.allow_missing_keys = True  # an image to be scored has no label
        loader = step._loader if isinstance(step, LoadImaged) else step
        if isinstance(loader, LoadImage):  # it tries reader after reader, and this one unpickles
            loader.readers = [r for r in loader.readers if not isinstance(r, NumpyReader)]
    return chain


def check_address(address: str) -> None:
    """Refuse what MONAI's readers would unpickle.

    Raises:
        UnreadableImageError: no file, or neither DICOM, NIfTI nor a picture.
    """
    path = Path(address)
    try:
        known = sniff_format(path)
    except OSError:
        message = "the file cannot be opened; check its permissions"
        raise UnreadableImageError(RejectReason.NOT_FOUND, address, message) from None
    if known not in READ or path.suffix.lower() in (".npy", ".npz", ".pkl"):
        raise UnreadableImageError(
            RejectReason.UNKNOWN_FORMAT,
            address,
            "is neither DICOM, NIfTI nor a picture; a bundle's own chain reads no other files here",
        )


def not_taken(part: str, error: BaseException) -> str:
    """Why an image is refused, without the error's own words, which may quote the file."""
    return f"the bundle's own {part} does not take it ({type(_root(error)).__name__})"


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
