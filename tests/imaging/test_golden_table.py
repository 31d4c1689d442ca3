"""Every coding times every way to grayscale, against the standard's own steps, taken one by one.

The reference is `golden_reference`. Display is compared at a thousandth of an 8-bit step, modality
exactly.
"""

import functools

import numpy as np
import pytest
from golden_codings import LOSSLESS, code_pixels, write_coded
from golden_reference import by_the_standard, stored_limits
from pydicom import Dataset

from medres.imaging.dicom import read_dicom

# Distinct values down and across. Each fills a square: encoders refuse tiny or noisy pictures.
ROWS, COLUMNS, SQUARE = 10, 9, 4
# The other processes of the same decoders are in `test_golden_pairs`.
CODINGS = [coding for coding in LOSSLESS if coding not in ("jpeg lossless", "htj2k RPCL")]


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


def picture(values):
    """(ROWS, COLUMNS) values as (H, W) pixels."""
    return np.kron(values, np.ones((SQUARE, SQUARE), values.dtype))


@functools.cache
def coded_pixels(coding, bits, signed):
    """Pixel Data as the transfer syntax stores it."""
    return code_pixels(coding, picture(stored_values(bits, signed))[None], bits)


def sequence_of(table, coding):
    first, entries, bits = table
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    order = ">u2" if coding == "big-endian" else "<u2"
    item.add_new("LUTData", "OW", np.array(entries, order).tobytes())
    return [item]


def attributes_of(modality, voi, coding):
    attributes = {}
    if modality and modality[0] == "lut":
        attributes["ModalityLUTSequence"] = sequence_of(modality[1:], coding)
    elif modality:
        attributes |= {"RescaleSlope": modality[1], "RescaleIntercept": modality[2]}
    if voi and voi[0] == "lut":
        attributes["VOILUTSequence"] = sequence_of(voi[1:], coding)
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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("coding", CODINGS)
def test_grayscale_is_what_the_standards_steps_give(
    dicom_dataset, tmp_path, coding, bits, signed, way
):
    modality, voi = ways(bits, signed)[way]
    if voi and voi[0] != "lut":
        voi = (voi[0], decimal(voi[1]), decimal(voi[2]))
    stored = stored_values(bits, signed)
    limits = stored_limits(bits, signed)
    expected = [by_the_standard(int(value), limits, modality, voi) for value in stored.ravel()]
    units, display = np.array(expected).T.reshape(2, ROWS, COLUMNS)
    assert np.ptp(display) > 0.1
    coded = coded_pixels(coding, bits, signed)
    path = tmp_path / "a.dcm"
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        dataset = dicom_dataset(
            picture(stored),
            BitsStored=bits,
            PhotometricInterpretation=photometric,
            **attributes_of(modality, voi, coding),
        )
        write_coded(dataset, coded, path)
        shown = read_dicom(path, intensity="display").pixels
        right = picture(1 - display if photometric == "MONOCHROME1" else display)
        np.testing.assert_allclose(shown, right, rtol=0, atol=0.001 / 255)
    image = read_dicom(path, intensity="modality")
    np.testing.assert_array_equal(image.pixels, picture(units.astype(np.float32)))
