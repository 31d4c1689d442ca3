"""Palettes and colours to gray, against the standard's formulas written out once more.

Luma is ITU-R BT.601's, .299 R + .587 G + .114 B. Lossless colours are compared at a hundredth of an
8-bit step, what is rounded or lossy on the way at one step and what the codec may do.
"""

import io
import itertools
import struct
import subprocess

import numpy as np
import pytest
from golden_codings import (
    BY_IMAGECODECS,
    BY_PYDICOM,
    HAS_IMAGECODECS,
    LOSSLESS,
    NATIVE,
    CodedPixels,
    code_pixels,
    write_coded,
)
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom import read_dicom

SIDE, FRAMES, STEP = 32, 2, 1 / 255


def luma(red, green, blue):
    return 0.299 * red + 0.587 * green + 0.114 * blue


# Palettes (PS3.3 C.7.6.3.1.5 and C.7.9.2).


def palette_entries(count, bits, channel):
    top = 2**bits - 1
    return [(k * k * (3 + channel) + 97 * k * (channel + 1)) % (top + 1) for k in range(count)]


def segmented(entries, bits=16):
    """The entries as a discrete segment, a linear one, then an indirect one to the second alone,
    another line, and one to the first two (PS3.3 C.7.9.2).

    Returns:
        The words, and the entries that they make.
    """
    top = 2**bits - 1

    def line(start, end):
        return [round(start + (end - start) * (k + 1) / 5) for k in range(5)]

    def indirect(count, word):
        offset = word * (bits // 8)
        low_high = [offset & 0xFFFF, offset >> 16]
        return [2, count, *(low_high if bits == 16 else offset.to_bytes(4, "little"))]

    second = 2 + len(entries)
    words = [0, len(entries), *entries, 1, 5, top, 1, 5, 3, *indirect(1, second), *indirect(2, 0)]
    made = [*entries, *line(entries[-1], top), *line(top, 3), *line(3, top)]
    return words, [*made, *entries, *line(entries[-1], top)]


def palette_attributes(first, tables, bits, *, segments=None, big=False):
    order = ">" if big else "<"
    for channel, color in enumerate(("Red", "Green", "Blue")):
        entries = tables[channel]
        signed = first < 0
        descriptor = [len(entries) % 65536, first, bits]
        yield f"{color}PaletteColorLookupTableDescriptor", "SS" if signed else "US", descriptor
        words = segments[channel] if segments else entries
        if bits == 8:
            data = bytes(words)
            data = data + b"\0" * (len(data) % 2)
            if big:  # bytes in words, the first in the low byte
                data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
        else:
            data = struct.pack(f"{order}{len(words)}H", *words)
        keyword = f"{color}PaletteColorLookupTableData"
        yield (f"Segmented{keyword}" if segments else keyword), "OW", data


def indices(bits, count, first, signed):
    """(FRAMES, SIDE, SIDE): inside the palette, below its first and beyond its last."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    rng = np.random.default_rng(count)
    values = rng.integers(max(low, first - 3), min(high, first + count + 3), (FRAMES, SIDE, SIDE))
    values[0, 0, :3] = low, high, max(low, min(first, high))
    return values.astype(("i" if signed else "u") + ("1" if bits == 8 else "2"))


@pytest.mark.parametrize("coding", LOSSLESS)
@pytest.mark.parametrize(
    ("bits", "count", "first", "entry_bits", "signed"),
    [
        (8, 256, 0, 16, False),
        (8, 256, 0, 8, False),
        (8, 100, 50, 16, False),
        (8, 7, 3, 8, False),
        (16, 1000, 500, 16, False),
        (16, 65536, 0, 16, False),
        (12, 4096, 0, 8, False),
        (8, 90, -40, 16, True),
    ],
)
def test_palette_is_the_luma_of_the_colour_that_it_maps_to(
    dicom_dataset, tmp_path, coding, bits, count, first, entry_bits, signed
):
    tables = [palette_entries(count, entry_bits, channel) for channel in range(3)]
    stored = indices(bits, count, first, signed)
    dataset = dicom_dataset(stored, BitsStored=bits, PhotometricInterpretation="PALETTE COLOR")
    big = coding == "big-endian"
    for keyword, vr, value in palette_attributes(first, tables, entry_bits, big=big):
        dataset.add_new(keyword, vr, value)
    write_coded(dataset, code_pixels(coding, stored, bits), tmp_path / "a.dcm")
    place = np.clip(stored.astype(int) - first, 0, count - 1)
    channels = [np.array(table)[place] / (2**entry_bits - 1) for table in tables]
    for frame in range(FRAMES):
        image = read_dicom(tmp_path / "a.dcm", frame)
        right = luma(*channels)[frame]
        np.testing.assert_allclose(image.pixels, right, rtol=0, atol=STEP / 100)
        assert image.record.photometric_interpretation == "PALETTE COLOR"


@pytest.mark.parametrize("coding", ["explicit", "implicit", "big-endian", "rle", "jpeg-ls"])
@pytest.mark.parametrize("first", [0, 40])
def test_segmented_palette_is_unfolded(dicom_dataset, tmp_path, coding, first):
    made = [segmented(palette_entries(20, 16, channel)) for channel in range(3)]
    tables = [entries for _, entries in made]
    stored = indices(8, len(tables[0]), first, False)
    dataset = dicom_dataset(stored, PhotometricInterpretation="PALETTE COLOR")
    big = coding == "big-endian"
    attributes = palette_attributes(
        first, tables, 16, segments=[words for words, _ in made], big=big
    )
    for keyword, vr, value in attributes:
        dataset.add_new(keyword, vr, value)
    write_coded(dataset, code_pixels(coding, stored, 8), tmp_path / "a.dcm")
    place = np.clip(stored.astype(int) - first, 0, len(tables[0]) - 1)
    channels = [np.array(table)[place] / 65535 for table in tables]
    for frame in range(FRAMES):
        image = read_dicom(tmp_path / "a.dcm", frame)
        np.testing.assert_allclose(image.pixels, luma(*channels)[frame], rtol=0, atol=STEP / 100)


# Colours (PS3.3 C.7.6.3.1.2).


def colours(bits=8):
    """(FRAMES, SIDE, SIDE, 3): corners of the cube, then waves of each colour."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = [
        [np.sin((3 + channel) * x + frame) * np.cos((2 - channel) * y) for channel in range(3)]
        for frame in range(FRAMES)
    ]
    rgb = np.rint((np.moveaxis(waves, 1, -1) * 0.5 + 0.5) * (2**bits - 1))
    for at, corner in enumerate(itertools.product((0, 2**bits - 1), repeat=3)):
        rgb[:, :4, 4 * at : 4 * at + 4] = corner
    return np.ascontiguousarray(rgb, "u1" if bits == 8 else "u2")


def to_ybr(rgb):
    """C.7.6.3.1.2, YBR_FULL, rounded."""
    red, green, blue = np.moveaxis(rgb.astype(float), -1, 0)
    y = luma(red, green, blue)
    cb = -0.1687 * red - 0.3313 * green + 0.5 * blue + 128
    cr = 0.5 * red - 0.4187 * green - 0.0813 * blue + 128
    return np.clip(np.rint(np.stack([y, cb, cr], -1)), 0, 255).astype(np.uint8)


def colour_dataset(make, photometric, planar=0, bits=8):
    frames = colours(bits)
    dataset = make(np.zeros((SIDE, SIDE, 3), frames.dtype), PhotometricInterpretation="RGB")
    dataset.PhotometricInterpretation, dataset.NumberOfFrames = photometric, FRAMES
    dataset.PlanarConfiguration = planar
    return dataset, frames


def planes(frames, planar):
    return np.moveaxis(frames, -1, 1) if planar else frames


def check_gray(path, rgb, top, tolerance):
    red, green, blue = np.moveaxis(rgb.astype(float), -1, 0) / top
    for frame in range(FRAMES):
        image = read_dicom(path, frame)
        assert image.record.intensity == "display"
        assert image.record.photometric_interpretation != "MONOCHROME2"
        right = luma(red, green, blue)[frame]
        np.testing.assert_allclose(image.pixels, right, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("coding", NATIVE)
def test_rgb_becomes_its_luma_by_pixel_or_by_plane(dicom_dataset, tmp_path, coding, planar, bits):
    dataset, rgb = colour_dataset(dicom_dataset, "RGB", planar, bits)
    write_coded(dataset, code_pixels(coding, planes(rgb, planar), bits), tmp_path / "a.dcm")
    check_gray(tmp_path / "a.dcm", rgb, 2**bits - 1, STEP / 100)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("coding", NATIVE)
def test_ybr_full_becomes_the_luma_of_its_colours(dicom_dataset, tmp_path, coding, planar):
    dataset, rgb = colour_dataset(dicom_dataset, "YBR_FULL", planar)
    ybr = planes(to_ybr(rgb), planar)
    write_coded(dataset, code_pixels(coding, ybr, 8), tmp_path / "a.dcm")
    check_gray(tmp_path / "a.dcm", rgb, 255, 1.5 * STEP)  # rounded to YBR and back


@pytest.mark.parametrize("coding", ["explicit", "implicit", "deflated", "big-endian"])
def test_ybr_full_422_shares_colours_between_two_pixels(dicom_dataset, tmp_path, coding):
    dataset, rgb = colour_dataset(dicom_dataset, "YBR_FULL_422")
    rgb[:, :, 1::2] = rgb[:, :, ::2]  # pairs of equal pixels lose nothing
    y, cb, cr = np.moveaxis(to_ybr(rgb), -1, 0)
    packed = np.stack([y[..., ::2], y[..., 1::2], cb[..., ::2], cr[..., ::2]], -1)
    write_coded(dataset, code_pixels(coding, packed, 8), tmp_path / "a.dcm")
    check_gray(tmp_path / "a.dcm", rgb, 255, 1.5 * STEP)


def compress(dataset, frames, coding, photometric):
    """Colour frames by pydicom's encoders."""
    syntax, plugin = BY_PYDICOM[coding]
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.PhotometricInterpretation = photometric
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)


@pytest.mark.parametrize(
    ("coding", "photometric", "tolerance"),
    [
        ("rle", "RGB", STEP / 100),
        ("rle", "YBR_FULL", 1.5 * STEP),
        ("jpeg-ls", "RGB", STEP / 100),
        ("jpeg-2000", "RGB", STEP / 100),
        ("jpeg-2000", "YBR_RCT", STEP / 100),
    ],
)
def test_compressed_colours_become_their_luma(
    dicom_dataset, tmp_path, coding, photometric, tolerance
):
    dataset, rgb = colour_dataset(dicom_dataset, photometric)
    stored = to_ybr(rgb) if photometric == "YBR_FULL" else rgb
    asked = "RGB" if photometric == "YBR_RCT" else photometric
    compress(dataset, stored, coding, asked)
    if photometric == "YBR_RCT":  # the transform is the codestream's own; pydicom may say so
        dataset.PhotometricInterpretation = photometric
    dataset.save_as(tmp_path / "a.dcm")
    check_gray(tmp_path / "a.dcm", rgb, 255, tolerance)


def encapsulated(dataset, streams, syntax, path):
    write_coded(dataset, CodedPixels(syntax, encapsulate(streams)), path)


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_jpeg_colours_are_converted_once(dicom_dataset, tmp_path, photometric):
    dataset, rgb = colour_dataset(dicom_dataset, photometric)
    subsampling = 1 if photometric == "YBR_FULL_422" else 0
    streams = []
    for frame in rgb:
        file = io.BytesIO()
        options = {"keep_rgb": True} if photometric == "RGB" else {}
        Image.fromarray(frame).save(file, "JPEG", quality=100, subsampling=subsampling, **options)
        streams.append(file.getvalue())
    encapsulated(dataset, streams, uid.JPEGBaseline8Bit, tmp_path / "a.dcm")
    for frame, stream in enumerate(streams):
        with Image.open(io.BytesIO(stream)) as picture:
            red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), float), -1, 0)
        image = read_dicom(tmp_path / "a.dcm", frame)
        right = luma(red, green, blue) / 255
        np.testing.assert_allclose(image.pixels, right, rtol=0, atol=STEP)
        assert np.abs(image.pixels - luma(*np.moveaxis(rgb[frame] / 255, -1, 0))).mean() < STEP


@pytest.mark.parametrize("coding", BY_IMAGECODECS if HAS_IMAGECODECS else ())
def test_colours_by_imagecodecs_become_their_luma(dicom_dataset, tmp_path, coding):
    import imagecodecs

    syntax = BY_IMAGECODECS[coding]
    jpeg = coding.startswith("jpeg")
    dataset, rgb = colour_dataset(dicom_dataset, "RGB" if jpeg else "YBR_RCT")
    streams = [
        imagecodecs.jpeg8_encode(frame, lossless=True, colorspace="RGB", outcolorspace="RGB")
        if jpeg
        else imagecodecs.htj2k_encode(frame, reversible=True, rgb=True)
        for frame in rgb
    ]
    encapsulated(dataset, streams, syntax, tmp_path / "a.dcm")
    check_gray(tmp_path / "a.dcm", rgb, 255, STEP / 100)


def test_irreversible_colours_are_within_the_codecs_loss(dicom_dataset, tmp_path):
    dataset, rgb = colour_dataset(dicom_dataset, "RGB")
    dataset.PixelData = rgb.tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.compress(
        uid.JPEG2000, encoding_plugin="pylibjpeg", generate_instance_uid=False, j2k_psnr=[80]
    )
    dataset.PhotometricInterpretation = "YBR_ICT"
    dataset.save_as(tmp_path / "a.dcm")
    check_gray(tmp_path / "a.dcm", rgb, 255, 4 * STEP)


@pytest.mark.parametrize(
    "photometric", ["CMYK", "HSV", "ARGB", "YBR_PARTIAL_420", "YBR_PARTIAL_422"]
)
def test_colours_of_no_open_formula_are_refused(dicom_dataset, tmp_path, photometric):
    dataset, rgb = colour_dataset(dicom_dataset, photometric)
    write_coded(dataset, code_pixels("explicit", rgb, 8), tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match="is not one of MONOCHROME1") as caught:
        read_dicom(tmp_path / "a.dcm")
    assert caught.value.reason is RejectReason.UNSUPPORTED_PHOTOMETRIC


@pytest.mark.parametrize("entry_bits", [8, 16])
@pytest.mark.parametrize("folded", [False, True])
def test_palette_survives_dcmtks_change_of_byte_order(
    dicom_dataset, tmp_path, program, entry_bits, folded
):
    made = [segmented(palette_entries(20, entry_bits, channel), entry_bits) for channel in range(3)]
    tables = [entries for _, entries in made]
    segments = [words for words, _ in made] if folded else None
    stored = indices(8, len(tables[0]), 0, False)
    dataset = dicom_dataset(stored, PhotometricInterpretation="PALETTE COLOR")
    for keyword, vr, value in palette_attributes(0, tables, entry_bits, segments=segments):
        dataset.add_new(keyword, vr, value)
    write_coded(dataset, code_pixels("explicit", stored, 8), tmp_path / "little.dcm")
    command = [program("dcmconv"), "+tb", tmp_path / "little.dcm", tmp_path / "big.dcm"]
    subprocess.run(command, check=True, capture_output=True)
    little, big = (read_dicom(tmp_path / f"{name}.dcm") for name in ("little", "big"))
    place = np.clip(stored[0].astype(int), 0, len(tables[0]) - 1)
    channels = [np.array(table)[place] / (2**entry_bits - 1) for table in tables]
    np.testing.assert_allclose(little.pixels, luma(*channels), rtol=0, atol=STEP / 100)
    np.testing.assert_array_equal(big.pixels, little.pixels)
    assert big.record.transfer_syntax_uid == uid.ExplicitVRBigEndian


@pytest.mark.parametrize(
    "words",
    [
        [],
        [0],
        [0, 20, 1, 2],
        [1, 10, 5],
        [3, 1, 1],
        [0, 1, 7, 2, 1, 99, 0],
        [0, 1, 7, 2, 9, 0, 0],
        [0, 2, 7, 7],
    ],
)
def test_segments_that_make_no_palette_are_refused(dicom_dataset, tmp_path, words):
    stored = np.zeros((2, 2), np.uint8)
    dataset = dicom_dataset(stored, PhotometricInterpretation="PALETTE COLOR")
    attributes = palette_attributes(0, [[0] * 9] * 3, 16, segments=[words] * 3)
    for keyword, vr, value in attributes:
        dataset.add_new(keyword, vr, value)
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match="the palette is absent or contradicts itself"):
        read_dicom(tmp_path / "a.dcm")


def test_channels_of_different_length_are_refused(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.zeros((2, 2), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for keyword, vr, value in palette_attributes(0, [[0] * 9, [0] * 9, [0] * 8], 16):
        dataset.add_new(keyword, vr, value)
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match="the palette is absent or contradicts itself"):
        read_dicom(tmp_path / "a.dcm")


def test_photometric_interpretation_that_is_absent_is_a_broken_header(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.zeros((2, 2), np.uint8), PhotometricInterpretation="")
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match="is absent; an image needs it") as caught:
        read_dicom(tmp_path / "a.dcm")
    assert caught.value.reason is RejectReason.INVALID_HEADER
