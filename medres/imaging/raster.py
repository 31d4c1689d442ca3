"""One page of a PNG, JPEG, TIFF or BMP file.

Display is value / 255, or / 65535 for 16-bit grayscale; colour becomes its luma, and three equal
channels give that channel exactly. An EXIF orientation is applied, as every viewer does. Pixels
that are fully transparent are padding. Pillow reads 16-bit *colour* at 8 bits; the record says 8.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

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
from medres.imaging.limits import LIMITS, check_file, check_pixels, open_bounded
from medres.imaging.refusal import silent_log, told_alone

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
SMALLEST_PAGE_BYTES = 18  # a TIFF directory of one entry; an APNG frame's header alone has 38
TRANSPARENT = ("RGBA", "LA", "PA")


@told_alone
def read_raster(
    path: Path, frame: int = 0, *, intensity: Intensity | Literal["auto"] = "auto"
) -> GrayscaleImage:
    """One page of a picture file, (H, W).

    Args:
        path: of a PNG, JPEG, TIFF or BMP file.
        frame: the page, from 0.
        intensity: auto and display give [0, 1]; modality gives the values as stored.

    Raises:
        UnreadableImageError: cut short or damaged, no such page, more than 16 bits.
    """
    with _open_page(path, frame) as picture:
        upright = ImageOps.exif_transpose(picture)
        record = _record(path, upright, frame, _count_pages(path, picture), intensity)
        values, transparent = _values(upright)
    high = 2**record.bits_stored - 1
    rendering = Rendering(stored_low=0, stored_high=high, voi=ValueRange(0, high))
    pixels, _ = render(values, rendering, record.intensity)
    if transparent is not None and record.intensity == "display":
        pixels[transparent] = 0.0
    return GrayscaleImage(pixels, transparent, record)


@told_alone
def read_raster_record(path: Path, frame: int = 0) -> ImageRecord:
    """What a picture file's header says.

    Raises:
        UnreadableImageError: as `read_raster`, but for damage in the pixels.
    """
    with _open_page(path, frame) as picture:
        record = _record(path, picture, frame, _count_pages(path, picture), "auto")
        if picture.getexif().get(0x0112, 1) >= 5:  # EXIF orientations that swap the axes
            return dataclasses.replace(record, rows=record.columns, columns=record.rows)
        return record


@contextmanager
def _open_page(path: Path, frame: int) -> Generator[Image.Image, None, None]:
    """Pillow's image at the page; whatever Pillow raises becomes an `UnreadableImageError`."""
    try:
        with warnings.catch_warnings(), silent_log("PIL"):
            warnings.simplefilter("ignore")
            check_file(path)
            with Image.open(path, formats=FORMATS) as picture:
                _seek(path, picture, frame)
                check_pixels(path, picture.height, picture.width)
                yield picture
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE, path, f"more pixels than {2 * (Image.MAX_IMAGE_PIXELS or 0)}"
        ) from error
    except Exception as error:  # Pillow raises what its parsers come upon
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise UnreadableImageError(
            RejectReason.TRUNCATED if cut else RejectReason.DECODE_FAILED,
            path,
            "the picture is cut short; fetch the file again"
            if cut
            else "the picture cannot be decoded; it is damaged or not what its first bytes say",
        ) from error


def _count_pages(path: Path, picture: Image.Image) -> int:
    """How many pages there are; whoever reads them all would try each that is claimed.

    Raises:
        UnreadableImageError: more than the file has room for, or than are read.
    """
    pages = _count_tiff_pages(path) if picture.format == "TIFF" else getattr(picture, "n_frames", 1)
    room = max(path.stat().st_size // SMALLEST_PAGE_BYTES, 1)
    if pages > room:
        raise UnreadableImageError(
            RejectReason.TRUNCATED,
            path,
            f"says that it has {pages} pages, but has room for {room} at most; fetch it again",
        )
    if pages > LIMITS.pages:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"has more than the {LIMITS.pages} pages that are read",
        )
    return pages


def _count_tiff_pages(path: Path) -> int:
    """Directories in the chain, each once; Pillow parses every one, 0.3 ms each."""
    found: set[int] = set()
    with open_bounded(path) as file:
        order: Literal["little", "big"] = "little" if file.read(2) == b"II" else "big"
        file.seek(4)
        at = int.from_bytes(file.read(4), order)
        while at and at not in found and len(found) <= LIMITS.pages:
            found.add(at)
            file.seek(at)
            entries = int.from_bytes(file.read(2), order)
            file.seek(at + 2 + 12 * entries)
            at = int.from_bytes(file.read(4), order)
    return len(found)


def _seek(path: Path, picture: Image.Image, page: int) -> None:
    pages = _count_pages(path, picture)
    if not 0 <= page < pages:
        raise UnreadableImageError(
            RejectReason.FRAME_OUT_OF_RANGE,
            path,
            f"page {page} asked for, but the file has {pages}, counted from 0",
        )
    picture.seek(page)


def _record(
    path: Path, picture: Image.Image, frame: int, pages: int, asked: Intensity | Literal["auto"]
) -> ImageRecord:
    grayscale = picture.mode in ("1", "L", "LA", "I", *SIXTEEN_BITS)
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PNG"):
        raise UnreadableImageError(
            RejectReason.UNSUPPORTED_PHOTOMETRIC,
            path,
            f"32-bit samples (mode {picture.mode}) have no display range; save 8 or 16 bits",
        )
    bits = 16 if picture.mode in ("I", *SIXTEEN_BITS) else 8
    intensity: Intensity = "modality" if asked == "modality" else "display"
    return ImageRecord(
        format="raster",
        rows=picture.height,
        columns=picture.width,
        frame=frame,
        number_of_frames=pages,
        photometric_interpretation="MONOCHROME2" if grayscale else "RGB",
        bits_stored=bits,
        intensity=intensity,
        voi=f"full range 0..{2**bits - 1}" if intensity == "display" else "none: stored values",
    )


def _values(picture: Image.Image) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Stored values or luma, (H, W), and where the picture is fully transparent."""
    if picture.mode in ("I", *SIXTEEN_BITS):
        return np.asarray(picture).astype(np.uint16), None
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L")), None
    if picture.mode in TRANSPARENT or "transparency" in picture.info:
        rgba = np.asarray(picture.convert("RGBA"))
        transparent = rgba[..., 3] == 0
        return _gray(rgba), transparent if transparent.any() else None
    return _gray(np.asarray(picture.convert("RGB"))), None


def _gray(rgb: NDArray[np.uint8]) -> NDArray[Any]:
    """One channel where all are equal, as in most radiographs saved as JPEG; luma elsewhere."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return red
    return luma(rgb)
