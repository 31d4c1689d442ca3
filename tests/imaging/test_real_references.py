"""Every real file that is a picture, against what others make of it, file by file.

Stored values come from DCMTK, which unpacks every coding but JPEG 2000, or else from imagecodecs;
the modality values are then computed here from the header, and must be equal to the last bit of
float32. The display must be within one of 256 gray levels of the picture that DCMTK renders. What
has another reference is named in `EXCEPTIONS` with the reason, and the number of files is asserted:
none may fall out in silence.
"""

import csv
import functools
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import get_frame
from real_data import real_data_root

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.read import read_grayscale

UNPACK = {
    uid.JPEGBaseline8Bit: ("dcmdjpeg", "+cn"),  # +cn: colours stay as they are
    uid.JPEGExtended12Bit: ("dcmdjpeg", "+cn"),
    uid.JPEGLossless: ("dcmdjpeg", "+cn"),
    uid.JPEGLosslessSV1: ("dcmdjpeg", "+cn"),
    uid.JPEGLSLossless: ("dcmdjpls",),
    uid.JPEGLSNearLossless: ("dcmdjpls",),
    uid.RLELossless: ("dcmdrle",),
    "": ("dcmconv", "+te"),  # a data set without a word of its coding
    uid.ImplicitVRLittleEndian: ("dcmconv", "+te"),
    uid.ExplicitVRLittleEndian: ("dcmconv", "+te"),
    uid.ExplicitVRBigEndian: ("dcmconv", "+te"),
    uid.DeflatedExplicitVRLittleEndian: ("dcmconv", "+te"),
}
# DCMTK has no decoder for these.
IMAGECODECS = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2K)
EXCEPTIONS = {
    "pydicom__SC_rgb_jpeg.dcm": "DCMTK finds its stream cut short; pydicom unpacked it as a twin",
    "pydicom-data__JLSL_08_07_0_1F.dcm": "DCMTK refuses JPEG-LS of 7 bits; imagecodecs reads it",
    **dict.fromkeys(
        [f"rt-utils__{number}.dcm" for number in range(3)],
        "a slope of .001: DCMTK rounds the range of units to whole numbers before it shows it",
    ),
    **dict.fromkeys(
        [
            f"pydicom{name}_32bit{frames}.dcm"
            for name in ("__SC_rgb_rle", "-data__SC_rgb_expb", "-data__SC_rgb")
            for frames in ("", "_2frame")
        ],
        "DCMTK shows no 32-bit samples",
    ),
}
UNPACKED_TWIN = {"pydicom__SC_rgb_jpeg.dcm": "pydicom__SC_rgb_jpeg_dcmd.dcm"}
# The rows of the table that hold no picture, or one that is broken on purpose: `test_real_dicom`.
REFUSED = 24
COMPARED = 148


def real_files():
    root = real_data_root()
    if root is None:
        return [pytest.param({}, id="absent")]
    with (root / "data/dicom/attributes.csv").open(newline="") as lines:
        return [pytest.param(row, id=Path(row["file"]).name) for row in csv.DictReader(lines)]


@pytest.mark.parametrize("row", real_files())
def test_real_file_equals_its_reference(test_data, program, tmp_path, row):
    path = test_data / "data/dicom" / row["file"]
    if reason_of_refusal(path):
        return  # whether it may be refused is `test_real_dicom`'s; that none is lost, below
    display = read_grayscale(path, intensity="display")
    native = unpack(path, row["ts"], program, tmp_path)
    dataset = pydicom.dcmread(native)
    for frame in {0, int(row["frames"] or 1) - 1}:
        image = read_grayscale(path, frame, intensity="modality")
        right = units_by_hand(dataset, stored_by_hand(dataset, frame))
        np.testing.assert_array_equal(image.pixels, right.astype(np.float32))
    shown = np.rint(display.pixels * 255)
    theirs = np.rint(rendered_elsewhere(native, dataset, path.name, program, tmp_path))
    difference = np.abs(shown - theirs)
    if display.padding is not None:
        difference = difference[~display.padding]
    assert difference.max() <= 1
    assert np.ptp(shown) > 0


def test_every_real_picture_is_compared(test_data):
    files = [test_data / "data/dicom" / parameter.values[0]["file"] for parameter in real_files()]
    refused = {path.name: reason_of_refusal(path) for path in files if reason_of_refusal(path)}
    assert (len(refused), len(files) - len(refused)) == (REFUSED, COMPARED)
    assert {*EXCEPTIONS} < {path.name for path in files} - {*refused}
    assert RejectReason.NO_DECODER not in refused.values()


@functools.cache
def reason_of_refusal(path):
    try:
        read_grayscale(path)
    except UnreadableImageError as error:
        return error.reason
    return None


def unpack(path, syntax, program, folder):
    """The file without compression, little endian."""
    if path.name in UNPACKED_TWIN:
        return path.with_name(UNPACKED_TWIN[path.name])
    native = folder / "native.dcm"
    if syntax in IMAGECODECS or (path.name in EXCEPTIONS and syntax == uid.JPEGLSLossless):
        decode_with_imagecodecs(path, syntax, native)
        return native
    name, *options = UNPACK[syntax]
    command = [program(name), *options, str(path), str(native)]
    subprocess.run(command, check=True, capture_output=True)
    return native


def decode_with_imagecodecs(path, syntax, native):
    import imagecodecs

    decode = {
        uid.JPEGLSLossless: imagecodecs.jpegls_decode,
        uid.HTJ2KLossless: imagecodecs.htj2k_decode,
    }.get(syntax, imagecodecs.jpeg2k_decode)  # its OpenJPH lets a lossy 256 become 0
    dataset = pydicom.dcmread(path)
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    decoded = [
        decode(get_frame(dataset.PixelData, n, number_of_frames=frames)) for n in range(frames)
    ]
    samples = np.stack(decoded).astype(f"<u{dataset.BitsAllocated // 8}")
    dataset.PixelData = samples.tobytes() + b"\0" * (samples.nbytes % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    if dataset.SamplesPerPixel == 3:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.save_as(native, implicit_vr=False, little_endian=True)


def stored_by_hand(dataset, frame):
    """(H, W) or (H, W, 3), from the bytes: unused bits away, the sign extended."""
    rows, columns, samples = dataset.Rows, dataset.Columns, dataset.SamplesPerPixel
    count = rows * columns * samples
    words = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}").astype(np.int64)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        y1, y2, blue, red = words[: rows * columns * 2].reshape(-1, 4).T
        pairs = np.stack([np.stack([y, blue, red], -1) for y in (y1, y2)], 1)
        return pairs.reshape(rows, columns, 3)
    words = words[frame * count : (frame + 1) * count]
    if samples == 3:
        if dataset.PlanarConfiguration:
            return np.moveaxis(words.reshape(3, rows, columns), 0, -1)
        return words.reshape(rows, columns, 3)
    bits = dataset.BitsStored
    words = words >> (dataset.HighBit + 1 - bits) & (2**bits - 1)
    if dataset.PixelRepresentation:
        words = np.where(words >= 2 ** (bits - 1), words - 2**bits, words)
    return words.reshape(rows, columns)


def units_by_hand(dataset, stored):
    """Modality units, or the luma of a colour by Pillow's weights."""
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        stored = palette_by_hand(dataset, stored)
    elif photometric.startswith("YBR_FULL"):
        stored = ybr_by_hand(stored)
    if stored.ndim == 3:
        red, green, blue = np.moveaxis(stored, -1, 0)
        return (19595 * red + 38470 * green + 7471 * blue) / 65536
    if "ModalityLUTSequence" in dataset:
        item = dataset.ModalityLUTSequence[0]
        count, first, _ = item.LUTDescriptor
        return np.asarray(item.LUTData)[np.clip(stored - first, 0, count - 1)]
    slope, intercept = (dataset.get(f"Rescale{name}") for name in ("Slope", "Intercept"))
    return stored * float(slope or 1) + float(intercept or 0)


def palette_by_hand(dataset, stored):
    channels = []
    for color in ("Red", "Green", "Blue"):
        count, first, bits = dataset[f"{color}PaletteColorLookupTableDescriptor"].value
        data = dataset[f"{color}PaletteColorLookupTableData"].value
        table = np.frombuffer(data, "<u2" if bits == 16 else "u1").astype(int)
        channels.append(table[np.clip(stored - first, 0, (count or 65536) - 1)])
    return np.stack(channels, -1)


def ybr_by_hand(ybr):
    """PS3.3 C.7.6.3.1.2, rounded to whole colours."""
    y, blue, red = np.moveaxis(ybr.astype(float), -1, 0)
    blue, red = blue - 128, red - 128
    rgb = [y + 1.402 * red, y - 0.114 * 1.772 / 0.587 * blue - 0.299 * 1.402 / 0.587 * red]
    rgb.append(y + 1.772 * blue)
    return np.clip(np.floor(np.stack(rgb, -1) + 0.5), 0, 255)


def rendered_elsewhere(native, dataset, name, program, folder):
    """(H, W) gray levels 0 to 255: DCMTK's, or by hand where DCMTK has none."""
    if name.startswith("rt-utils__") and name in EXCEPTIONS:
        slope = float(dataset.RescaleSlope)
        low, high = -32768 * slope, 32767 * slope
        return 255 * (units_by_hand(dataset, stored_by_hand(dataset, 0)) - low) / (high - low)
    if dataset.BitsAllocated == 32:
        return 255 * units_by_hand(dataset, stored_by_hand(dataset, 0)) / (2**32 - 1)
    option = ["+Wl", "1"] if "VOILUTSequence" in dataset else []
    option = option or (["+Wi", "1"] if dataset.get("WindowWidth") else [])
    command = [program("dcm2pnm"), "-O", *option, "--write-raw-pnm", native, folder / "a.pnm"]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(folder / "a.pnm") as picture:
        gray = np.asarray(picture, float)
    return gray @ np.array([0.299, 0.587, 0.114]) if gray.ndim == 3 else gray


@pytest.fixture(autouse=True)
def _no_warnings_of_pydicom():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
