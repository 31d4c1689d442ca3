"""Lossy codings: the stored values by a bound and by another decoder, then the standard's steps.

A lossy frame has no one right decoding but for JPEG-LS, which says how far a sample may be off.
What is held: samples are within a bound of what was coded and within a rounding of what another
library decodes; and the display is what the standard's steps make of the samples.
"""

import functools
import io

import numpy as np
import pytest
from golden_codings import HAS_IMAGECODECS, CodedPixels, write_coded
from golden_reference import by_the_standard, stored_limits
from PIL import Image
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from medres.imaging.dicom import read_dicom

SIDE, FRAMES, NEAR = 48, 2, 3
LOSSY = [
    ("JPEG baseline", uid.JPEGBaseline8Bit, 8, False),
    ("JPEG extended", uid.JPEGExtended12Bit, 8, False),
    *(
        (name, syntax, bits, signed)
        for name, syntax in (("JPEG-LS near", uid.JPEGLSNearLossless), ("J2K", uid.JPEG2000))
        for bits in (8, 12, 16)
        for signed in (False, True)
    ),
]
if HAS_IMAGECODECS:
    LOSSY += [
        ("JPEG extended 12", uid.JPEGExtended12Bit, 12, False),
        *(("HTJ2K", uid.HTJ2K, bits, False) for bits in (8, 12, 16)),
    ]


@functools.cache
def smooth_frames(bits, signed):
    """(FRAMES, SIDE, SIDE): waves over most of the range, which codecs keep well."""
    low, high = stored_limits(bits, signed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = [np.sin(3 * x + n) * np.cos(2 * y) * 0.45 + 0.5 for n in range(FRAMES)]
    values = low + np.array(waves) * (high - low)
    return np.rint(values).astype(("i" if signed else "u") + ("1" if bits == 8 else "2"))


@functools.cache
def streams(name, syntax, bits, signed):
    return [encode(name, syntax, bits, frame) for frame in smooth_frames(bits, signed)]


def encode(name, syntax, bits, frame):
    if name in ("JPEG baseline", "JPEG extended"):
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95)
        return file.getvalue()
    if name == "JPEG extended 12":
        import imagecodecs

        return bytes(imagecodecs.jpeg8_encode(frame, 95, bitspersample=12))
    if name == "HTJ2K":
        import imagecodecs

        return bytes(imagecodecs.htj2k_encode(frame, reversible=False, level=0.0005))
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = frame.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * frame.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(frame.dtype.kind == "i")
    dataset.PixelData = frame.tobytes()
    dataset["PixelData"].VR = "OB" if frame.itemsize == 1 else "OW"
    loss = {"jls_error": NEAR} if name == "JPEG-LS near" else {"j2k_psnr": [60]}
    plugin = "pyjpegls" if name == "JPEG-LS near" else "pylibjpeg"
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False, **loss)
    return bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))


def decode_elsewhere(name, stream):
    """By a library that medres does not read this syntax with: OpenJPH, CharLS and libjpeg-turbo
    as imagecodecs brings them."""
    import imagecodecs

    decode = {
        "JPEG baseline": imagecodecs.jpeg8_decode,
        "JPEG extended": imagecodecs.jpeg8_decode,
        "JPEG extended 12": imagecodecs.jpeg8_decode,
        "JPEG-LS near": imagecodecs.jpegls_decode,
        "J2K": imagecodecs.jpeg2k_decode,
        "HTJ2K": imagecodecs.htj2k_decode,
    }[name]
    return decode(stream)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("modality", [None, ("rescale", 0.5, -1024.0)], ids=["stored", "rescaled"])
@pytest.mark.parametrize(
    ("name", "syntax", "bits", "signed"),
    LOSSY,
    ids=[f"{name}-{bits}-{'signed' if signed else 'unsigned'}" for name, _, bits, signed in LOSSY],
)
def test_lossy_frames_are_within_their_bound_and_shown_by_the_standards_steps(
    dicom_dataset, tmp_path, name, syntax, bits, signed, modality, photometric
):
    frames = smooth_frames(bits, signed)
    low, high = limits = stored_limits(bits, signed)
    slope, intercept = modality[1:] if modality else (1.0, 0.0)
    window = ("LINEAR", (low + high) // 2 * slope + intercept, (high - low) // 3 * slope)
    dataset = dicom_dataset(frames, BitsStored=bits, PhotometricInterpretation=photometric)
    dataset.WindowCenter, dataset.WindowWidth = window[1:]
    if modality:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    coded = streams(name, syntax, bits, signed)
    write_coded(dataset, CodedPixels(syntax, encapsulate(coded)), tmp_path / "a.dcm")
    bound = NEAR if name == "JPEG-LS near" else (high - low) * 0.02
    for frame in range(FRAMES):
        units = read_dicom(tmp_path / "a.dcm", frame, intensity="modality").pixels
        stored = np.rint((units.astype(np.float64) - intercept) / slope).astype(int)
        assert np.abs(stored - frames[frame]).max() <= bound
        if HAS_IMAGECODECS:
            elsewhere = decode_elsewhere(name, coded[frame]).astype(int)
            if signed and elsewhere.min() >= 0:  # the codestream has no sign, the header has
                elsewhere -= (elsewhere > high) * 2**bits
            assert np.abs(stored - elsewhere).max() <= (0 if name == "JPEG-LS near" else 1)
        expected = [
            by_the_standard(
                int(value), limits, modality, window, inverted=photometric == "MONOCHROME1"
            )[1]
            for value in stored.ravel()
        ]
        shown = read_dicom(tmp_path / "a.dcm", frame, intensity="display").pixels
        np.testing.assert_allclose(shown.ravel(), expected, rtol=0, atol=1e-3 / 255)
