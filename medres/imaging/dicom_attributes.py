"""What a DICOM header says about the picture beside its pixels: side, view, body part, spacing.

Older objects say it at the top level, enhanced ones in functional groups, and many in codes. Each
function reads every place, the most specific first. A value that is not listed (`defined_terms`) is
left out, since such an attribute may hold anything, a name as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydicom.uid import UID_dictionary

from medres.imaging.defined_terms import (
    BODY_PARTS,
    MODALITIES,
    VIEW_POSITIONS,
    listed,
    listed_image_type,
    maker,
    meaning_of_region,
    meaning_of_view,
)
from medres.imaging.dicom_header import UNREGISTERED, Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ATTRIBUTE_TAGS = [
    *("ImageType", "PatientOrientation", "BodyPartExamined", "AnatomicRegionSequence"),
    *("ViewPosition", "ViewCodeSequence", "Laterality", "ImageLaterality", "FrameLaterality"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("InstanceNumber", "FrameOfReferenceUID", "GantryDetectorTilt"),
]

BURNED_IN = frozenset({"YES", "NO"})
LATERALITIES = ("R", "L", "B", "U")
# PS3.3 C.7.6.1.1.1: bipeds A P R L H F, quadrupeds LE RT D V CR CD M PR DI PA PL.
ORIENTATION = re.compile(r"(?:LE|RT|CR|CD|PR|DI|PA|PL|[APRLHFDVM]){1,3}")
FRAME_TYPES = (
    *("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "MRSpectroscopyFrameTypeSequence"),
    *("PETFrameTypeSequence", "XRay3DFrameTypeSequence"),
)


def pixel_spacing(header: Header) -> tuple[tuple[float, float] | None, str]:
    """Distance of the centres of rows, then of columns, in mm, and the attribute that says so.

    In the patient (PixelSpacing) before at the detector (ImagerPixelSpacing), which is larger by
    the magnification, before on a scanned film. Empty text where none is given.
    """
    for where, keyword in (
        (header.group("PixelMeasuresSequence"), "PixelSpacing"),
        (header.dataset, "ImagerPixelSpacing"),
        (header.dataset, "NominalScannedPixelSpacing"),
    ):
        spacing = header.numbers(keyword, where)
        if len(spacing) == 2 and min(spacing) > 0:
            return (spacing[0], spacing[1]), keyword
    return None, ""


def laterality(header: Header) -> str:
    """R, L, B (both) or U (unpaired): of the frame, else the image, else the series.

    Laterality (0020,0060) is the series'; a series with both hands has it empty, and each image
    its own (PS3.3 C.7.3.1.1.1).
    """
    for where, keyword in (
        (header.group("FrameAnatomySequence"), "FrameLaterality"),
        (header.dataset, "ImageLaterality"),
        (header.dataset, "Laterality"),
    ):
        side = _text(header, keyword, where).upper()
        if side in LATERALITIES:
            return side
    return ""


def view_position(header: Header) -> str:
    """View Position, such as PA, else the first View Code's meaning, such as cranio-caudal."""
    return listed(header.text("ViewPosition"), VIEW_POSITIONS) or _meaning(
        header, "ViewCodeSequence", header.dataset, meaning_of_view
    )


def body_part(header: Header) -> str:
    """Body Part Examined, such as CHEST, else the meaning of the Anatomic Region's code."""
    return (
        listed(header.text("BodyPartExamined"), BODY_PARTS)
        or _meaning(
            header,
            "AnatomicRegionSequence",
            header.group("FrameAnatomySequence"),
            meaning_of_region,
        )
        or _meaning(header, "AnatomicRegionSequence", header.dataset, meaning_of_region)
    )


def image_type(header: Header) -> tuple[str, ...]:
    """Image Type, such as (ORIGINAL, PRIMARY, AXIAL); of enhanced objects the frame's own.

    The place of a value matters: one that is not listed is empty.
    """
    for keyword in FRAME_TYPES:
        group = header.group(keyword)
        if group is not header.dataset and "FrameType" in group:
            return tuple(map(listed_image_type, _texts(header, "FrameType", group)))
    return tuple(map(listed_image_type, _texts(header, "ImageType", header.dataset)))


def modality(header: Header) -> str:
    """Modality, such as CR."""
    return listed(header.text("Modality"), MODALITIES)


def manufacturer(header: Header) -> str:
    """Who made the equipment, by one name each: GE for GE MEDICAL SYSTEMS."""
    return maker(header.text("Manufacturer"))


def burned_in_annotation(header: Header) -> str:
    """YES or NO; empty where the file does not say."""
    return listed(header.text("BurnedInAnnotation"), BURNED_IN)


def transfer_syntax(header: Header) -> str:
    """UID of the transfer syntax, empty where there is none; "unregistered" for one unheard of."""
    uid = str(header.dataset.file_meta.get("TransferSyntaxUID", ""))
    return uid if not uid or uid in UID_dictionary else UNREGISTERED


def patient_orientation(header: Header) -> tuple[str, ...]:
    """Where the rows and the columns point to, such as (L, F); empty unless it says both."""
    directions = _texts(header, "PatientOrientation", header.dataset)
    known = len(directions) == 2 and all(map(ORIENTATION.fullmatch, directions))
    return directions if known else ()


def _text(header: Header, keyword: str, where: Dataset) -> str:
    value = header.value(keyword, where)
    return "" if value is None else str(value).strip()


def _texts(header: Header, keyword: str, where: Dataset) -> tuple[str, ...]:
    value = header.value(keyword, where)
    if value is None:
        return ()
    values = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return tuple(str(item).strip() for item in values)


def _meaning(
    header: Header, keyword: str, where: Dataset, look_up: Callable[[str, str], str]
) -> str:
    """What the standard calls a code sequence's first item, empty where it does not know it."""
    for item in header.items(keyword, where)[:1]:
        value, scheme = (
            _text(header, name, item) for name in ("CodeValue", "CodingSchemeDesignator")
        )
        return look_up(value, scheme)
    return ""
