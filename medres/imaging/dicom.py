"""One frame of a DICOM file: opened, refused or decoded, and rendered.

Decoding is `dicom_pixels`' business; what the pixels then mean is
`dicom_rendering`'s and `grayscale`'s.
"""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom_attributes import (
    ATTRIBUTE_TAGS,
    body_part,
    burned_in_annotation,
    image_type,
    laterality,
    manufacturer,
    modality,
    patient_orientation,
    pixel_spacing,
    transfer_syntax,
    view_position,
)
from medres.imaging.dicom_file import InflationError, read_deflated, read_file_meta
from medres.imaging.dicom_header import (
    UNREGISTERED,
    Header,
    attempt,
    name_tag,
    name_uid,
    quiet_pydicom,
)
from medres.imaging.dicom_pixels import decode_frame
from medres.imaging.dicom_rendering import (
    COLOR,
    build_rendering,
    check_photometric,
    choose_intensity,
)
from medres.imaging.grayscale import GrayscaleImage, ImageRecord, Intensity, luma, render
from medres.imaging.limits import (
    LARGEST_DEFLATE_RATIO,
    LIMITS,
    LimitExceededError,
    check_count,
    check_pixels,
    open_bounded,
)
from medres.imaging.plane import PLANE_TAGS, dicom_affine
from medres.imaging.refusal import told_alone
from medres.imaging.resampling import Fit, render_resampled

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Pixel data without being a picture of a patient to classify.
NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map Storage",
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.77.1.5.8": (
        "Ophthalmic Optical Coherence Tomography B-scan Volume Analysis Storage"
    ),
    "1.2.840.10008.5.1.4.1.1.81.1": "Ophthalmic Thickness Map Storage",
    "1.2.840.10008.5.1.4.1.1.82.1": "Corneal Topography Map Storage",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose Storage",
}
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

HEADER_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
    *ATTRIBUTE_TAGS,
    *PLANE_TAGS,
    *("Modality", "Manufacturer", "BurnedInAnnotation"),
    *("PatientSex", "PatientAge", "ManufacturerModelName", "InstitutionName"),
    *("SamplesPerPixel", "PhotometricInterpretation"),
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelIntensityRelationship", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape"),
    *(
        f"{c}PaletteColorLookupTable{k}"
        for c in ("Red", "Green", "Blue")
        for k in ("Descriptor", "Data")
    ),
    *(f"Segmented{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


@told_alone
def read_dicom(
    path: Path,
    frame: int = 0,
    *,
    intensity: Intensity | Literal["auto"] = "auto",
    voi_index: int = 0,
    fit: Fit | None = None,
) -> GrayscaleImage:
    """One frame of a DICOM file as a reading workstation shows it, or in modality units.

    Args:
        path: of a file in DICOM's file format (PS3.10).
        frame: index, from 0.
        intensity: see `dicom_rendering.choose_intensity` for auto.
        voi_index: which of several windows or VOI LUTs.
        fit: see `read.read_grayscale`.

    Raises:
        UnreadableImageError: no DICOM, no picture, cut short, no decoder, a contradictory header.
    """
    with quiet_pydicom():
        header = Header(_read_dataset(path)[0], path, frame)
        _check_picture(header, _pixel_keyword(header))
        record, rendering = _describe(header, intensity, voi_index)
        stored = decode_frame(header)
        if record.photometric_interpretation in COLOR:
            stored = luma(stored)
        if fit is not None:
            wanted = fit.shape(record.rows, record.columns)
            pixels = render_resampled(stored, rendering, record.intensity, wanted)
            return GrayscaleImage(pixels, None, record)
        pixels, padding = render(stored, rendering, record.intensity)
    return GrayscaleImage(pixels, padding, record)


@told_alone
def read_dicom_record(path: Path, frame: int = 0) -> ImageRecord:
    """What the header says of one frame; pixels are neither read nor decoded."""
    with quiet_pydicom():
        return _describe(read_header(path, frame), "auto", 0)[0]


@told_alone
def read_header(path: Path, frame: int = 0) -> Header:
    """The attributes in `HEADER_TAGS` of a picture; pixels are neither read nor decoded.

    They are parsed when first asked for: stay within `quiet_pydicom`.

    Raises:
        UnreadableImageError: no DICOM, no picture, cut short before the pixels.
    """
    dataset, next_group = _read_dataset(path, stop_before_pixels=True, keywords=HEADER_TAGS)
    header = Header(dataset, path, frame)
    pixels_follow = next_group in (b"\xe0\x7f", b"\x7f\xe0")
    _check_picture(header, "PixelData" if pixels_follow else "")
    return header


def _read_dataset(
    path: Path, *, stop_before_pixels: bool = False, keywords: list[str] | None = None
) -> tuple[Dataset, bytes]:
    """The data set, and the two bytes after it: the next group, where pixels were not read.

    pydicom's own error would quote values: only its type is told.
    """
    with open_bounded(path, LIMITS.header_reads) as file:
        meta, failure = attempt(lambda: read_file_meta(file))
        if meta is not None and meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            found, failure = attempt(
                lambda: read_deflated(file, meta, keywords, stop_before_pixels)
            )
            if found is not None:
                return found
        elif meta is not None:
            file.seek(0)
            dataset, failure = attempt(
                lambda: dcmread(
                    file,
                    stop_before_pixels=stop_before_pixels,
                    specific_tags=keywords,
                    force=True,  # it is DICOM: `read_file_meta` has looked
                )
            )
            if dataset is not None:
                return dataset, file.read(2)
    if failure is InvalidDicomError:
        raise UnreadableImageError(
            RejectReason.NOT_DICOM, path, "lacks the prefix DICM that a DICOM file has at byte 128"
        )
    if failure is InflationError:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"inflates to more than the {LIMITS.inflated_bytes} bytes that are read at most",
        )
    if failure is LimitExceededError:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE,
            path,
            f"its header takes more than the {LIMITS.header_reads} readings that one is given",
        )
    if failure is MemoryError:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE, path, "asks for more memory than there is"
        )
    raise UnreadableImageError(
        RejectReason.INVALID_HEADER,
        path,
        f"the DICOM header cannot be parsed ({failure.__name__}): damaged, or cut short; "
        "fetch the file again",
    )


def _pixel_keyword(header: Header) -> str:
    return next((keyword for keyword in PIXEL_KEYWORDS if keyword in header.dataset), "")


def _check_picture(header: Header, pixel_keyword: str) -> None:
    """Refuse what is no picture: reports, plans, segmentations, maps, and images without pixels."""
    sop_class = header.text("SOPClassUID") or str(
        header.dataset.file_meta.get("MediaStorageSOPClassUID", "")
    )
    name = NOT_PICTURES.get(sop_class) or name_uid(sop_class)
    if sop_class in NOT_PICTURES or pixel_keyword in PIXEL_KEYWORDS[1:]:
        raise header.refuse(
            RejectReason.NOT_AN_IMAGE,
            f"its SOP class is {name}: computed values, no picture; "
            "give the image it was made from",
        )
    if pixel_keyword:
        return
    if _is_cut(header):
        raise header.refuse(
            RejectReason.TRUNCATED,
            f"ends before or within {name_tag('PixelData')}; fetch the file again",
        )
    of_images = "Image Storage" in name or "Volume Storage" in name
    # Spectroscopy has Rows too, and its class says that it is none.
    if not of_images and (name != UNREGISTERED or header.value("Rows") is None):
        raise header.refuse(
            RejectReason.NOT_AN_IMAGE,
            f"holds no picture: its SOP class is {name}, without {name_tag('PixelData')}; "
            "leave it out",
        )
    raise header.refuse(
        RejectReason.NO_PIXEL_DATA,
        f"describes an image but holds no {name_tag('PixelData')}; fetch the file again",
    )


def _is_cut(header: Header) -> bool:
    """Whether the file ends inside an element: in pixel data, or in the last one before it."""
    dataset, next_group = _read_dataset(
        Path(header.path),  # type: ignore[arg-type]
        stop_before_pixels=True,
        keywords=None,
    )
    if next_group or not dataset:
        return True
    last, failure = attempt(lambda: dataset.get_item(max(dataset.keys())))
    if failure is not NoneType:
        return True
    value, length = getattr(last, "value", None), getattr(last, "length", 0)
    return isinstance(value, bytes) and length != 0xFFFFFFFF and len(value) < length


def _describe(
    header: Header, asked: Intensity | Literal["auto"], voi_index: int
) -> tuple[ImageRecord, Any]:
    """The record and the rendering of the header's frame."""
    frames = max(header.integer("NumberOfFrames", 1), 1)
    if not 0 <= header.frame < frames:
        raise header.refuse(
            RejectReason.FRAME_OUT_OF_RANGE,
            f"frame {header.frame} asked for, but the file has {frames}, counted from 0",
        )
    check_photometric(header)
    _check_size(header)
    _check_frames(header, frames)
    rendering, voi = build_rendering(header, voi_index)
    intensity = choose_intensity(header, asked)
    display = intensity == "display"
    spacing, spacing_source = pixel_spacing(header)
    record = ImageRecord(
        format="dicom",
        modality=modality(header),
        rows=header.integer("Rows"),
        columns=header.integer("Columns"),
        frame=header.frame,
        number_of_frames=frames,
        photometric_interpretation=header.text("PhotometricInterpretation"),
        bits_stored=header.integer("BitsStored"),
        intensity=intensity,
        voi=voi if display else "none: modality units",
        inverted=rendering.inverted and display,
        pixel_spacing_mm=spacing,
        pixel_spacing_source=spacing_source,
        affine=dicom_affine(header, spacing),
        view_position=view_position(header),
        laterality=laterality(header),
        body_part=body_part(header),
        image_type=image_type(header),
        patient_orientation=patient_orientation(header),
        manufacturer=manufacturer(header),
        transfer_syntax_uid=transfer_syntax(header),
        burned_in_annotation=burned_in_annotation(header),
        patient_id=header.text("PatientID"),
        study_instance_uid=header.text("StudyInstanceUID"),
        series_instance_uid=header.text("SeriesInstanceUID"),
        sop_instance_uid=header.text("SOPInstanceUID"),
    )
    return record, rendering


def _check_frames(header: Header, frames: int) -> None:
    """Refuse more frames than the file has room for: whoever counts them would try each."""
    size = Path(header.path).stat().st_size  # type: ignore[arg-type]
    syntax = UID(str(header.dataset.file_meta.get("TransferSyntaxUID", "")))
    if syntax.is_transfer_syntax and syntax.is_encapsulated:
        room = size // 8  # an item's tag and length
    else:
        ratio = LARGEST_DEFLATE_RATIO if syntax == DeflatedExplicitVRLittleEndian else 1
        pixels = header.integer("Rows") * header.integer("Columns")
        room = 8 * size * ratio // pixels
    if frames > max(room, 1):
        raise header.refuse(
            RejectReason.TRUNCATED,
            f"{name_tag('NumberOfFrames')} says {frames}, but a file of {size} bytes has room for "
            f"{room} at most; fetch the file again",
        )
    check_count(header.path, frames)


def _check_size(header: Header) -> None:
    rows, columns = header.integer("Rows"), header.integer("Columns")
    check_pixels(header.path, rows, columns)
    samples, allocated = header.integer("SamplesPerPixel", 1), header.integer("BitsAllocated")
    stored = header.integer("BitsStored")
    color = header.text("PhotometricInterpretation") in COLOR
    if (
        rows < 1
        or columns < 1
        or allocated not in (1, 8, 16, 32)
        or not 1 <= stored <= allocated
        or samples != (3 if color else 1)
    ):
        raise header.refuse(
            RejectReason.INVALID_HEADER,
            f"Rows {rows}, Columns {columns}, Samples per Pixel {samples}, Bits Allocated "
            f"{allocated}, Bits Stored {stored} describe no image that can be read",
        )
