"""Legal DICOM files of synthetic radiographs: Digital X-Ray (DX) and Computed Radiography (CR).

Every attribute that PS3.3 A.26 and A.2 require is there, so that a validator finds no error, and
every value is either the phantom's truth or plainly synthetic.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medres.phantom.projection import SOURCE_TO_DETECTOR_MM
from medres.phantom.study import SCANNERS, Radiograph, Scanner, StudyPlan

_FIRST_DAY = date(2021, 3, 1)
_SOP_CLASS = {
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray Image Storage - For Presentation
    "CR": "1.2.840.10008.5.1.4.1.1.1",
}
_TRANSFER_SYNTAX = {
    "explicit": "1.2.840.10008.1.2.1",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
    "rle": "1.2.840.10008.1.2.5",
}
_RESCALE = (0.25, -64.0)  # slope and intercept of the CR files that have one
_LUT_BITS = 12


def make_uid(*parts: object) -> str:
    """A UID from whatever names a thing: 2.25 and a UUID (PS3.5 B.2), the same at every call."""
    digest = bytearray(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16])
    digest[6] = (digest[6] & 0x0F) | 0x80  # RFC 9562: version 8, made from anything
    digest[8] = (digest[8] & 0x3F) | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"


def study_instance_uid(plan: StudyPlan, seed: int) -> str:
    """The Study Instance UID of a planned study; apart from its seed it tells nothing."""
    return make_uid("medres phantom", seed, plan.patient, plan.study)


def build_dataset(picture: Radiograph, number: int, *, seed: int = 0) -> Any:
    """A DICOM file of one radiograph, as pydicom's FileDataset-ready Dataset.

    Args:
        picture: of `render_study`.
        number: of the picture in its study, from 1.
        seed: of the set; goes into the UIDs.
    """
    from pydicom.dataset import Dataset

    plan, scanner = picture.plan, SCANNERS[picture.plan.scanner]
    dataset = Dataset()
    _set_identity(dataset, picture, number, seed)
    _set_acquisition(dataset, picture, scanner)
    if scanner.modality == "DX":
        _set_digital(dataset, picture)
    _set_voi(dataset, picture)
    _set_pixels(dataset, picture.stored, scanner)
    dataset.file_meta = _file_meta(dataset, "explicit")
    if plan.encoding != "explicit":
        dataset.compress(
            _TRANSFER_SYNTAX[plan.encoding],
            generate_instance_uid=False,
            encoding_plugin={"rle": "pylibjpeg", "jpeg-2000": "pylibjpeg", "jpeg-ls": "pyjpegls"}[
                plan.encoding
            ],
        )
    return dataset


def _file_meta(dataset: Any, encoding: str) -> Any:
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = _TRANSFER_SYNTAX[encoding]
    meta.ImplementationClassUID = make_uid("medres implementation")
    meta.ImplementationVersionName = "MEDRES_PHANTOM"
    return meta


def _set_identity(dataset: Any, picture: Radiograph, number: int, seed: int) -> None:
    """Patient, study, series, equipment and SOP common modules (PS3.3 C.7.1 to C.7.5, C.12.1)."""
    plan, scanner = picture.plan, SCANNERS[picture.plan.scanner]
    day = _FIRST_DAY + timedelta(days=plan.days)
    study = study_instance_uid(plan, seed)
    dataset.SOPClassUID = _SOP_CLASS[scanner.modality]
    dataset.SOPInstanceUID = make_uid(study, "instance", number)
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = make_uid(study, "series", number)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"PHANTOM^{plan.patient + 1:04d}"
    dataset.PatientID = f"PHANTOM-{plan.patient + 1:04d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = picture.anatomy.sex
    dataset.PatientAge = f"{picture.anatomy.age + plan.days // 365:03d}Y"
    dataset.StudyDate = dataset.SeriesDate = day.strftime("%Y%m%d")
    dataset.AcquisitionDate = dataset.ContentDate = day.strftime("%Y%m%d")
    dataset.StudyTime = dataset.SeriesTime = "100000"
    dataset.AcquisitionTime = dataset.ContentTime = f"10{number:02d}00"
    dataset.StudyID = str(plan.study + 1)
    dataset.AccessionNumber = f"P{plan.patient + 1:04d}S{plan.study + 1}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic chest radiograph"
    dataset.SeriesNumber, dataset.InstanceNumber = number, 1  # each view is a series
    dataset.Modality = scanner.modality
    dataset.Manufacturer = "medres phantom"
    dataset.ManufacturerModelName = scanner.model
    dataset.DeviceSerialNumber = scanner.name
    dataset.SoftwareVersions = "1"


def _code(value: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _set_acquisition(dataset: Any, picture: Radiograph, scanner: Scanner) -> None:
    """What CR and DX share: body part, view, geometry (PS3.3 C.8.1, C.8.7, C.8.11)."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = picture.view
    dataset.PatientOrientation = ["L", "F"] if picture.view == "PA" else ["P", "F"]
    spacing = f"{scanner.detector.spacing_mm:.3f}"
    dataset.ImagerPixelSpacing = [spacing, spacing]
    dataset.KVP = "120"
    dataset.DistanceSourceToDetector = f"{SOURCE_TO_DETECTOR_MM:.0f}"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    if scanner.modality == "CR":
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.PlateType = "PHANTOM"


def _set_digital(dataset: Any, picture: Radiograph) -> None:
    """What only DX has (PS3.3 C.8.11.1 to C.8.11.5, C.7.6.14)."""
    frontal = picture.view == "PA"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = [_code("51185008", "Chest")]
    dataset.ViewCodeSequence = [
        _code("272479007", "postero-anterior") if frontal else _code("399173006", "left lateral")
    ]
    dataset.ViewCodeSequence[0].ViewModifierCodeSequence = []
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.DetectorConfiguration = "AREA"
    dataset.PositionerType = "NONE"
    dataset.AcquisitionContextSequence = []


def _set_voi(dataset: Any, picture: Radiograph) -> None:
    """Window or LUT, as the study's plan says (PS3.3 C.11.1 and C.11.2)."""
    low, high = picture.window
    voi = picture.plan.voi
    if voi == "none":
        return
    if voi == "lut":
        dataset.VOILUTSequence = [_voi_lut(low, high)]
        return
    slope, intercept = (1.0, 0.0)
    if voi == "rescaled window":
        slope, intercept = _RESCALE
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
        dataset.RescaleType = "US"
    center = (low + high) / 2 * slope + intercept
    width = (high - low) * slope
    if voi == "sigmoid":
        dataset.VOILUTFunction = "SIGMOID"
        width *= 0.85  # nearly as steep in the middle as the linear window
    dataset.WindowCenter, dataset.WindowWidth = f"{center:.2f}", f"{width:.2f}"
    if voi == "two windows":
        dataset.WindowCenter = [f"{center:.2f}", f"{center + 0.2 * width:.2f}"]
        dataset.WindowWidth = [f"{width:.2f}", f"{0.6 * width:.2f}"]
        dataset.WindowCenterWidthExplanation = ["NORMAL", "BONE"]


def _voi_lut(low: float, high: float) -> Any:
    """A gentle S over the window, as film had it: a table for the values between, PS3.3 C.11.2."""
    from pydicom.dataset import Dataset

    first, count = int(low), int(high) - int(low) + 1
    s = np.linspace(0.0, 1.0, count)
    table = np.rint((0.75 * s + 0.25 * s * s * (3 - 2 * s)) * (2**_LUT_BITS - 1))
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [count, first, _LUT_BITS])
    item.LUTExplanation = "NORMAL"
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    return item


def _set_pixels(dataset: Any, stored: NDArray[np.uint16], scanner: Scanner) -> None:
    """Image Pixel module (PS3.3 C.7.6.3)."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = scanner.photometric_interpretation
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = scanner.bits_stored
    dataset.HighBit = scanner.bits_stored - 1
    dataset.PixelRepresentation = 0
    dataset.add_new("PixelData", "OW", stored.astype("<u2").tobytes())
