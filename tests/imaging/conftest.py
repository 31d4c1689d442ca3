"""DICOM files made for one test each, with nothing in them but what the test is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

WriteDicom = Callable[..., Path]


def _dicom_dataset(pixels: Any, **attributes: Any) -> Dataset:
    """(H, W) or (frames, H, W) integers, or (H, W, 3) with PhotometricInterpretation RGB."""
    pixels = np.atleast_2d(np.asarray(pixels))
    color = attributes.get("PhotometricInterpretation", "MONOCHROME2") in ("RGB", "YBR_FULL")
    frames = pixels.shape[0] if pixels.ndim == 3 and not color else 1
    dataset = Dataset()
    dataset.SOPClassUID = attributes.pop("SOPClassUID", ComputedRadiographyImageStorage)
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.1"
    dataset.PatientName = "SECRET^NAME"
    dataset.PatientID = "SECRET-ID"
    dataset.Modality = "CR"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.SamplesPerPixel = 3 if color else 1
    if color:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2] if color else pixels.shape[-2:]
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = attributes.pop("BitsStored", dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.preamble = bytes(128)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@pytest.fixture(scope="session")
def dicom_dataset() -> Callable[..., Dataset]:
    return _dicom_dataset


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    def write(pixels: Any, **attributes: Any) -> Path:
        path = tmp_path / f"{generate_uid()}.dcm"
        _dicom_dataset(pixels, **attributes).save_as(path, enforce_file_format=True)
        return path

    return write
