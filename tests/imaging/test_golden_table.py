"""Every coding times every way to grayscale, against the standard's own steps, taken one by one.

The reference below is written from PS3.3 C.11 for one value at a time in plain Python; it shares
no code with medres. Display is compared at a thousandth of an 8-bit step, modality exactly.
"""

import functools
import math

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medres.imaging.dicom import read_dicom

# Distinct values down and across. Each fills a square: encoders refuse tiny or noisy pictures.
ROWS, COLUMNS, SQUARE = 10, 9, 4
SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
}
CODECS = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}


def stored_limits(bits, signed):
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


@functools.cache
def stored_values(bits, signed):
    """(ROWS, COLUMNS): both ends, the middle, and values drawn over the whole range."""
    low, high = stored_limits(bits, signed)
    rng = np.random.default_rng(bits)
    values = rng.integers(low, high, (ROWS, COLUMNS), endpoint=True)
    values[0, :6] = low, low + 1, (low + high) // 2, (low + high) // 2 + 1, high - 1, high
    return values.astype(("i" if signed else "u") + ("1" if bits == 8 else "2"))


# Ways to grayscale. Each is a table of attributes in units of the stored range: x is the value a
# fraction of the way from the least to the greatest stored value.


def lut_entries(count, bits):
    """A curve that is neither straight nor monotone, and reaches the greatest output."""
    top = 2**bits - 1
    return [top if k == count // 2 else (k * k * 37 + 11 * k) % (top + 1) for k in range(count)]


def ways(bits, signed):
    low, high = stored_limits(bits, signed)
    span = high - low
    middle = low + span // 2
    rescale = ("rescale", 0.5, -1024.0)
    window = (low + 0.4 * span, 0.25 * span)
    rescaled_window = (0.5 * window[0] - 1024, 0.5 * window[1])
    table = (middle - 50, lut_entries(100, 12), 12)
    modality_table = ("lut", *(middle - 20, lut_entries(64, 10), 10))
    return {
        "nothing": (None, None),
        "rescale": (rescale, None),
        "negative slope": (("rescale", -2.0, 7.0), None),
        "modality LUT": (modality_table, None),
        "LINEAR": (None, ("LINEAR", *window)),
        "LINEAR, width 1": (None, ("LINEAR", middle, 1)),
        "LINEAR_EXACT": (None, ("LINEAR_EXACT", *window)),
        "SIGMOID": (None, ("SIGMOID", *window)),
        "rescale, LINEAR": (rescale, ("LINEAR", *rescaled_window)),
        "rescale, SIGMOID": (rescale, ("SIGMOID", *rescaled_window)),
        "modality LUT, LINEAR": (modality_table, ("LINEAR", 400, 300)),
        "VOI LUT": (None, ("lut", *table)),
        "rescale, VOI LUT": (("rescale", 1.0, -1024.0), ("lut", middle - 1074, *table[1:])),
        "modality LUT, VOI LUT": (modality_table, ("lut", 100, lut_entries(256, 16), 16)),
    }


WAYS = tuple(ways(8, False))


# The reference.


def by_the_standard(value, low, high, modality, voi):
    """Modality value and MONOCHROME2 display of one stored value (PS3.3 C.11.1, C.11.2)."""
    units = apply_modality(value, modality)
    if voi is None:  # the standard leaves it open: the whole range that the bits can hold
        ends = sorted(apply_modality(end, modality) for end in (low, high))
        if modality and modality[0] == "lut":
            ends = [0, 2 ** modality[3] - 1]
        return units, (units - ends[0]) / (ends[1] - ends[0])
    if voi[0] == "lut":
        return units, look_up(units, *voi[1:3]) / (2 ** voi[3] - 1)
    return units, apply_window(units, *voi)


def apply_modality(value, modality):
    if modality is None:
        return value
    if modality[0] == "lut":
        return look_up(value, *modality[1:3])
    _, slope, intercept = modality
    return slope * value + intercept


def look_up(value, first, entries):
    """C.11.1.1.1: values below the first mapped get the first entry, above the last the last."""
    if value < first:
        return entries[0]
    if value > first + len(entries) - 1:
        return entries[-1]
    return entries[int(value) - first]


def apply_window(x, function, center, width):
    if function == "LINEAR":  # C.11.2.1.2.1
        if x <= center - 0.5 - (width - 1) / 2:
            return 0.0
        if x > center - 0.5 + (width - 1) / 2:
            return 1.0
        return (x - (center - 0.5)) / (width - 1) + 0.5
    if function == "LINEAR_EXACT":  # C.11.2.1.3.2
        if x <= center - width / 2:
            return 0.0
        if x > center + width / 2:
            return 1.0
        return (x - center) / width + 0.5
    return 1 / (1 + math.exp(-4 * (x - center) / width))  # C.11.2.1.3.1


# The files.


def picture(values):
    """(ROWS, COLUMNS) values as (H, W) pixels."""
    return np.kron(values, np.ones((SQUARE, SQUARE), values.dtype))


@functools.cache
def coded_pixels(make, syntax, bits, signed):
    """Pixel Data as the transfer syntax stores it."""
    dataset = make(picture(stored_values(bits, signed)), BitsStored=bits)
    if syntax == ExplicitVRBigEndian and bits > 8:
        return np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    if syntax in CODECS:
        dataset.compress(syntax, encoding_plugin=CODECS[syntax], generate_instance_uid=False)
    return dataset.PixelData


def sequence_of(table, syntax):
    first, entries, bits = table
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    item.add_new("LUTData", "OW", np.array(entries, order).tobytes())
    return [item]


def attributes_of(modality, voi, syntax):
    attributes = {}
    if modality and modality[0] == "lut":
        attributes["ModalityLUTSequence"] = sequence_of(modality[1:], syntax)
    elif modality:
        attributes |= {"RescaleSlope": modality[1], "RescaleIntercept": modality[2]}
    if voi and voi[0] == "lut":
        attributes["VOILUTSequence"] = sequence_of(voi[1:], syntax)
    elif voi:
        attributes |= {
            "VOILUTFunction": voi[0],
            "WindowCenter": decimal(voi[1]),
            "WindowWidth": decimal(voi[2]),
        }
    return attributes


def decimal(value):
    """As a decimal string holds it: 16 characters."""
    return float(f"{value:.10g}")


def write_coded(dataset, syntax, pixels, path):
    dataset.PixelData = pixels
    dataset.file_meta.TransferSyntaxUID = syntax
    encapsulated = syntax.is_encapsulated
    dataset["PixelData"].VR = "OB" if encapsulated or dataset.BitsAllocated == 8 else "OW"
    dataset["PixelData"].is_undefined_length = encapsulated
    dataset.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES.keys())
def test_grayscale_is_what_the_standards_steps_give(
    dicom_dataset, tmp_path, syntax, bits, signed, way
):
    modality, voi = ways(bits, signed)[way]
    if voi and voi[0] != "lut":
        voi = (voi[0], decimal(voi[1]), decimal(voi[2]))
    stored = stored_values(bits, signed)
    limits = stored_limits(bits, signed)
    expected = [by_the_standard(int(value), *limits, modality, voi) for value in stored.ravel()]
    units, display = np.array(expected).T.reshape(2, ROWS, COLUMNS)
    assert np.ptp(display) > 0.1
    pixels = coded_pixels(dicom_dataset, syntax, bits, signed)
    path = tmp_path / "a.dcm"
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        dataset = dicom_dataset(
            picture(stored),
            BitsStored=bits,
            PhotometricInterpretation=photometric,
            **attributes_of(modality, voi, syntax),
        )
        write_coded(dataset, syntax, pixels, path)
        shown = read_dicom(path, intensity="display").pixels
        right = picture(1 - display if photometric == "MONOCHROME1" else display)
        np.testing.assert_allclose(shown, right, rtol=0, atol=0.001 / 255)
    image = read_dicom(path, intensity="modality")
    np.testing.assert_array_equal(image.pixels, picture(units.astype(np.float32)))
