"""What a DICOM header says of the group that an image belongs to: sex, age, scanner, view, site.

Values of Patient's Age, of the model name and of the institution are free enough to help to tell
who somebody is: they are read when a report by them is asked for, and never otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medres.imaging.dicom import read_header
from medres.imaging.dicom_attributes import laterality, manufacturer, modality, view_position
from medres.imaging.dicom_header import Header, quiet_pydicom

SEXES = ("F", "M", "O")


def _sex(header: Header) -> str:
    value = header.text("PatientSex").upper()
    return value if value in SEXES else ""


def _scanner(header: Header) -> str:
    return " ".join(filter(None, (manufacturer(header), header.text("ManufacturerModelName"))))


ATTRIBUTES: dict[str, Callable[[Header], str]] = {
    "sex": _sex,
    "age": lambda header: header.text("PatientAge"),
    "scanner": _scanner,
    "manufacturer": manufacturer,
    "view": view_position,
    "laterality": laterality,
    "modality": modality,
    "site": lambda header: header.text("InstitutionName"),
}
"""Subgroup columns that a DICOM header can fill: Patient's Sex (0010,0040) and Age (0010,1010),
Manufacturer (0008,0070) with Manufacturer's Model Name (0008,1090), View Position (0018,5101),
laterality, Modality (0008,0060), Institution Name (0008,0080)."""


def read_subgroup_attribute(path: Path, name: str) -> str:
    """One attribute of `ATTRIBUTES` as text; empty where the header has none.

    Args:
        path: of a DICOM file.
        name: a key of `ATTRIBUTES`.

    Raises:
        UnreadableImageError: no DICOM, or a header that cannot be parsed.
    """
    with quiet_pydicom():
        return ATTRIBUTES[name](read_header(path))
