"""Whole images to damage: small ones of every format and coding made here, and real ones."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from importlib.util import find_spec

import nibabel as nib
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from real_data import real_data_root

LARGEST_SOURCE_BYTES = 400_000
SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian),
    *(RLELossless, JPEGLSLossless, JPEG2000Lossless, ExplicitVRBigEndian),
)
ENCODED_BY_IMAGECODECS = (JPEGBaseline8Bit, JPEGLosslessSV1, HTJ2KLossless)


def sources() -> list[bytes]:
    """Files made here, and real ones where there are any."""
    found = [*made_dicom(), *made_pictures(), *made_arrays(), *made_volumes()]
    root = real_data_root()
    real = [] if root is None else sorted((root / "data").rglob("*"))
    for path in real:
        if path.suffix not in (".csv", ".json", ".md") and path.is_file():
            many = len([*path.parent.iterdir()]) > 200 and hash_of(path.name) % 50
            if 0 < path.stat().st_size <= LARGEST_SOURCE_BYTES and not many:
                found.append(path.read_bytes())
    return found


def hash_of(name: str) -> int:
    """The same in every process."""
    return sum(ord(letter) * 31**at for at, letter in enumerate(name[:12]))


def made_dicom() -> Iterator[bytes]:
    """Every coding that can be written here, and each way of a header to ask for its rendering."""
    pixels = np.arange(2 * 64 * 64, dtype="<u2").reshape(2, 64, 64) % 4096
    for syntax in SYNTAXES:
        yield written(_radiograph(pixels), syntax)
    if find_spec("imagecodecs"):
        yield from (_encoded(pixels[0] // 16, syntax) for syntax in ENCODED_BY_IMAGECODECS)
    yield written(_with_tables(_radiograph(pixels)))
    yield written(_with_groups(_radiograph(pixels)))
    yield written(_with_palette(_radiograph(pixels[0] // 16)))
    color = _radiograph((pixels[0] // 16).astype(np.uint8))
    color.PhotometricInterpretation, color.SamplesPerPixel = "YBR_FULL", 3
    color.Columns, color.PlanarConfiguration = 20, 0  # of 64 x 64 samples 64 x 20 x 3
    yield written(color)
    plain = written(_radiograph(pixels))
    yield plain[132:]  # without preamble and prefix
    yield plain[132 + 12 + int.from_bytes(plain[140:144], "little") :]  # nor meta information


def made_pictures() -> Iterator[bytes]:
    """PNG, JPEG, TIFF and BMP; also deep, with a palette, transparent, animated and interlaced."""
    gray = Image.fromarray(np.arange(32 * 24, dtype=np.uint8).reshape(32, 24))
    deep = Image.fromarray(np.arange(32 * 24, dtype=np.uint16).reshape(32, 24) * 80)
    text = PngInfo()
    text.add_text("Title", "TEXT")
    text.add_itxt("Author", "TEXT", zip=True)
    several = {"save_all": True, "append_images": [gray, gray]}
    orientation = Image.Exif()
    orientation[0x0112] = 6
    for picture, kind, options in (
        *((gray, kind, {}) for kind in ("PNG", "JPEG", "TIFF", "BMP")),
        *((deep, kind, {}) for kind in ("PNG", "TIFF")),
        (gray, "PNG", {"pnginfo": text, "exif": orientation}),
        (gray, "PNG", several),
        (gray.convert("P"), "PNG", {"transparency": 0}),
        (gray.convert("LA"), "PNG", {}),
        (gray.convert("1"), "TIFF", {"compression": "group4"}),
        *((gray, "TIFF", {"compression": f"tiff_{name}"}) for name in ("lzw", "adobe_deflate")),
        (gray, "TIFF", several),
        (gray.convert("RGB"), "JPEG", {"progressive": True, "exif": orientation}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        yield file.getvalue()


def made_arrays() -> Iterator[bytes]:
    """The layouts of npy and npz."""
    pixels = np.arange(32 * 24, dtype=np.uint8).reshape(2, 16, 24)
    for write in (np.save, np.savez, np.savez_compressed):
        file = io.BytesIO()
        write(file, pixels)
        yield file.getvalue()


def made_volumes() -> Iterator[bytes]:
    """NIfTI-1 and -2, compressed or not, integers and floats, three axes and four."""
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    whole = np.arange(480, dtype=np.int16).reshape(10, 8, 6)
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        volume = kind(whole, affine).to_bytes()
        yield volume
        yield gzip.compress(volume, mtime=0)
    yield nib.Nifti1Image(whole.reshape(10, 4, 6, 2).astype(np.float32), affine).to_bytes()


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The file of a data set, compressed where pydicom does so."""
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _radiograph(pixels: np.ndarray) -> Dataset:
    """(H, W) or (frames, H, W) of 12 bits."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", "1", "1.1"
    dataset.PatientName = dataset.PatientID = "NAME"
    dataset.Modality, dataset.PhotometricInterpretation = "CR", "MONOCHROME1"
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = min(dataset.BitsAllocated, 12)
    dataset.HighBit = dataset.BitsStored - 1
    if pixels.ndim == 3:
        dataset.NumberOfFrames = pixels.shape[0]
    dataset.WindowCenter, dataset.WindowWidth = [2048, 100], [4096, 50]
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -7
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 0, 3
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PixelSpacing = [0.2, 0.2]
    dataset.ImagePositionPatient = [0, 0, 1]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _encoded(pixels: np.ndarray, syntax: str) -> bytes:
    """8 bits in a syntax that pydicom does not encode."""
    from imagecodecs import htj2k_encode, jpeg8_encode

    pixels = pixels.astype(np.uint8)
    if syntax == HTJ2KLossless:
        stream = htj2k_encode(pixels, reversible=True)
    else:
        stream = jpeg8_encode(pixels, lossless=syntax == JPEGLosslessSV1)
    dataset = _radiograph(pixels)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    return written(dataset, syntax)


def _table(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _with_tables(dataset: Dataset) -> Dataset:
    """A modality LUT and two VOI LUTs."""
    del dataset.RescaleSlope, dataset.RescaleIntercept
    table = _table(LUTDescriptor=[4096, 0, 12], LUTData=np.arange(4096, dtype="<u2").tobytes())
    table["LUTData"].VR = "OW"
    dataset.ModalityLUTSequence, dataset.VOILUTSequence = [table], [table, table]
    return dataset


def _with_groups(dataset: Dataset) -> Dataset:
    """An enhanced object's functional groups, shared and of each frame."""
    window = _table(FrameVOILUTSequence=[_table(WindowCenter=100, WindowWidth=50)])
    rescale = _table(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    shared = _table(
        PixelValueTransformationSequence=[rescale],
        PixelMeasuresSequence=[_table(PixelSpacing=[1, 1])],
    )
    dataset.PerFrameFunctionalGroupsSequence = [window, window]
    dataset.SharedFunctionalGroupsSequence = [shared]
    return dataset


def _with_palette(dataset: Dataset) -> Dataset:
    """256 colours of 16 bits."""
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for color in ("Red", "Green", "Blue"):
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        entries = np.arange(256, dtype="<u2") * 257
        setattr(dataset, f"{color}PaletteColorLookupTableData", entries.tobytes())
    return dataset
