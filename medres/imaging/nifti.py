"""One slice of a NIfTI volume, as a radiologist sees it.

Whatever order and direction a file stores its axes in, a slice is shown in the radiological
convention: axial with anterior at the top and the patient's right at the image's left; coronal
with superior at the top and right at the left; sagittal with superior at the top and anterior at
the left. Slices are counted along the axis of the RAS+ volume closest to the file's own: axial
from inferior to superior, coronal from posterior to anterior, sagittal from left to right.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from typing import Any, Literal, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Extensions
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.grayscale import (
    GrayscaleImage,
    ImageRecord,
    Intensity,
    Rendering,
    Rescale,
    ValueRange,
    modality_range,
    render,
)
from medres.imaging.limits import (
    LARGEST_DEFLATE_RATIO,
    LIMITS,
    check_count,
    check_pixels,
    open_bounded,
)
from medres.imaging.plane import slice_affine
from medres.imaging.refusal import silent_log, told_alone

HEADER_BYTES = 352
# World axes (0 right, 1 anterior, 2 superior) that a plane's slices, rows and columns run along.
PLANES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}


class _NoExtensions(Nifti1Extensions):
    """Extensions may hold whole DICOM headers, and sizes that are not theirs: none is read."""

    @classmethod
    def from_fileobj(cls, fileobj: Any, size: int, byteswap: bool) -> Any:  # noqa: ARG003
        return cls()


class _Nifti1Header(nib.Nifti1Header):
    exts_klass = _NoExtensions


class _Nifti2Header(nib.Nifti2Header):
    exts_klass = _NoExtensions


class _Nifti1Volume(nib.Nifti1Image):
    header_class = _Nifti1Header


class _Nifti2Volume(nib.Nifti2Image):
    header_class = _Nifti2Header


@dataclass(frozen=True)
class _Plane:
    """How a plane lies in the stored array: axis and direction of slices, rows, columns.

    `beyond` is the index along the axes beyond the third: which volume of a series it is.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    beyond: tuple[int, ...]


@told_alone
def read_nifti(
    path: Path, plane: str = "", frame: int = 0, *, intensity: Intensity | Literal["auto"] = "auto"
) -> GrayscaleImage:
    """One slice, (H, W), scaled by the file's slope and intercept.

    Args:
        path: of a single-file NIfTI-1 or NIfTI-2 volume, compressed by gzip or not.
        plane: axial (also if empty), coronal or sagittal; of a series of volumes (4D and more)
            with a colon and the volume's index behind it, such as `axial:3`, the first without.
            Volumes of more than one further axis are counted with the fourth axis fastest.
        frame: the slice, from 0.
        intensity: auto gives modality, the scaled values. Display takes the header's cal_min and
            cal_max, or else the full range of the integers stored.

    Returns:
        Pixels; voxels that are NaN or infinite are padding, and 0.

    Raises:
        UnreadableImageError: cut short or damaged, no such plane or slice, colour or complex
            voxels, a display range that the file does not give.
    """
    with _open_volume(path) as volume:
        lie = _plane(path, volume, plane)
        record = _record(path, volume, lie, frame, intensity)
        with np.errstate(all="ignore"):  # overflow gives infinity, which is padding
            values = _slice(volume, lie, frame)
        rendering = _rendering(path, volume, record.intensity)
    missing = ~np.isfinite(values)
    values = np.where(missing, 0.0, values)
    with np.errstate(all="ignore"):
        pixels, _ = render(values, rendering, record.intensity)
    if not np.isfinite(pixels).all():
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER, path, "values or display range are beyond float32's range"
        )
    pixels[missing] = 0.0
    return GrayscaleImage(pixels, missing if missing.any() else None, record)


@told_alone
def read_nifti_record(path: Path, plane: str = "", frame: int = 0) -> ImageRecord:
    """What the header says of one slice.

    Raises:
        UnreadableImageError: as `read_nifti`, but for damage in the voxels.
    """
    with _open_volume(path) as volume:
        return _record(path, volume, _plane(path, volume, plane), frame, "auto")


@told_alone
def find_empty_slices(path: Path, plane: str = "") -> tuple[bool, ...]:
    """Which slices are empty: (S,), True where all finite voxels are equal, or none is finite.

    The volume is read once, one slab at a time; of a series of volumes the one that plane names.

    Raises:
        UnreadableImageError: as `read_nifti`.
    """
    with _open_volume(path) as volume:
        lie = _plane(path, volume, plane)
        _record(path, volume, lie, 0, "auto")
        lows, highs = zip(*_slab_ranges(volume, lie), strict=True)
    low, high = np.minimum.reduce(lows), np.maximum.reduce(highs)
    empty = ~(high > low)
    return tuple(bool(value) for value in (empty[::-1] if lie.flipped[0] else empty))


def _slab_ranges(
    volume: Any, lie: _Plane
) -> Generator[tuple[NDArray[np.float32], NDArray[np.float32]], None, None]:
    """Least and greatest finite value of each slice, (S,), one slab of the last axis at a time."""
    sizes = _sizes(volume)
    axis = lie.axes[0]
    for index in range(sizes[2]):
        wanted = (slice(None), slice(None), index, *lie.beyond)
        slab = np.asarray(volume.dataobj[wanted[: len(volume.shape)]], dtype=np.float32)
        slab = slab.reshape(sizes[:2])
        finite = np.isfinite(slab)
        across = (0, 1) if axis == 2 else 1 - axis
        low = np.where(finite, slab, np.inf).min(axis=across)
        high = np.where(finite, slab, -np.inf).max(axis=across)
        if axis != 2:
            yield low, high
            continue
        every = np.full((2, sizes[2]), [[np.inf], [-np.inf]], np.float32)
        every[:, index] = low, high
        yield every[0], every[1]


@contextmanager
def _open_volume(path: Path) -> Generator[Any, None, None]:
    """The image over the open file; by content, so that the name does not matter."""
    with silent_log("nibabel", "nibabel.global"), open_bounded(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = cast(IOBase, gzip.GzipFile(fileobj=file) if compressed else file)
        try:
            head = stream.read(HEADER_BYTES)
            stream.seek(0)
            volume = _volume_class(path, head).from_stream(stream)
            _check_volume(path, volume, file.size, LARGEST_DEFLATE_RATIO if compressed else 1)
            yield volume
        except UnreadableImageError:
            raise
        except (HeaderDataError, ImageFileError) as error:
            raise UnreadableImageError(
                RejectReason.INVALID_HEADER,
                path,
                "the NIfTI header contradicts itself; save the volume again",
            ) from error
        except Exception as error:  # nibabel and numpy raise what their parsers come upon
            raise UnreadableImageError(
                RejectReason.TRUNCATED,
                path,
                "holds fewer voxels than its header promises; fetch the file again",
            ) from error


def _volume_class(path: Path, head: bytes) -> Any:
    """The class of image by the magic of its version; a pair's header holds no voxels."""
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER,
            path,
            "is the header of a pair, whose voxels lie in another file; save a single .nii",
        )
    return _Nifti2Volume if head[4:8] == b"n+2\0" else _Nifti1Volume


def _check_volume(path: Path, volume: Any, file_bytes: int, ratio: int) -> None:
    """Compare the voxels that the header claims with what the file can hold, before reading."""
    if not volume.shape or min(volume.shape) < 0:
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER, path, f"a volume of shape {volume.shape} is none"
        )
    claimed = math.prod(volume.shape) * volume.get_data_dtype().itemsize
    if claimed > file_bytes * ratio:
        raise UnreadableImageError(
            RejectReason.TRUNCATED,
            path,
            f"holds fewer voxels than its header promises ({claimed} bytes); fetch the file again",
        )
    if claimed > LIMITS.volume_bytes:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"the volume has {claimed} bytes; {LIMITS.volume_bytes} are read at most",
        )


def _plane(path: Path, volume: Any, plane: str) -> _Plane:
    """Where the plane lies, by the orientation closest to the affine's."""
    name, colon, number = plane.partition(":")
    if (name and name not in PLANES) or bool(colon) != number.isdecimal():
        raise UnreadableImageError(
            RejectReason.NOT_FOUND,
            path,
            "there is no plane of that name; axial, coronal and sagittal are read, with a volume's "
            "index behind a colon where there are several, such as axial:3",
        )
    beyond = [max(size, 1) for size in volume.shape[3:]]  # none is refused with the record
    if int(number or 0) >= math.prod(beyond):
        raise UnreadableImageError(
            RejectReason.FRAME_OUT_OF_RANGE,
            path,
            f"volume {number} asked for, but the file has {math.prod(beyond)}, counted from 0",
        )
    if not np.isfinite(volume.affine).all():
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER, path, "the affine holds numbers that are not finite"
        )
    with np.errstate(all="ignore"):
        orientation = nib.io_orientation(volume.affine)[:3]  # type: ignore[no-untyped-call]
    if np.isnan(orientation).any():
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER, path, "the affine is singular: which axis is which?"
        )
    stored_axis = {int(world): axis for axis, (world, _) in enumerate(orientation)}
    axes = tuple(stored_axis[world] for world in PLANES[name or "axial"])
    # Slices run with their world axis; rows and columns against theirs (superior or anterior
    # first, right or anterior first).
    backward = tuple(orientation[axis][1] < 0 for axis in axes)
    return _Plane(
        cast(tuple[int, int, int], axes),
        (backward[0], not backward[1], not backward[2]),
        tuple(int(i) for i in np.unravel_index(int(number or 0), beyond, order="F")),
    )


def _record(
    path: Path, volume: Any, lie: _Plane, frame: int, asked: Intensity | Literal["auto"]
) -> ImageRecord:
    dtype = volume.get_data_dtype()
    if dtype.kind not in "uif" or 0 in volume.shape:
        raise UnreadableImageError(
            RejectReason.UNSUPPORTED_PHOTOMETRIC,
            path,
            f"voxels of type {dtype} in shape {volume.shape}; real numbers are read",
        )
    slices, rows, columns = (_sizes(volume)[axis] for axis in lie.axes)
    check_pixels(path, rows, columns)
    check_count(path, slices)
    if not 0 <= frame < slices:
        raise UnreadableImageError(
            RejectReason.FRAME_OUT_OF_RANGE,
            path,
            f"slice {frame} asked for, but the volume has {slices}, counted from 0",
        )
    zooms = (*(float(zoom) for zoom in volume.header.get_zooms()), 1.0, 1.0, 1.0)
    spacing = (zooms[lie.axes[1]], zooms[lie.axes[2]])
    has_spacing = all(0 < zoom < math.inf for zoom in spacing)
    intensity: Intensity = "modality" if asked == "auto" else asked
    return ImageRecord(
        format="nifti",
        rows=rows,
        columns=columns,
        frame=frame,
        number_of_frames=slices,
        number_of_volumes=math.prod(volume.shape[3:]),
        bits_stored=8 * dtype.itemsize,
        intensity=intensity,
        voi=_display_range_in_words(volume) if intensity == "display" else "none: scaled values",
        pixel_spacing_mm=spacing if has_spacing else None,
        pixel_spacing_source="pixdim" if has_spacing else "",
        affine=slice_affine(volume.affine, _sizes(volume), lie.axes, lie.flipped, frame),
    )


def _sizes(volume: Any) -> tuple[int, int, int]:
    """Of the first three axes; a picture in two is one slice."""
    return cast(tuple[int, int, int], (*volume.shape, 1, 1, 1)[:3])


def _slice(volume: Any, lie: _Plane, frame: int) -> NDArray[np.float64]:
    """The one slice, read alone where the file allows it, turned to (rows, columns)."""
    size = _sizes(volume)[lie.axes[0]]
    wanted: list[int | slice] = [slice(None)] * min(3, len(volume.shape))
    wanted += lie.beyond
    if lie.axes[0] < len(volume.shape):
        wanted[lie.axes[0]] = size - 1 - frame if lie.flipped[0] else frame
    values = np.asarray(volume.dataobj[tuple(wanted)], dtype=np.float64)
    values = values.reshape([_sizes(volume)[axis] for axis in sorted(lie.axes[1:])])
    if lie.axes[1] > lie.axes[2]:
        values = values.T
    return values[:: -1 if lie.flipped[1] else 1, :: -1 if lie.flipped[2] else 1]


def _display_range_in_words(volume: Any) -> str:
    low, high = (float(volume.header[name]) for name in ("cal_min", "cal_max"))
    return f"cal_min {low:g} to cal_max {high:g}" if high > low else "full range of the integers"


def _rendering(path: Path, volume: Any, intensity: Intensity) -> Rendering:
    """Scaled values stay as they are in modality units; display needs a range from the file."""
    voi = ValueRange(float(volume.header["cal_min"]), float(volume.header["cal_max"]))
    dtype = volume.get_data_dtype()
    if intensity == "display" and not voi.high > voi.low:
        if dtype.kind == "f":
            raise UnreadableImageError(
                RejectReason.INVALID_HEADER,
                path,
                "float voxels without cal_min and cal_max have no display range; read with "
                "intensity modality",
            )
        limits = np.iinfo(dtype)
        scale = Rescale(float(volume.dataobj.slope), float(volume.dataobj.inter))
        voi = modality_range(int(limits.min), int(limits.max), scale)
    return Rendering(stored_low=0, stored_high=0, voi=voi)
