"""One image out of an npz or npy file of images, such as MedMNIST's."""

from __future__ import annotations

import functools
import math
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.grayscale import (
    GrayscaleImage,
    ImageRecord,
    Intensity,
    Rendering,
    ValueRange,
    luma,
    render,
)
from medres.imaging.limits import LIMITS, check_count, check_file, check_pixels, open_bounded
from medres.imaging.refusal import told_alone

USUAL_NAME = re.compile(r"(train|val|test)_(images|labels)|arr_\d{1,9}")


@told_alone
def read_array(
    path: Path, member: str = "", frame: int = 0, *, intensity: Intensity | Literal["auto"] = "auto"
) -> GrayscaleImage:
    """One item of an image array, (H, W).

    Args:
        path: of an npz or npy file; pickled objects are not read.
        member: the array's name in an npz file; may be left out where there is one only.
        frame: index along N of an array (N, H, W), (N, H, W, 1) or (N, H, W, 3 colours); 0 for
            one image (H, W).
        intensity: auto gives display for unsigned integers (value / 255, / 65535), modality for
            signed ones and floats. Display of floats needs values in [0, 1].

    Raises:
        UnreadableImageError: damaged, no such member or item, no array of images, NaN.
    """
    array = _open_array(path, member)
    record = _record(path, array, frame, intensity)
    item = np.asarray(array[frame] if array.ndim > 2 else array)
    if item.dtype.kind == "f" and not np.isfinite(item).all():
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER, path, f"image {frame} holds NaN or infinite values"
        )
    values = item.astype(np.uint8) if item.dtype.kind == "b" else item
    if values.ndim == 3:
        values = luma(values) if values.shape[2] == 3 else values[..., 0]
    low, high = _value_range(array.dtype)
    if record.intensity == "display" and array.dtype.kind == "f":
        _check_unit_range(path, values)
    rendering = Rendering(stored_low=int(low), stored_high=int(high), voi=ValueRange(low, high))
    pixels, _ = render(values, rendering, record.intensity)
    return GrayscaleImage(pixels, None, record)


@told_alone
def read_array_record(path: Path, member: str = "", frame: int = 0) -> ImageRecord:
    """Shape and kind of one item.

    Raises:
        UnreadableImageError: as `read_array`, but for the values themselves.
    """
    return _record(path, _open_array(path, member), frame, "auto")


def _record(
    path: Path, array: NDArray[Any], frame: int, asked: Intensity | Literal["auto"]
) -> ImageRecord:
    color = array.ndim == 4 and array.shape[3] in (1, 3)
    if not (array.ndim in (2, 3) or color) or array.dtype.kind not in "buif" or 0 in array.shape:
        raise UnreadableImageError(
            RejectReason.NOT_AN_IMAGE,
            path,
            f"an array of shape {array.shape} and type {array.dtype.str} holds no images; "
            "(N, H, W), (N, H, W, 3) or (H, W) numbers do",
        )
    count = array.shape[0] if array.ndim > 2 else 1
    check_count(path, count)
    if not 0 <= frame < count:
        raise UnreadableImageError(
            RejectReason.FRAME_OUT_OF_RANGE,
            path,
            f"image {frame} asked for, but the array has {count}, counted from 0",
        )
    auto: Intensity = "display" if array.dtype.kind in "bu" else "modality"
    intensity = auto if asked == "auto" else asked
    low, high = _value_range(array.dtype)
    rows, columns = array.shape[-2:] if array.ndim < 4 else array.shape[1:3]
    check_pixels(path, rows, columns)
    return ImageRecord(
        format="npz",
        rows=rows,
        columns=columns,
        frame=frame,
        number_of_frames=count,
        photometric_interpretation="RGB" if color and array.shape[3] == 3 else "MONOCHROME2",
        bits_stored=8 * array.dtype.itemsize,
        intensity=intensity,
        voi=f"full range {low:g}..{high:g}" if intensity == "display" else "none: stored values",
    )


def _value_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind in "bf":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def _check_unit_range(path: Path, values: NDArray[Any]) -> None:
    if values.min() < 0 or values.max() > 1:
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER,
            path,
            f"float values {values.min():g} to {values.max():g} have no display range; scale them "
            "to [0, 1], or read with intensity modality",
        )


def _open_array(path: Path, member: str) -> NDArray[Any]:
    check_file(path)
    stat = path.stat()
    # Members of an archive are given by one path, one after the other: within a tick of the clock
    # that times files, size and time tell none from the next.
    version = (stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size)
    return _load_array(path, member, version)


@functools.lru_cache(maxsize=2)
def _load_array(path: Path, member: str, version: tuple[int, ...]) -> NDArray[Any]:  # noqa: ARG001
    """The array, kept: a member of an npz can only be inflated whole, at every image anew.

    `version` is part of the cache's key only: a file that has changed is loaded again.
    """
    try:
        with open_bounded(path) as file:
            if file.read(2) != b"PK":
                array = np.load(path, mmap_mode="r", allow_pickle=False)
                return _without_member(path, member, array)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                name = _member_name(path, member, archive.files)
                _check_member(path, archive.zip, name)
                array = archive[name]
    except UnreadableImageError:
        raise
    except Exception as error:  # zipfile and numpy raise what their parsers come upon
        raise UnreadableImageError(
            RejectReason.DECODE_FAILED,
            path,
            "the array cannot be read: cut short, damaged, or pickled objects",
        ) from error
    array.flags.writeable = False
    return np.asarray(array)


def _check_member(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    """An array that inflates to no more than is read, and holds what its own header says.

    numpy reserves what the header says before it reads; zipfile stops at the size it is told.
    """
    entry = name if name in archive.namelist() else f"{name}.npy"
    size = archive.getinfo(entry).file_size
    if size > LIMITS.volume_bytes:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"the array inflates to {size} bytes; {LIMITS.volume_bytes} are read at most",
        )
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(member)
    if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize > size:
        raise UnreadableImageError(
            RejectReason.TRUNCATED,
            path,
            f"the array's shape {shape} takes more than the {size} bytes that there are",
        )


def _without_member(path: Path, member: str, array: NDArray[Any]) -> NDArray[Any]:
    if member:
        raise UnreadableImageError(
            RejectReason.NOT_FOUND, path, "an npy file has no member; give the path"
        )
    return array


def _member_name(path: Path, member: str, names: list[str]) -> str:
    if member in names:
        return member
    if not member and len(names) == 1:
        return names[0]
    raise UnreadableImageError(
        RejectReason.NOT_FOUND,
        path,
        f"has no array of that name; it holds {_usual_names(names)}"
        if member
        else f"holds several arrays; name one of {_usual_names(names)} after ::",
    )


def _usual_names(names: list[str]) -> str:
    """Those that MedMNIST and numpy give; any other is only counted, for it may name a patient."""
    usual = [name for name in names if USUAL_NAME.fullmatch(name)]
    others = len(names) - len(usual)
    return ", ".join([*usual, *([f"{others} of other names"] if others else [])])
