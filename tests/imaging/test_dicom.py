import logging
import traceback
import warnings

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from medres.errors import RejectReason, UnreadableImageError
from medres.imaging.dicom import read_dicom, read_dicom_record
from medres.imaging.dicom_header import Header


def lut_item(first: int, entries: list[int], bits: int, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [len(entries), first, bits])
    item.add_new("LUTData", "OW", np.array(entries, "<u2").tobytes())
    return item


CR = "1.2.840.10008.5.1.4.1.1.1"
U1, I1, U2, I2 = np.uint8, np.int8, np.uint16, np.int16

# Stored values, attributes and display in MONOCHROME2; MONOCHROME1 is 1 minus it. By hand.
GOLDEN = {
    "unsigned 8 bit, no VOI": ([0, 128, 255], U1, {}, [0, 128 / 255, 1]),
    "signed 8 bit, no VOI": ([-128, 0, 127], I1, {}, [0, 128 / 255, 1]),
    "unsigned 12 bit, no VOI": ([0, 1000, 4095], U2, {"BitsStored": 12}, [0, 1000 / 4095, 1]),
    "signed 12 bit, no VOI": ([-2048, -1, 2047], I2, {"BitsStored": 12}, [0, 2047 / 4095, 1]),
    "unsigned 16 bit, no VOI": ([0, 1, 65535], U2, {}, [0, 1 / 65535, 1]),
    "signed 16 bit, no VOI": ([-32768, 0, 32767], I2, {}, [0, 32768 / 65535, 1]),
    "unsigned 8 bit, window": (
        [0, 128, 255],
        U1,
        {"WindowCenter": 128, "WindowWidth": 256},
        [0, 128 / 255, 1],
    ),
    "unsigned 12 bit, window": (
        [0, 1023, 2048, 4095],
        U2,
        {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096},
        [0, 1023 / 4095, 2048 / 4095, 1],
    ),
    "unsigned 12 bit, narrow window": (
        [899, 900, 1000, 1099, 1100],
        U2,
        {"BitsStored": 12, "WindowCenter": 1000, "WindowWidth": 200},
        [0, 0, 100 / 199, 1, 1],
    ),
    "unsigned 12 bit, exact window": (
        [900, 1000, 1100],
        U2,
        {"WindowCenter": 1000, "WindowWidth": 200, "VOILUTFunction": "LINEAR_EXACT"},
        [0, 0.5, 1],
    ),
    "unsigned 16 bit, sigmoid": (
        [64, 112, 128, 192],
        U2,
        {"WindowCenter": 128, "WindowWidth": 64, "VOILUTFunction": "SIGMOID"},
        [0.0179862, 0.2689414, 0.5, 0.9820138],
    ),
    "signed 16 bit, window in HU": (
        [863, 864, 1064, 1263],
        I2,
        {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400},
        [0, 0, 200 / 399, 1],
    ),
    "signed 12 bit, negative window": (
        [-600, -500, -401],
        I2,
        {"BitsStored": 12, "WindowCenter": -500, "WindowWidth": 200},
        [0, 100 / 199, 1],
    ),
    "unsigned 12 bit, fractional rescale": (
        [0, 2047, 4095],
        U2,
        {"BitsStored": 12, "RescaleSlope": 0.684, "RescaleIntercept": 200}
        | {"WindowCenter": 1600, "WindowWidth": 2800},
        [0, 1400.148 / 2799, 1],
    ),
    "negative slope, no VOI": (
        [0, 55, 255],
        U1,
        {"RescaleSlope": -1, "RescaleIntercept": 255},
        [1, 200 / 255, 0],
    ),
    "first of two windows": (
        [100, 200],
        U1,
        {"WindowCenter": [100.5, 200.5], "WindowWidth": [2, 2]},
        [0.5, 1],
    ),
    "modality LUT, no VOI": (
        [0, 10, 11, 12, 200],
        U1,
        {"ModalityLUTSequence": [lut_item(10, [0, 100, 1000], 10)]},
        [0, 0, 100 / 1023, 1000 / 1023, 1000 / 1023],
    ),
    "modality LUT and window": (
        [10, 11],
        U1,
        {"ModalityLUTSequence": [lut_item(10, [0, 100], 10)]}
        | {"WindowCenter": 100, "WindowWidth": 201},
        [0.5 / 200, 100.5 / 200],
    ),
    "modality LUT of signed values": (
        [-3, -2, -1, 5],
        I2,
        {"ModalityLUTSequence": [lut_item(-2, [1, 2, 4], 3, "SS")]},
        [1 / 7, 1 / 7, 2 / 7, 4 / 7],
    ),
    "modality LUT of signed values, written unsigned": (
        [-3, -2, -1, 5],
        I2,
        {"ModalityLUTSequence": [lut_item(65534, [1, 2, 4], 3, "US")]},
        [1 / 7, 1 / 7, 2 / 7, 4 / 7],
    ),
    "VOI LUT": (
        [0, 2, 3, 4, 9],
        U1,
        {"VOILUTSequence": [lut_item(2, [0, 128, 255], 8)]},
        [0, 0, 128 / 255, 1, 1],
    ),
    "VOI LUT after rescale to negatives, written unsigned": (
        [0, 9, 10, 11],
        U1,
        {"RescaleSlope": 1, "RescaleIntercept": -20}
        | {"VOILUTSequence": [lut_item(65526, [0, 512, 1023], 10)]},
        [0, 0, 0, 512 / 1023],
    ),
    "VOI LUT beside a window": (
        [0, 1],
        U1,
        {"VOILUTSequence": [lut_item(0, [255, 0], 8)], "WindowCenter": 1, "WindowWidth": 9},
        [1, 0],
    ),
    "VOI LUT with entries wider than it says": (
        [0, 1],
        U1,
        {"VOILUTSequence": [lut_item(0, [0, 1023], 8)]},
        [0, 1],
    ),
    "window of no width": ([0, 51], U1, {"WindowCenter": 10, "WindowWidth": 0}, [0, 0.2]),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("name", GOLDEN)
def test_display_gives_hand_worked_values(write_dicom, name, photometric):
    stored, dtype, attributes, expected = GOLDEN[name]
    path = write_dicom(
        np.array([stored], dtype), PhotometricInterpretation=photometric, **attributes
    )
    image = read_dicom(path)
    if photometric == "MONOCHROME1":
        expected = 1 - np.array(expected)
    np.testing.assert_allclose(image.pixels[0], expected, rtol=0, atol=1e-7)
    assert image.pixels.dtype == np.float32
    assert image.record.inverted == (photometric == "MONOCHROME1")
    assert read_dicom_record(path) == image.record


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_lut_data_is_read_in_the_byte_order_of_the_file(dicom_dataset, tmp_path, syntax):
    little = syntax.is_little_endian
    dataset = dicom_dataset(
        np.array([[0, 1, 2]], U1), VOILUTSequence=[lut_item(0, [0, 256, 1023], 10)]
    )
    if not little:
        item = dataset.VOILUTSequence[0]
        item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=syntax.is_implicit_VR, little_endian=little)
    shown = read_dicom(tmp_path / "a.dcm").pixels[0]
    np.testing.assert_allclose(shown, [0, 256 / 1023, 1], atol=1e-7)


def test_lut_of_single_bytes_is_read(write_dicom):
    item = lut_item(0, [0, 0], 8)
    item.LUTData = bytes([10, 255])
    path = write_dicom(np.array([[0, 1]], U1), VOILUTSequence=[item])
    np.testing.assert_allclose(read_dicom(path).pixels[0], [10 / 255, 1], atol=1e-7)


def test_record_says_in_words_what_became_the_display_range(write_dicom):
    pixels = np.array([[0, 1]], U1)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert read_dicom(write_dicom(pixels, **window)).record.voi == "window 2048/4096 LINEAR"
    table = {"VOILUTSequence": [lut_item(0, [0, 1], 8)]}
    assert read_dicom(write_dicom(pixels, **table)).record.voi == "VOI LUT"
    no_width = write_dicom(pixels, WindowCenter=10, WindowWidth=0)
    for path in (write_dicom(pixels), no_width):
        assert read_dicom(path).record.voi == "full range 0..255: the file has no usable VOI"


def test_voi_index_chooses_among_windows(write_dicom):
    path = write_dicom(np.array([[100, 200]], U1), WindowCenter=[100.5, 200.5], WindowWidth=[2, 2])
    assert read_dicom(path, voi_index=1).pixels.tolist() == [[0, 0.5]]
    with pytest.raises(UnreadableImageError, match=r"voi_index 2 asked for, but the file has 2"):
        read_dicom(path, voi_index=2)
    with pytest.raises(UnreadableImageError, match=r"voi_index 1 asked for, but the file has 0"):
        read_dicom(write_dicom(np.array([[1]], U1)), voi_index=1)


def test_presentation_lut_shape_inverse_and_monochrome1_are_one_inversion(write_dicom):
    pixels = np.array([[0, 51]], U1)
    both = write_dicom(
        pixels, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
    )
    shape_alone = write_dicom(pixels, PresentationLUTShape="INVERSE")
    identity = write_dicom(pixels, PresentationLUTShape="IDENTITY")
    np.testing.assert_allclose(read_dicom(both).pixels, [[1, 0.8]], atol=1e-7)
    np.testing.assert_allclose(read_dicom(shape_alone).pixels, [[1, 0.8]], atol=1e-7)
    np.testing.assert_allclose(read_dicom(identity).pixels, [[0, 0.2]], atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "stored", "attributes", "mask"),
    [
        (U1, [0, 10, 255], {"PixelPaddingValue": 0}, [1, 0, 0]),
        (U2, [0, 10, 255], {"PixelPaddingValue": 5, "PixelPaddingRangeLimit": 20}, [0, 1, 0]),
        (U2, [0, 10, 255], {"PixelPaddingValue": 20, "PixelPaddingRangeLimit": 5}, [0, 1, 0]),
        (I2, [-2000, 0, 5], {"PixelPaddingValue": -2000}, [1, 0, 0]),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_masked_and_black(write_dicom, dtype, stored, attributes, mask, photometric):
    path = write_dicom(
        np.array([stored], dtype), PhotometricInterpretation=photometric, **attributes
    )
    image = read_dicom(path)
    assert image.padding.tolist() == [[bool(value) for value in mask]]
    assert (image.pixels[image.padding] == 0).all()


def test_padding_written_with_the_wrong_sign_is_found(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.array([[-2000, 0]], I2))
    dataset.add_new("PixelPaddingValue", "US", 63536)
    dataset.save_as(tmp_path / "a.dcm")
    assert read_dicom(tmp_path / "a.dcm").padding.tolist() == [[True, False]]


def test_dirt_in_the_unused_bits_is_ignored(write_dicom):
    unsigned = write_dicom(np.array([[0xF123, 0x0123]], U2), BitsStored=12)
    assert read_dicom(unsigned, intensity="modality").pixels.tolist() == [[0x123, 0x123]]
    signed = write_dicom(np.array([[0x0FFF, 0x7001]], I2), BitsStored=12)
    assert read_dicom(signed, intensity="modality").pixels.tolist() == [[-1, 1]]


def test_stored_bits_are_found_below_a_high_bit_further_up(write_dicom):
    path = write_dicom(np.array([[0x123F, 0xFFF0]], U2), BitsStored=12, HighBit=15)
    assert read_dicom(path, intensity="modality").pixels.tolist() == [[0x123, 0xFFF]]


def test_signed_values_survive_lossless_compression(dicom_dataset, tmp_path):
    stored = np.arange(-2048, 2048, dtype=I2).reshape(64, 64)
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset = dicom_dataset(stored, BitsStored=12)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(tmp_path / "a.dcm")
        image = read_dicom(tmp_path / "a.dcm", intensity="modality")
        np.testing.assert_array_equal(image.pixels, stored)
        assert image.record.transfer_syntax_uid == syntax


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_encoding_of_a_data_set_gives_the_same_pixels(dicom_dataset, tmp_path, syntax):
    dataset = dicom_dataset(np.array([[-300, 4000]], I2))
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.array([[-300, 4000]], ">i2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(
        tmp_path / "a.dcm",
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
    )
    path = tmp_path / "a.dcm"
    assert read_dicom(path, intensity="modality").pixels.tolist() == [[-300, 4000]]
    assert read_dicom_record(path).rows == 1


def test_file_without_transfer_syntax_is_read_as_it_was_found_to_be(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.array([[1, 2]], U2))
    del dataset.file_meta.TransferSyntaxUID
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    image = read_dicom(tmp_path / "a.dcm", intensity="modality")
    assert image.pixels.tolist() == [[1, 2]]
    assert image.record.transfer_syntax_uid == ""


@pytest.mark.parametrize(
    ("modality", "sop_class", "expected"),
    [
        ("CT", "1.2.840.10008.5.1.4.1.1.2", "modality"),
        ("MR", "1.2.840.10008.5.1.4.1.1.4", "modality"),
        ("PT", "1.2.840.10008.5.1.4.1.1.128", "modality"),
        ("CR", "1.2.840.10008.5.1.4.1.1.1", "display"),
        ("DX", "1.2.840.10008.5.1.4.1.1.1.1", "display"),
        ("MG", "1.2.840.10008.5.1.4.1.1.1.2", "display"),
        ("XA", "1.2.840.10008.5.1.4.1.1.12.1", "display"),
        ("US", "1.2.840.10008.5.1.4.1.1.6.1", "display"),
        ("OT", "1.2.840.10008.5.1.4.1.1.7", "display"),
        ("CT", "1.2.840.10008.5.1.4.1.1.7", "display"),
    ],
)
def test_auto_intensity_follows_modality_and_sop_class(write_dicom, modality, sop_class, expected):
    path = write_dicom(np.array([[1]], U1), Modality=modality, SOPClassUID=sop_class)
    assert read_dicom(path).record.intensity == expected


def test_modality_intensity_is_in_units_and_not_inverted(write_dicom):
    path = write_dicom(
        np.array([[0, 1024]], I2),
        PhotometricInterpretation="MONOCHROME1",
        Modality="CT",
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=40,
        WindowWidth=400,
    )
    image = read_dicom(path)
    assert image.pixels.tolist() == [[-1024, 0]]
    assert image.record.voi == "none: modality units"
    assert not image.record.inverted


def test_rescale_back_to_x_ray_intensity_is_not_for_display(write_dicom):
    attributes = {"RescaleSlope": 2, "RescaleIntercept": 7, "WindowCenter": 128} | {
        "WindowWidth": 256,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1",
    }
    for relationship, expected in (("LOG", 51 / 255), ("DISP", 51 / 255), ("LIN", 109 / 255)):
        path = write_dicom(
            np.array([[51]], U1), PixelIntensityRelationship=relationship, **attributes
        )
        assert read_dicom(path).pixels[0, 0] == pytest.approx(expected, abs=1e-7)


def functional_group(**macros):
    item = Dataset()
    for keyword, attributes in macros.items():
        macro = Dataset()
        for name, value in attributes.items():
            setattr(macro, name, value)
        setattr(item, keyword, [macro])
    return item


def test_functional_groups_apply_per_frame_then_shared(write_dicom):
    shared = functional_group(
        PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": 0},
        PixelMeasuresSequence={"PixelSpacing": [0.5, 0.25]},
    )
    first = functional_group(FrameVOILUTSequence={"WindowCenter": 100.5, "WindowWidth": 201})
    second = functional_group(
        FrameVOILUTSequence={"WindowCenter": 20.5, "WindowWidth": 41},
        PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": 10},
    )
    path = write_dicom(
        np.array([[[50, 60]], [[10, 20]]], U2),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[first, second],
    )
    np.testing.assert_allclose(read_dicom(path, 0).pixels, [[0.5, 0.6]], atol=1e-7)
    np.testing.assert_allclose(read_dicom(path, 1).pixels, [[0.5, 0.75]], atol=1e-7)
    assert read_dicom(path, 1).record.pixel_spacing_mm == (0.5, 0.25)
    assert read_dicom_record(path, 1).voi == "window 20.5/41 LINEAR"


@pytest.mark.parametrize("compressed", [False, True])
def test_frames_are_read_one_at_a_time(dicom_dataset, tmp_path, compressed):
    dataset = dicom_dataset(np.array([[[1, 2]], [[3, 4]], [[5, 6]]], U1))
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path = tmp_path / "a.dcm"
    dataset.save_as(path)
    assert read_dicom_record(path).number_of_frames == 3
    assert read_dicom(path, 2, intensity="modality").pixels.tolist() == [[5, 6]]
    assert read_dicom(path, 2).record.number_of_frames == 3
    for frame in (3, -1):
        with pytest.raises(UnreadableImageError, match=rf"frame {frame} asked .* has 3") as caught:
            read_dicom(path, frame)
        assert caught.value.reason is RejectReason.FRAME_OUT_OF_RANGE


def test_rows_and_columns_are_never_transposed(write_dicom):
    stored = np.arange(15, dtype=U1).reshape(3, 5)
    image = read_dicom(write_dicom(stored), intensity="modality")
    assert image.pixels.tolist() == stored.tolist()
    assert (image.record.rows, image.record.columns) == (3, 5)


def test_colour_becomes_its_luma(write_dicom):
    rgb = np.array([[[255, 0, 0], [10, 10, 10]]], U1)
    image = read_dicom(write_dicom(rgb, PhotometricInterpretation="RGB", Modality="CT"))
    np.testing.assert_allclose(image.pixels, [[0.299, 10 / 255]], atol=1e-5)
    assert image.pixels[0, 1] == np.float32(10 / 255)
    ybr = np.array([[[77, 128, 128], [200, 128, 128]]], U1)
    image = read_dicom(write_dicom(ybr, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(image.pixels, [[77 / 255, 200 / 255]], atol=1e-7)


def palette(bits):
    scale = 257 if bits == 16 else 1
    attributes = {}
    for name, entries in (("Red", [0, 255, 8, 9]), ("Green", [0, 0, 8, 9]), ("Blue", [0, 0, 8, 9])):
        kind = f"{name}PaletteColorLookupTable"
        attributes[f"{kind}Descriptor"] = [4, 1, bits]
        words = np.array(entries, "<u2") * scale
        attributes[f"{kind}Data"] = words.astype("<u2" if bits == 16 else "u1").tobytes()
    return attributes


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_becomes_its_luma(write_dicom, bits):
    path = write_dicom(
        np.array([[0, 1, 2, 3, 4]], U1), PhotometricInterpretation="PALETTE COLOR", **palette(bits)
    )
    shown = read_dicom(path).pixels[0]
    np.testing.assert_allclose(shown, [0, 0, 0.299, 8 / 255, 9 / 255], atol=1e-5)
    assert read_dicom_record(path) == read_dicom(path).record


def test_record_holds_what_the_header_says(write_dicom):
    image = read_dicom(
        write_dicom(
            np.array([[1]], U1),
            ViewPosition="PA",
            Laterality="L",
            BodyPartExamined="CHEST",
            Manufacturer="G.E. Medical Systems",
            BurnedInAnnotation="NO",
            ImagerPixelSpacing=[0.2, 0.1],
        )
    )
    record = image.record
    assert (record.view_position, record.laterality, record.body_part) == ("PA", "L", "CHEST")
    assert (record.manufacturer, record.burned_in_annotation) == ("GE", "NO")
    assert record.pixel_spacing_mm == (0.2, 0.1)
    assert (record.patient_id, record.study_instance_uid) == ("SECRET-ID", "1.2.3")
    assert (record.series_instance_uid, record.sop_instance_uid) == ("1.2.3.1", "1.2.3.4")
    assert (record.modality, record.bits_stored, record.format) == ("CR", 8, "dicom")


REFUSED = {
    "no rows": ({"Rows": None}, RejectReason.INVALID_HEADER, r"Rows \(0028,0010\) is absent"),
    "rows in a list": (
        {"Rows": [1, 2]},
        RejectReason.INVALID_HEADER,
        r"Rows \(0028,0010\) is no single whole number",
    ),
    "nine of eight bits": (
        {"BitsStored": 9},
        RejectReason.INVALID_HEADER,
        "Bits Stored 9 describe no image",
    ),
    "two samples": (
        {"SamplesPerPixel": 2},
        RejectReason.INVALID_HEADER,
        "Samples per Pixel 2, .* describe no image",
    ),
    "huge": (
        {"Rows": 65535, "Columns": 65535},
        RejectReason.TOO_LARGE,
        "65535 x 65535 pixels a frame; 268435456 are read",
    ),
    "photometric": (
        {"PhotometricInterpretation": "HSV"},
        RejectReason.UNSUPPORTED_PHOTOMETRIC,
        r"Photometric Interpretation \(0028,0004\) is not one of MONOCHROME1, MONOCHROME2, PAL",
    ),
    "slope 0": (
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        RejectReason.INVALID_HEADER,
        r"Rescale Slope \(0028,1053\) is 0",
    ),
    "VOI function": (
        {"VOILUTFunction": "CUBIC", "WindowCenter": 1, "WindowWidth": 1},
        RejectReason.INVALID_HEADER,
        r"VOI LUT Function \(0028,1056\) is none of LINEAR",
    ),
    "LUT too short": (
        {"VOILUTSequence": [lut_item(0, [1, 2, 3, 4, 5], 8)]},
        RejectReason.INVALID_HEADER,
        r"VOI LUT Sequence \(0028,3010\) holds 2 of the 5 entries",
    ),
    "LUT without data": (
        {"ModalityLUTSequence": [Dataset()]},
        RejectReason.INVALID_HEADER,
        r"Modality LUT Sequence \(0028,3000\) lacks LUT Descriptor \(0028,3002\) or LUT Data",
    ),
    "palette missing": (
        {"PhotometricInterpretation": "PALETTE COLOR"},
        RejectReason.INVALID_HEADER,
        "the palette is absent or contradicts itself",
    ),
    "pixel data short": (
        {"Rows": 9},
        RejectReason.TRUNCATED,
        r"Pixel Data \(7FE0,0010\) holds 2 of the 18 bytes",
    ),
    "segmentation": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
        RejectReason.NOT_AN_IMAGE,
        "its SOP class is Segmentation Storage: computed values",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_with_its_reason(write_dicom, name):
    attributes, reason, message = REFUSED[name]
    if name == "LUT too short":
        attributes["VOILUTSequence"][0].LUTData = bytes(4)
    with pytest.raises(UnreadableImageError, match=message) as caught:
        read_dicom(write_dicom(np.array([[1, 2]], U1), **attributes))
    assert caught.value.reason is reason


def test_palette_of_more_than_16_bits_is_refused(write_dicom):
    path = write_dicom(
        np.array([[1]], np.uint32), PhotometricInterpretation="PALETTE COLOR", **palette(16)
    )
    with pytest.raises(UnreadableImageError, match=r"Bits Stored \(0028,0101\) exceeds 16"):
        read_dicom(path)


def write_without_pixels(dicom_dataset, tmp_path, sop_class, **attributes):
    dataset = dicom_dataset(np.array([[1]], U1), SOPClassUID=sop_class)
    for keyword in ("PixelData", "Rows", "Columns"):
        delattr(dataset, keyword)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "a.dcm")
    return tmp_path / "a.dcm"


@pytest.mark.parametrize("read", [read_dicom, read_dicom_record])
def test_report_is_refused_by_the_name_of_its_sop_class(dicom_dataset, tmp_path, read):
    path = write_without_pixels(dicom_dataset, tmp_path, "1.2.840.10008.5.1.4.1.1.88.11")
    with pytest.raises(UnreadableImageError, match=r"SOP class is Basic Text SR Storage") as caught:
        read(path)
    assert caught.value.reason is RejectReason.NOT_AN_IMAGE


@pytest.mark.parametrize("read", [read_dicom, read_dicom_record])
def test_image_without_its_pixel_data_is_refused(dicom_dataset, tmp_path, read):
    path = write_without_pixels(
        dicom_dataset, tmp_path, "1.2.840.10008.5.1.4.1.1.1", Rows=1, Columns=1
    )
    with pytest.raises(UnreadableImageError, match=r"image but holds no Pixel Data") as caught:
        read(path)
    assert caught.value.reason is RejectReason.NO_PIXEL_DATA


def test_float_pixel_data_is_refused(dicom_dataset, tmp_path):
    path = write_without_pixels(
        dicom_dataset,
        tmp_path,
        "1.2.840.10008.5.1.4.1.1.7",
        Rows=1,
        Columns=1,
        FloatPixelData=b"\0\0\0\0",
    )
    with pytest.raises(UnreadableImageError, match="computed values, no picture"):
        read_dicom(path)


def test_unregistered_sop_class_is_not_quoted(dicom_dataset, tmp_path):
    path = write_without_pixels(dicom_dataset, tmp_path, "1.2.3.99999")
    with pytest.raises(UnreadableImageError, match="its SOP class is unregistered"):
        read_dicom(path)


@pytest.mark.parametrize(("syntax", "bits"), [("1.2.840.10008.1.2.4.100", 8), ("1.2.3.4", 8)])
def test_transfer_syntax_without_decoder_is_named(dicom_dataset, tmp_path, syntax, bits):
    dataset = dicom_dataset(np.array([[1]], U2), BitsStored=bits)
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True)
    with pytest.raises(UnreadableImageError, match="no installed decoder reads") as caught:
        read_dicom(tmp_path / "a.dcm")
    assert caught.value.reason is RejectReason.NO_DECODER


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_damaged_codestream_is_refused(dicom_dataset, tmp_path, syntax):
    dataset = dicom_dataset(np.arange(4096, dtype=U1).reshape(64, 64))
    dataset.compress(syntax, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    end = b"\xff\xd9" if syntax == JPEGLSLossless else b""  # without, it is known to be cut
    dataset.PixelData = encapsulate([frame[: len(frame) // 2 // 2 * 2] + end])
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match="cannot be decoded: damaged") as caught:
        read_dicom(tmp_path / "a.dcm")
    assert caught.value.reason is RejectReason.DECODE_FAILED


def test_codestream_of_another_shape_is_refused_though_the_area_fits(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.arange(128, dtype=U1).reshape(8, 16))
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.Rows, dataset.Columns = 16, 8
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match=r"frame is 8 x 16 pixels, .* say 16 x 8"):
        read_dicom(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_truncated_file_never_gives_a_picture(dicom_dataset, tmp_path, syntax):
    dataset = dicom_dataset(np.tile(np.arange(64, dtype=U1), (64, 1)))
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    whole = tmp_path / "whole.dcm"
    dataset.save_as(whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.dcm"
    reasons = set()
    for length in {*range(1, len(content) - 8, 29), *range(len(content) - 40, len(content) - 8)}:
        cut.write_bytes(content[:length])
        with pytest.raises(UnreadableImageError) as caught:
            read_dicom(cut)
        reasons.add(caught.value.reason)
    assert RejectReason.TRUNCATED in reasons
    assert reasons <= {
        RejectReason.TRUNCATED,
        RejectReason.NOT_DICOM,
        RejectReason.INVALID_HEADER,
        RejectReason.NO_PIXEL_DATA,
    }


def test_truncated_deflated_file_is_refused(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.arange(256, dtype=U1).reshape(16, 16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-20])
    with pytest.raises(UnreadableImageError, match="header cannot be parsed"):
        read_dicom(tmp_path / "a.dcm")


def test_damage_never_shows_the_patient(dicom_dataset, tmp_path, caplog):
    dataset = dicom_dataset(np.array([[1, 2]], U1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.add_new("RescaleSlope", "LO", "SECRET^NAME")
        dataset.add_new("PatientBirthDate", "DA", "SECRET-DATE")
        dataset.save_as(tmp_path / "a.dcm")
    content = (
        (tmp_path / "a.dcm").read_bytes().replace(b"\x28\x00\x53\x10LO", b"\x28\x00\x53\x10DS")
    )
    (tmp_path / "a.dcm").write_bytes(content)
    caplog.clear()  # of what writing the file said
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(UnreadableImageError, match=r"Rescale Slope \(0028,1053\)") as caught,
    ):
        read_dicom(tmp_path / "a.dcm")
    shown = "".join(traceback.format_exception(caught.value))
    assert "SECRET" not in shown + caplog.text
    assert caught.value.__context__ is None


def test_whole_number_that_is_text_is_refused(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.array([[1, 2]], U1), NumberOfFrames=2)
    dataset.save_as(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content.replace(b"IS\x02\x002 ", b"IS\x02\x001A"))
    with pytest.raises(UnreadableImageError, match=r"Number of Frames \(0028,0008\) is no finite"):
        read_dicom(tmp_path / "a.dcm")


def test_pydicom_is_quiet_only_while_reading(write_dicom):
    logger = logging.getLogger("pydicom")
    read_dicom(write_dicom(np.array([[1]], U1)))
    assert not logger.disabled
    assert pydicom.config.settings.reading_validation_mode == pydicom.config.WARN


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_jpeg_wrapped_as_dicom_gives_the_pixels_of_the_jpeg(
    dicom_dataset, tmp_path, test_data, syntax, photometric
):
    from PIL import Image

    from medres.imaging.read import read_grayscale

    for jpeg in sorted((test_data / "data/kermany_chest/images").glob("*.jpeg"))[:2]:
        gray = np.asarray(Image.open(jpeg))[..., 0]
        stored = 255 - gray if photometric == "MONOCHROME1" else gray
        dataset = dicom_dataset(
            stored,
            PhotometricInterpretation=photometric,
            WindowCenter=128,
            WindowWidth=256,
        )
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(tmp_path / "a.dcm")
        wrapped = read_grayscale(tmp_path / "a.dcm")
        np.testing.assert_allclose(wrapped.pixels, read_grayscale(jpeg).pixels, rtol=0, atol=1e-7)


def test_jpeg_baseline_is_decoded(dicom_dataset, tmp_path, test_data):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    gray = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=U1), (64, 1)))
    gray.save(buffer, "JPEG", quality=90)
    dataset = dicom_dataset(np.asarray(gray))
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(tmp_path / "a.dcm")
    expected = np.asarray(Image.open(buffer)) / 255
    np.testing.assert_allclose(read_dicom(tmp_path / "a.dcm").pixels, expected, atol=1e-6)


def test_file_without_prefix_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(bytes(300))
    with pytest.raises(UnreadableImageError, match="lacks the prefix DICM") as caught:
        read_dicom(tmp_path / "a")
    assert caught.value.reason is RejectReason.NOT_DICOM


def test_header_that_asks_for_too_much_memory_is_refused(write_dicom, monkeypatch):
    def exhaust(*arguments, **options):
        raise MemoryError

    path = write_dicom(np.array([[1]], U1))
    monkeypatch.setattr("medres.imaging.dicom.dcmread", exhaust)
    with pytest.raises(UnreadableImageError, match="asks for more memory than there is") as caught:
        read_dicom(path)
    assert caught.value.reason is RejectReason.TOO_LARGE


def test_sequence_that_is_none_is_refused(dicom_dataset, tmp_path):
    dataset = dicom_dataset(np.array([[1]], U1))
    dataset.add_new("VOILUTSequence", "LO", "text")
    dataset.save_as(tmp_path / "a.dcm")
    message = r"VOI LUT Sequence \(0028,3010\) is no sequence"
    with pytest.raises(UnreadableImageError, match=message):
        read_dicom(tmp_path / "a.dcm")


def test_value_that_pydicom_cannot_parse_is_refused_without_quoting_it():
    class Damaged:
        def get(self, keyword):
            raise ValueError("SECRET^NAME")

    header = Header(Damaged(), "a.dcm")
    with pytest.raises(
        UnreadableImageError, match=r"Rows \(0028,0010\) cannot be parsed"
    ) as caught:
        header.value("Rows")
    assert caught.value.reason is RejectReason.INVALID_HEADER
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
