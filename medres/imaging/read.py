"""The door: one image from one address, whatever the format.

An address is a path, or a path and a member, `path::member`:

====================  =============================================================
`study/a.dcm`         a DICOM file; `frame` counts its frames
`x.png`, `x.jpg`      a picture (also TIFF and BMP); `frame` counts pages, where there are any
`x.npz::train_images` an array (N, H, W) or (N, H, W, 3) in an npz file; `frame` counts N
`x.npy`               the same, in a file of its own
`x.nii.gz::coronal`   a plane (axial if none is named) of a NIfTI volume; `frame` counts slices
`x.nii.gz::axial:3`   the same of the fourth volume of a series, such as a time series
====================  =============================================================

The format is told by content, never by name.
"""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom_prefix import starts_dicom
from medres.imaging.grayscale import GrayscaleImage, ImageRecord, Intensity, digest_pixels
from medres.imaging.limits import open_bounded
from medres.imaging.refusal import told_alone
from medres.imaging.resampling import Fit, resample_image

Format = Literal["dicom", "nifti", "raster", "npz"]

RASTER_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
NIFTI_SIGNATURES = ((344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0\r\n"), (4, b"ni2\0\r\n"))
HEADER_BYTES = 352
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NO_PREFIX = "is named like a DICOM file but lacks the prefix DICM at byte 128"
ZIP_DAMAGE = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error)
LABELS = "_labels"  # of the arrays beside images, in MedMNIST's layout


@told_alone
def read_grayscale(
    image: str | Path,
    frame: int = 0,
    *,
    intensity: Intensity | Literal["auto"] = "auto",
    voi_index: int = 0,
    fit: Fit | None = None,
) -> GrayscaleImage:
    """One image as a reading workstation shows it, or in modality units.

    Args:
        image: an address, see above.
        frame: index of a frame, slice, page or array item, from 0.
        intensity: display in [0, 1]; modality units; or auto: modality for CT, MR, PT, NM, NIfTI
            and float arrays, display for everything else.
        voi_index: which of several windows or VOI LUTs of a DICOM file.
        fit: read the image at the size that this asks for, which costs less than reading and
            resizing it. Padding is filled with the smallest value outside it; the record still
            describes the image in the file.

    Returns:
        Pixels (H, W) float32, finite, rows before columns, MONOCHROME2; (h, w) with `fit`.

    Raises:
        UnreadableImageError: with its reason code, where there is no image to score.
    """
    path, member = split_address(image)
    match _known_format(path, member):
        case "dicom":
            from medres.imaging.dicom import read_dicom

            return read_dicom(path, frame, intensity=intensity, voi_index=voi_index, fit=fit)
        case "nifti":
            from medres.imaging.nifti import read_nifti

            found = read_nifti(path, member, frame, intensity=intensity)
        case "npz":
            from medres.imaging.arrays import read_array

            found = read_array(path, member, frame, intensity=intensity)
        case "raster":
            from medres.imaging.raster import read_raster

            found = read_raster(path, frame, intensity=intensity)
    return found if fit is None else resample_image(found, fit)


@told_alone
def read_record(image: str | Path, frame: int = 0) -> ImageRecord:
    """What a file says about one of its images, without decoding it where the format allows.

    Raises:
        UnreadableImageError: as `read_grayscale`, but for damage in the pixels.
    """
    path, member = split_address(image)
    match _known_format(path, member):
        case "dicom":
            from medres.imaging.dicom import read_dicom_record

            return read_dicom_record(path, frame)
        case "nifti":
            from medres.imaging.nifti import read_nifti_record

            return read_nifti_record(path, member, frame)
        case "npz":
            from medres.imaging.arrays import read_array_record

            return read_array_record(path, member, frame)
        case "raster":
            from medres.imaging.raster import read_raster_record

            return read_raster_record(path, frame)


@told_alone
def read_records(path: str | Path) -> list[tuple[str, ImageRecord]]:
    """What a file says about its images: of an npz each array that holds images, else the file.

    Args:
        path: of the file, without a member.

    Returns:
        The member ("" where the path is the address), and the record of its first frame. Arrays
        beside those of images, such as ages, are passed over.

    Raises:
        UnreadableImageError: as `read_record`; an npz of which no array can be read.
    """
    path = Path(path)
    names = _array_names(path)
    if names is None:
        return [("", read_record(path))]
    names = [name for name in names if not name.endswith(LABELS)]
    if not names:
        raise UnreadableImageError(RejectReason.NOT_AN_IMAGE, path, "holds labels, but no images")
    return _read_arrays(path, names)


def _array_names(path: Path) -> list[str] | None:
    """The arrays of an npz; None of what is none, or is damaged: `read_record` says how."""
    try:
        if sniff_format(path) != "npz":
            return None
        with zipfile.ZipFile(path) as archive:
            entries = archive.namelist()
    except ZIP_DAMAGE:
        return None
    names = [entry.removesuffix(".npy") for entry in entries]
    if len({*names}) < len(names) or {*names} & {*entries}:  # numpy would take one for the other
        raise UnreadableImageError(
            RejectReason.INVALID_HEADER, path, "holds two arrays of one name; save it again"
        )
    return names


def _read_arrays(path: Path, names: list[str]) -> list[tuple[str, ImageRecord]]:
    records: list[tuple[str, ImageRecord]] = []
    for name in names:
        try:
            records.append((name, read_record(f"{path}::{name}")))
        except UnreadableImageError as error:
            if error.reason is not RejectReason.NOT_AN_IMAGE or (name == names[-1] and not records):
                raise
    return records


@told_alone
def count_frames(image: str | Path) -> int:
    """How many frames, slices, pages or array items an address has.

    Raises:
        UnreadableImageError: as `read_record`.
    """
    return read_record(image).number_of_frames


def pixel_digest(image: GrayscaleImage) -> str:
    """SHA-256 of shape and pixels: equal for equal pictures, whatever file holds them."""
    return digest_pixels(image)


def split_address(image: str | Path) -> tuple[Path, str]:
    """Path and member; a file whose own name holds `::` is found too."""
    text = str(image)
    head, separator, member = text.rpartition("::")
    if not separator or os.path.lexists(text):
        return Path(text), ""
    return Path(head), member


@told_alone
def sniff_format(path: str | Path) -> Format | None:
    """The format of a file by its first bytes; None for anything medres does not read.

    Raises:
        OSError: the file cannot be opened.
        UnreadableImageError: it is absent, no regular file (a FIFO would never answer), or larger
            than is read.
    """
    with open_bounded(Path(path)) as file:
        head = file.read(HEADER_BYTES)
    if starts_dicom(head):
        return "dicom"
    if head.startswith(RASTER_SIGNATURES) or (head[:2] == b"BM" and head[6:10] == bytes(4)):
        return "raster"
    if head.startswith(b"\x93NUMPY") or (head.startswith(b"PK") and _holds_arrays(Path(path))):
        return "npz"
    if head.startswith(b"\x1f\x8b"):
        head = _gunzip_head(Path(path))
    if any(head[at : at + len(magic)] == magic for at, magic in NIFTI_SIGNATURES):
        return "nifti"
    return None


def _known_format(path: Path, member: str) -> Format:
    try:
        found = sniff_format(path)
        empty = path.stat().st_size == 0
    except OSError as error:
        raise UnreadableImageError(
            RejectReason.NOT_FOUND, path, "the file cannot be opened; check its permissions"
        ) from error
    if empty:
        raise UnreadableImageError(RejectReason.EMPTY_FILE, path, "the file is empty")
    if found is None and path.suffix.lower() in DICOM_SUFFIXES:
        raise UnreadableImageError(RejectReason.NOT_DICOM, path, NO_PREFIX)
    if found is None:
        raise UnreadableImageError(
            RejectReason.UNKNOWN_FORMAT,
            path,
            "is none of DICOM, NIfTI, PNG, JPEG, TIFF, BMP, npz and npy, by its content",
        )
    if member and found not in ("npz", "nifti"):
        raise UnreadableImageError(
            RejectReason.NOT_FOUND,
            path,
            f"a {found} file has no member; give the path alone",
        )
    return found


def _holds_arrays(path: Path) -> bool:
    """Whether a zip archive is numpy's: only .npy members, at least one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_DAMAGE:
        return path.suffix.lower() == ".npz"  # damaged: its reader says how
    return bool(names) and all(name.endswith(".npy") for name in names)


def _gunzip_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read(HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""
