"""How one DICOM image wants its stored values shown: its Rendering, from the header alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from medres.errors import RejectReason
from medres.imaging.dicom_header import Header, name_tag
from medres.imaging.dicom_tables import lookup_table, palette_luma
from medres.imaging.grayscale import (
    Intensity,
    LookupTable,
    Rendering,
    Rescale,
    ValueRange,
    Window,
    modality_range,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

# Images in units that mean something by themselves. Everything else is a picture to look at.
QUANTITATIVE_MODALITIES = frozenset({"CT", "MR", "PT", "NM"})
SECONDARY_CAPTURES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.7{suffix}" for suffix in ("", ".1", ".2", ".3", ".4")
)
# XA, XRF and retired biplane XA. Where their Pixel Intensity Relationship is LOG or DISP, the
# modality LUT leads back to X-ray intensity and is not for display (PS3.3 C.8.7.1.1.2, FFF.2.3).
X_RAY_RUNS = frozenset(f"1.2.840.10008.5.1.4.1.1.12.{number}" for number in (1, 2, 3))


def choose_intensity(header: Header, asked: Intensity | Literal["auto"]) -> Intensity:
    """What `auto` means: modality units for CT, MR, PT and NM, display for any other picture.

    A secondary capture of a CT is a picture of the screen and holds no HU: display. So is colour.
    """
    if asked != "auto":
        return asked
    photometric = header.text("PhotometricInterpretation")
    captured = header.text("SOPClassUID") in SECONDARY_CAPTURES
    quantitative = header.text("Modality").upper() in QUANTITATIVE_MODALITIES
    return "modality" if quantitative and not captured and photometric in MONOCHROME else "display"


def check_photometric(header: Header) -> None:
    """Refuse a photometric interpretation of which no grayscale is made.

    Raises:
        UnreadableImageError: unsupported_photometric; invalid_header where there is none.
    """
    known, found = (*MONOCHROME, PALETTE, *COLOR), header.text("PhotometricInterpretation")
    if not found:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag('PhotometricInterpretation')} is absent; an image needs it to be read",
        )
    if found not in known:
        raise header.refuse(
            RejectReason.UNSUPPORTED_PHOTOMETRIC,
            f"{name_tag('PhotometricInterpretation')} is not one of {', '.join(known)}; "
            "convert the image to one of them",
        )


def build_rendering(header: Header, voi_index: int = 0) -> tuple[Rendering, str]:
    """How stored values become display or modality values, and the VOI in words.

    Args:
        header: of the image; its frame decides among functional groups.
        voi_index: which of several windows or VOI LUTs.

    Raises:
        UnreadableImageError: a table that contradicts itself, a voi_index beyond the file's.
    """
    photometric = header.text("PhotometricInterpretation")
    low, high = stored_range(header)
    if photometric == PALETTE:
        palette = palette_luma(header, low, high)
        rendering = Rendering(
            stored_low=low,
            stored_high=high,
            modality=palette,
            voi=modality_range(low, high, palette),
        )
        return rendering, "palette colour to luma"
    if photometric in COLOR:
        rendering = Rendering(stored_low=low, stored_high=high, voi=ValueRange(low, high))
        return rendering, "colour to luma"
    modality = _modality_lut(header)
    voi, words = _voi(header, voi_index, modality_range(low, high, modality))
    rendering = Rendering(
        stored_low=low,
        stored_high=high,
        modality=modality,
        voi=voi,
        inverted=is_inverted(header),
        padding=_padding(header, low, high),
    )
    return rendering, words


def is_inverted(header: Header) -> bool:
    """Whether low values are bright.

    MONOCHROME1 and Presentation LUT Shape INVERSE say the same thing: PS3.3 C.8.11.3.1.2 has
    INVERSE stand with MONOCHROME1, so both together are one inversion, not two.
    """
    return (
        header.text("PhotometricInterpretation") == "MONOCHROME1"
        or header.text("PresentationLUTShape").upper() == "INVERSE"
    )


def stored_range(header: Header) -> tuple[int, int]:
    """Smallest and largest value that Bits Stored can hold with this Pixel Representation."""
    bits = header.integer("BitsStored")
    if header.integer("PixelRepresentation", 0) == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _modality_lut(header: Header) -> Rescale | LookupTable:
    intensity_relationship = header.text("PixelIntensityRelationship").upper()
    if header.text("SOPClassUID") in X_RAY_RUNS and intensity_relationship in ("LOG", "DISP"):
        return Rescale()
    where = header.group("PixelValueTransformationSequence")
    for item in header.items("ModalityLUTSequence", where)[:1]:
        return _lookup_table(header, item, "ModalityLUTSequence")
    slope = (header.numbers("RescaleSlope", where) or [1.0])[0]
    intercept = (header.numbers("RescaleIntercept", where) or [0.0])[0]
    if slope == 0:
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag('RescaleSlope')} is 0, which makes every pixel the same",
        )
    return Rescale(slope, intercept)


def _voi(
    header: Header, voi_index: int, full: ValueRange
) -> tuple[Window | LookupTable | ValueRange, str]:
    """VOI LUT before window: PS3.3 C.11.2.1 lets either be applied where a file has both.

    The table is the maker's own curve, and the window its straight substitute.
    """
    where = header.group("FrameVOILUTSequence")
    tables = header.items("VOILUTSequence", where)
    windows = [] if tables else _windows(header, where)
    if not tables and not windows:
        if voi_index:
            raise _no_such_voi(header, voi_index, 0)
        return full, f"full range {full.low:g}..{full.high:g}: the file has no usable VOI"
    if not 0 <= voi_index < max(len(tables), len(windows)):
        raise _no_such_voi(header, voi_index, max(len(tables), len(windows)))
    if tables:
        table = _lookup_table(header, tables[voi_index], "VOILUTSequence")
        return table, "VOI LUT"
    window = windows[voi_index]
    return window, f"window {window.center:g}/{window.width:g} {window.function}"


def _no_such_voi(header: Header, voi_index: int, count: int) -> Exception:
    return header.refuse(
        RejectReason.INVALID_HEADER,
        f"voi_index {voi_index} asked for, but the file has {count} "
        f"window(s) or VOI LUT(s), counted from 0",
    )


def _windows(header: Header, where: Dataset) -> list[Window]:
    """The usable windows. One whose width its function does not allow is no window at all."""
    name = header.value("VOILUTFunction", where)
    function = str(name or "LINEAR").strip().upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"{name_tag('VOILUTFunction')} is none of LINEAR, LINEAR_EXACT, SIGMOID",
        )
    least = 1.0 if function == "LINEAR" else np.nextafter(0.0, 1.0)
    centers, widths = header.numbers("WindowCenter", where), header.numbers("WindowWidth", where)
    return [
        Window(center, width, cast(Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"], function))
        for center, width in zip(centers, widths, strict=False)
        if width >= least
    ]


def _lookup_table(header: Header, item: Dataset, keyword: str) -> LookupTable:
    negative = _takes_negatives(header, keyword)
    return lookup_table(header, item, keyword, takes_negatives=negative)


def _takes_negatives(header: Header, keyword: str) -> bool:
    low, high = stored_range(header)
    if keyword == "ModalityLUTSequence":
        return low < 0
    return modality_range(low, high, _modality_lut(header)).low < 0


def _padding(header: Header, low: int, high: int) -> tuple[int, int] | None:
    """First and last stored value that are padding (PS3.3 C.7.5.1.1.2), None without."""
    ends = [
        int(number)
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        for number in header.numbers(keyword)[:1]
    ]
    if not header.numbers("PixelPaddingValue"):
        return None
    # Written with the wrong sign by many: the same bits, in the range that pixels have.
    span = high - low + 1
    ends = [end if low <= end <= high else (end - low) % span + low for end in ends]
    return min(ends), max(ends)
