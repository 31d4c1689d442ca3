"""Minimal DICOM radiographs for tests."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian


def write_radiograph(
    path: Path, pixels: np.ndarray, photometric: str, syntax: str = ExplicitVRLittleEndian
) -> None:
    """A minimal CR file whose display equals the 8-bit `pixels` / 255."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PhotometricInterpretation = photometric
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    stored = 255 - pixels if photometric == "MONOCHROME1" else pixels
    dataset.PixelData = np.ascontiguousarray(stored, dtype=np.uint8).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


def write_tiny_dicom(path: Path, syntax: str) -> None:
    """Two rows of three pixels; in a compressed syntax, a fragment that decodes to nothing."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 3, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    native = not UID(syntax).is_encapsulated
    dataset.PixelData = bytes(range(6)) if native else encapsulate([b"\0\0"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
