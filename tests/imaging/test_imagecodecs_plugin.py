"""Lossless and 12-bit JPEG: decoded where the extra `codecs` is installed, refused elsewhere."""

import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1
from real_data import real_data_root

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging import imagecodecs_plugin
from medres.imaging.read import read_grayscale

INSTALLED = find_spec("imagecodecs") is not None


def real_files():
    root = real_data_root()
    if root is None:
        return [pytest.param({}, id="absent")]
    with (root / "data/dicom/attributes.csv").open(newline="") as lines:
        rows = [r for r in csv.DictReader(lines) if r["ts"] in imagecodecs_plugin.SYNTAXES]
    return [pytest.param(row, id=Path(row["file"]).name) for row in rows]


@pytest.mark.parametrize("row", real_files())
def test_real_file_is_decoded_as_dcmtk_decodes_it_or_refused(test_data, program, tmp_path, row):
    path = test_data / "data/dicom" / row["file"]
    if not INSTALLED:
        with pytest.raises(UnreadableImageError, match="`pip install imagecodecs`") as caught:
            read_grayscale(path)
        assert caught.value.reason is RejectReason.NO_DECODER
        return
    # +cn: lossless colours stay as they are
    command = [program("dcmdjpeg"), "+cn", str(path), str(tmp_path / "native.dcm")]
    subprocess.run(command, check=True, capture_output=True)
    image = read_grayscale(path, intensity="modality")
    expected = read_grayscale(tmp_path / "native.dcm", intensity="modality")
    lossy = row["ts"] == JPEGExtended12Bit
    # Two inverse cosine transforms may round a stored value to either side.
    step = abs(float(row["slope"] or 1)) if lossy else 0
    np.testing.assert_allclose(image.pixels, expected.pixels, rtol=0, atol=step)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
@pytest.mark.parametrize(("bits", "signed"), [(8, 0), (12, 0), (16, 0), (16, 1)])
def test_lossless_jpeg_gives_back_what_was_stored(dicom_dataset, tmp_path, syntax, bits, signed):
    stored = (np.arange(64 * 48) * 7919 % 2**bits).reshape(64, 48)
    container = np.dtype(np.uint8 if bits == 8 else np.uint16)
    dataset = dicom_dataset(stored.astype(container), BitsStored=bits, PixelRepresentation=signed)
    encoded = encode(stored.astype(container), bits)
    dataset.PixelData = encapsulate([encoded])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm")
    if not INSTALLED:
        with pytest.raises(UnreadableImageError, match="`pip install imagecodecs`"):
            read_grayscale(tmp_path / "a.dcm")
        return
    pixels = read_grayscale(tmp_path / "a.dcm", intensity="modality").pixels
    expected = stored.astype(container).view(np.int16) if signed else stored
    np.testing.assert_array_equal(pixels, expected)


def encode(samples, bits):
    if not INSTALLED:
        return b"\xff\xd8\xff\xd9"
    import imagecodecs

    return imagecodecs.jpeg8_encode(samples, lossless=True, bitspersample=bits)


def test_plugin_leaves_baseline_jpeg_to_pillow():
    assert not imagecodecs_plugin.is_available(JPEGBaseline8Bit)
    assert JPEGBaseline8Bit not in imagecodecs_plugin.DECODER_DEPENDENCIES


def test_plugin_is_available_where_its_package_is():
    assert imagecodecs_plugin.is_available(JPEGLossless) is INSTALLED


def test_lossy_colour_is_left_to_pillow(monkeypatch):
    fake = SimpleNamespace(jpeg8_decode=None)
    monkeypatch.setitem(sys.modules, "imagecodecs", fake)
    runner = SimpleNamespace(samples_per_pixel=3, transfer_syntax=JPEGExtended12Bit)
    with pytest.raises(NotImplementedError, match="lossy colour JPEG is Pillow's"):
        imagecodecs_plugin.decode_frame(b"", runner)


def test_colour_is_not_converted(dicom_dataset, tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    dataset = dicom_dataset(colors, PhotometricInterpretation="RGB")
    if not INSTALLED:
        assert not imagecodecs_plugin.is_available(JPEGLosslessSV1)
        return
    import imagecodecs

    encoded = imagecodecs.jpeg8_encode(colors, lossless=True, colorspace="RGB", outcolorspace="RGB")
    dataset.PixelData = encapsulate([encoded])
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(tmp_path / "a.dcm")
    decoded = pydicom.dcmread(tmp_path / "a.dcm").pixel_array
    np.testing.assert_array_equal(decoded, colors)
