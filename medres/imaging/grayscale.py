"""What a stored pixel value means: modality LUT, VOI, polarity and padding, in that order.

Every step acts on one value at a time, so a rendering of integers of up to 16 bits is computed
once per possible value, in float64, and looked up for each pixel. MONOCHROME1 is inverted here,
in `apply_polarity`, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Intensity = Literal["display", "modality"]
"""display: in [0, 1], as a reading workstation shows it. modality: HU, or what the file holds."""

Values: TypeAlias = NDArray[np.float64]
BLOCK_PIXELS = 65_536
IDENTITY_FIELDS = ("patient_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid")


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """What a file says about one of its images, read once.

    Args:
        format: of the file.
        modality: DICOM's code, such as CR or CT; empty where the format has none.
        rows: of the image, H.
        columns: of the image, W.
        frame: index of the image in its file, from 0.
        number_of_frames: that the file holds, or one volume of it.
        number_of_volumes: of a NIfTI file with four axes and more.
        photometric_interpretation: as stored; MONOCHROME2 for grayscale of other formats.
        bits_stored: per sample.
        intensity: what the pixel values are; see `Intensity`.
        voi: in words, which values of interest became [0, 1].
        inverted: whether low stored values are bright (MONOCHROME1), brought to MONOCHROME2.
        pixel_spacing_mm: distance between the centres of rows, then of columns.
        pixel_spacing_source: the attribute that gave it: PixelSpacing (in the patient),
            ImagerPixelSpacing (at the detector: larger by the magnification),
            NominalScannedPixelSpacing (on film); pixdim for NIfTI.
        affine: (4, 4) from (row, column, slice, 1) to the patient's RAS+ coordinates in mm; None
            where the file does not say. See `medres.imaging.plane`.
        view_position: such as PA, or a view code's meaning; empty where absent or not listed in
            `medres.imaging.defined_terms`, as are the texts below.
        laterality: R, L, B (both) or U (unpaired).
        body_part: such as CHEST, or an anatomic region's meaning.
        image_type: such as (ORIGINAL, PRIMARY, AXIAL).
        patient_orientation: where rows and columns point to, such as (L, F).
        manufacturer: of the equipment, by one name each.
        transfer_syntax_uid: how the pixels were stored.
        burned_in_annotation: YES where the pixels may show who the patient is.
        patient_id: identity, left out of `as_json` and `repr`, as the three below.
        study_instance_uid: of the study.
        series_instance_uid: of the series.
        sop_instance_uid: of the file.
    """

    format: Literal["dicom", "nifti", "raster", "npz"]
    rows: int
    columns: int
    intensity: Intensity
    voi: str
    modality: str = ""
    frame: int = 0
    number_of_frames: int = 1
    number_of_volumes: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    bits_stored: int = 8
    inverted: bool = False
    pixel_spacing_mm: tuple[float, float] | None = None
    pixel_spacing_source: str = ""
    affine: tuple[tuple[float, ...], ...] | None = None
    view_position: str = ""
    laterality: str = ""
    body_part: str = ""
    image_type: tuple[str, ...] = ()
    patient_orientation: tuple[str, ...] = ()
    manufacturer: str = ""
    transfer_syntax_uid: str = ""
    burned_in_annotation: str = ""
    patient_id: str = field(default="", repr=False)
    study_instance_uid: str = field(default="", repr=False)
    series_instance_uid: str = field(default="", repr=False)
    sop_instance_uid: str = field(default="", repr=False)

    def as_json(self) -> dict[str, Any]:
        """Every field but the patient's identity and the UIDs, ready for `json.dumps`."""
        record = dataclasses.asdict(self)
        for name in IDENTITY_FIELDS:
            del record[name]
        return record


@dataclass(frozen=True, eq=False)
class GrayscaleImage:
    """One image with its meaning.

    Args:
        pixels: (H, W) float32, finite, rows before columns, bright is high. In [0, 1] for
            display; in units of the modality (HU for CT) otherwise.
        padding: (H, W), True where the file has no picture; None where it has picture everywhere.
            Such pixels are 0 in a display image, and keep their converted value otherwise.
        record: what the file says, and what was applied.
    """

    pixels: NDArray[np.float32]
    padding: NDArray[np.bool_] | None
    record: ImageRecord


@dataclass(frozen=True)
class Rescale:
    """Modality units as slope x stored value + intercept (PS3.3 C.11.1)."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A modality or VOI LUT (PS3.3 C.11.1.1 and C.11.2.1.1).

    Args:
        first: the input that the first entry stands for; lower inputs get it too.
        entries: (N,) outputs; inputs beyond the last entry get the last.
        bits: per entry; outputs range over 0 to 2^bits - 1, used or not.
    """

    first: int
    entries: Values
    bits: int


@dataclass(frozen=True)
class Window:
    """A window in modality units (PS3.3 C.11.2.1.2).

    Args:
        center: as in the file.
        width: at least 1 for LINEAR, above 0 otherwise.
        function: LINEAR spans width - 1 from center - width / 2, so that 128/256 is exactly x/255.
    """

    center: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"


@dataclass(frozen=True)
class ValueRange:
    """Modality values that become 0 and 1 where the file asks for no window."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How stored values become display or modality values.

    Args:
        stored_low: smallest value that the stored bits can represent.
        stored_high: largest value that the stored bits can represent.
        modality: to modality units.
        voi: to [0, 1].
        inverted: low values are bright: MONOCHROME1, or Presentation LUT Shape INVERSE.
        padding: first and last stored value that mean "no picture here".
    """

    stored_low: int
    stored_high: int
    modality: Rescale | LookupTable = Rescale()
    voi: Window | LookupTable | ValueRange
    inverted: bool = False
    padding: tuple[int, int] | None = None


def apply_modality_lut(stored: Values, modality: Rescale | LookupTable) -> Values:
    """Stored values, any shape, to modality units."""
    if isinstance(modality, LookupTable):
        return _look_up(stored, modality)
    return stored * modality.slope + modality.intercept


def apply_voi(values: Values, voi: Window | LookupTable | ValueRange) -> Values:
    """Modality values, any shape, to [0, 1] over the output range, which is fixed."""
    if isinstance(voi, LookupTable):
        return _look_up(values, voi) / (2.0**voi.bits - 1)
    if isinstance(voi, Window):
        return _apply_window(values, voi)
    return np.clip((values - voi.low) / (voi.high - voi.low), 0.0, 1.0)


def apply_polarity(display: Values, inverted: bool) -> Values:
    """Bring [0, 1] to MONOCHROME2, where bright is high.

    Inverts over the fixed output range: 1 - x. Never by the largest value present, which would
    make a picture's meaning depend on its content.
    """
    return 1.0 - display if inverted else display


def modality_range(
    stored_low: int, stored_high: int, modality: Rescale | LookupTable
) -> ValueRange:
    """Modality values of the whole range that stored bits can represent, smallest first."""
    if isinstance(modality, LookupTable):
        return ValueRange(0.0, 2.0**modality.bits - 1)
    ends = apply_modality_lut(np.array([stored_low, stored_high], np.float64), modality)
    return ValueRange(float(ends.min()), float(ends.max()))


def render(
    stored: NDArray[Any], rendering: Rendering, intensity: Intensity
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Stored pixels to display or modality values.

    Args:
        stored: (H, W) integers, or floats from a colour conversion.
        rendering: what the file says about them.
        intensity: see `Intensity`.

    Returns:
        (H, W) pixels, and the mask of padding, None where no pixel is padding. Padding ends at 0
        in a display image, whatever the polarity: black.
    """
    pixels = _map_values(stored, rendering, intensity)
    padding = padding_mask(stored, rendering.padding)
    if padding is not None and intensity == "display":
        pixels[padding] = 0.0
    return pixels, padding


def padding_mask(stored: NDArray[Any], padding: tuple[int, int] | None) -> NDArray[np.bool_] | None:
    """True where a stored value lies in the padding range (PS3.3 C.7.5.1.1.2), ends included."""
    if padding is None:
        return None
    low, high = padding
    mask = stored == low if low == high else (stored >= low) & (stored <= high)
    return mask if mask.any() else None


def fill_padding(
    pixels: NDArray[np.float32], padding: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Pixels (H, W), contiguous, padding filled with the smallest value outside it.

    No padding value then passes for tissue.
    """
    if padding is not None and padding.any() and not padding.all():
        pixels = np.where(padding, pixels[~padding].min(), pixels)
    return np.ascontiguousarray(pixels, dtype=np.float32)


def luma(rgb: NDArray[Any]) -> Values:
    """Gray of colour pixels, (..., 3 or more) to (...): ITU-R BT.601, as Pillow weighs it.

    The weights are Pillow's 16-bit fractions and sum to exactly 1: three equal channels give that
    channel. The result is not rounded.
    """
    gray: Values = np.multiply(rgb[..., 0], 19595, dtype=np.float64)
    for channel, weight in ((1, 38470), (2, 7471)):
        gray += np.multiply(rgb[..., channel], weight, dtype=np.float64)
    gray /= 65536  # in place: colours take the most memory of all
    return gray


def digest_pixels(image: GrayscaleImage) -> str:
    """SHA-256 of shape and pixels: equal for equal pictures, whatever file holds them."""
    pixels = np.ascontiguousarray(image.pixels, dtype="<f4")
    digest = hashlib.sha256(f"{pixels.shape[0]}x{pixels.shape[1]}:".encode())
    digest.update((pixels + np.float32(0)).data)  # -0.0 becomes 0.0: the same picture
    return digest.hexdigest()


def is_constant(image: GrayscaleImage) -> bool:
    """Whether all pixels, padding aside, are equal: there is nothing to classify."""
    pixels = image.pixels if image.padding is None else image.pixels[~image.padding]
    return pixels.size == 0 or float(np.ptp(pixels)) == 0


def _map_values(
    stored: NDArray[Any], rendering: Rendering, intensity: Intensity
) -> NDArray[np.float32]:
    """Each pixel's value: looked up where the pixels outnumber the values they can have."""
    if not is_tabular(stored, rendering):
        return _render_values(stored.astype(np.float64), rendering, intensity)
    pixels = np.empty(stored.shape, np.float32)
    table = value_table(rendering, intensity)
    for _ in look_up_rows(stored, table, rendering.stored_low, out=pixels):
        pass
    return pixels


def is_tabular(stored: NDArray[Any], rendering: Rendering) -> bool:
    """Whether these pixels are integers of up to 16 bits that outnumber their possible values."""
    possible = rendering.stored_high - rendering.stored_low
    return stored.dtype.kind in "iu" and possible < stored.size and possible <= 0xFFFF


def value_table(rendering: Rendering, intensity: Intensity) -> NDArray[np.float32]:
    """(N,) display or modality values of every stored value, from the smallest."""
    possible = np.arange(rendering.stored_low, rendering.stored_high + 1, dtype=np.float64)
    return _render_values(possible, rendering, intensity)


def look_up_rows(
    stored: NDArray[Any],
    table: NDArray[np.float32],
    low: int,
    out: NDArray[np.float32] | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Display or modality values of tabular pixels, a few rows at a time: they stay in cache.

    Values beyond the stored bits' range get its ends. The table is first spread over all values of
    the pixels' type, negative ones counted from its end: wrapping an index costs less than
    clipping it.

    Args:
        stored: (H, W) integers.
        table: of `value_table`.
        low: the stored value that it begins with.
        out: (H, W), where the values go; None for a block that is used again.

    Yields:
        The first row and the (R, W) values of each block: a part of `out`, (H, W), or else memory
        that serves the next block as well.
    """
    kind, size = stored.dtype.kind, stored.dtype.itemsize
    if size > 2:
        stored = np.clip(stored, low, low + len(table) - 1)
        kind, size = "i" if low < 0 else "u", 2
    possible = np.arange(2 ** (8 * size), dtype=f"u{size}").view(f"{kind}{size}")
    spread = table.take(possible.astype(np.intp) - low, mode="clip")
    rows = max(1, BLOCK_PIXELS // stored.shape[1])
    index = np.empty((rows, stored.shape[1]), np.intp)
    reused = np.empty(index.shape, np.float32)
    for top in range(0, stored.shape[0], rows):
        block = stored[top : top + rows]
        values = reused[: len(block)] if out is None else out[top : top + rows]
        np.copyto(index[: len(block)], block, casting="unsafe")
        spread.take(index[: len(block)], out=values, mode="wrap")
        yield top, values


def _render_values(
    values: Values, rendering: Rendering, intensity: Intensity
) -> NDArray[np.float32]:
    values = apply_modality_lut(values, rendering.modality)
    if intensity == "display":
        values = apply_polarity(apply_voi(values, rendering.voi), rendering.inverted)
    return values.astype(np.float32)


def _apply_window(values: Values, window: Window) -> Values:
    if window.function == "SIGMOID":  # PS3.3 C.11.2.1.3.1
        exponent = -4.0 * (values - window.center) / window.width
        return 1.0 / (1.0 + np.exp(np.clip(exponent, -700.0, 700.0)))
    low = window.center - window.width / 2
    if window.function == "LINEAR_EXACT":  # PS3.3 C.11.2.1.3.2
        return np.clip((values - low) / window.width, 0.0, 1.0)
    if window.width == 1:  # PS3.3 C.11.2.1.2.1: LINEAR spans width - 1, here a threshold
        return (values > low).astype(np.float64)
    return np.clip((values - low) / (window.width - 1), 0.0, 1.0)


def _look_up(values: Values, table: LookupTable) -> Values:
    """Nearest entry: a rescaled value may lie between two."""
    index = np.rint(values - table.first).astype(np.int64)
    return table.entries.take(index, mode="clip")
