import numpy as np
import pytest
from pydicom import Dataset, config

from medres.imaging.read import read_record


def code(value, scheme="SCT", meaning="SECRET^NAME"):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def group(**attributes):
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def record_of(write_dicom, frame=0, frames=1, **attributes):
    pixels = [[[0, 1, 2], [3, 4, 5]]] * frames
    with config.disable_value_validation():
        path = write_dicom(np.array(pixels, np.uint8), **attributes)
    return read_record(path, frame)


@pytest.mark.parametrize(
    ("attributes", "expected", "source"),
    [
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [2, 1]}, (0.2, 0.1), "PixelSpacing"),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "ImagerPixelSpacing"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [2, 1]}, (2, 1), "ImagerPixelSpacing"),
        ({"NominalScannedPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "NominalScannedPixelSpacing"),
        ({"PixelSpacing": None}, None, ""),
        ({}, None, ""),
    ],
)
def test_pixel_spacing_says_where_it_comes_from(write_dicom, attributes, expected, source):
    record = record_of(write_dicom, **attributes)
    assert (record.pixel_spacing_mm, record.pixel_spacing_source) == (expected, source)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"ImageLaterality": "R", "Laterality": "L"}, "R"),
        ({"ImageLaterality": "", "Laterality": "L"}, "L"),
        ({"Laterality": "B"}, "B"),
        ({"ImageLaterality": "l"}, "L"),
        ({"ImageLaterality": "SECRET^NAME", "Laterality": "R"}, "R"),
        ({"ImageLaterality": "SECRET^NAME"}, ""),
        ({}, ""),
    ],
)
def test_laterality_is_the_images_before_the_series(write_dicom, attributes, expected):
    assert record_of(write_dicom, **attributes).laterality == expected


def test_functional_groups_decide_frame_by_frame(write_dicom):
    per_frame = [
        group(
            PixelMeasuresSequence=group(PixelSpacing=[spacing, 0.5]),
            FrameAnatomySequence=group(FrameLaterality=side, AnatomicRegionSequence=code(region)),
            MRImageFrameTypeSequence=group(FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"]),
        )[0]
        for spacing, side, kind, region in (
            (0.1, "L", "LOCALIZER", "72696002"),
            (0.2, "R", "VOLUME", "24136001"),
        )
    ]
    attributes = {
        "PerFrameFunctionalGroupsSequence": per_frame,
        "ImageType": ["ORIGINAL", "PRIMARY", "MIXED", "NONE"],
        "PixelSpacing": [9, 9],
        "ImageLaterality": "B",
    }
    first, second = (record_of(write_dicom, frame, 2, **attributes) for frame in (0, 1))
    assert (first.laterality, second.laterality) == ("L", "R")
    assert (first.pixel_spacing_mm, second.pixel_spacing_mm) == ((0.1, 0.5), (0.2, 0.5))
    assert (first.image_type[2], second.image_type[2]) == ("LOCALIZER", "VOLUME")
    assert (first.body_part, second.body_part) == ("Knee", "Hip joint")


def test_words_stand_before_codes_and_codes_before_nothing(write_dicom):
    codes = {
        "ViewCodeSequence": code("R-10242", "SRT"),
        "AnatomicRegionSequence": code("76752008"),
    }
    coded = record_of(write_dicom, **codes)
    assert (coded.view_position, coded.body_part) == ("cranio-caudal", "Breast")
    words = record_of(write_dicom, **codes, ViewPosition="CC", BodyPartExamined="BREAST")
    assert (words.view_position, words.body_part) == ("CC", "BREAST")
    neither = record_of(write_dicom)
    assert (neither.view_position, neither.body_part) == ("", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["L", "F"], ("L", "F")),
        (["A", "FR"], ("A", "FR")),
        (["CD", "V"], ("CD", "V")),
        (["L"], ()),
        (["SECRET", "NAME"], ()),
        (None, ()),
    ],
)
def test_patient_orientation_is_two_directions_or_none(write_dicom, value, expected):
    assert record_of(write_dicom, PatientOrientation=value).patient_orientation == expected


def test_image_type_is_kept_in_order(write_dicom):
    record = record_of(write_dicom, ImageType=["DERIVED", "PRIMARY", "AXIAL"])
    assert record.image_type == ("DERIVED", "PRIMARY", "AXIAL")
    assert record_of(write_dicom, ImageType="ORIGINAL").image_type == ("ORIGINAL",)
    assert record_of(write_dicom).image_type == ()


def test_words_that_are_not_listed_are_left_out_as_they_may_name_the_patient(write_dicom):
    name = "SECRET^NAME"
    record = record_of(
        write_dicom,
        ImageType=["DERIVED", name, "AXIAL"],
        BodyPartExamined=name,
        AnatomicRegionSequence=code(name, name),
        ViewPosition=name,
        ViewCodeSequence=code(name, "99LOCAL"),
        Modality=name,
        Manufacturer=name,
        BurnedInAnnotation=name,
    )
    assert record.image_type == ("DERIVED", "", "AXIAL")
    left = (record.body_part, record.view_position, record.modality, record.manufacturer)
    assert (*left, record.burned_in_annotation) == ("",) * 5


def test_transfer_syntax_that_nobody_registered_is_not_quoted(write_dicom):
    path = write_dicom(np.array([[1]], np.uint8))
    content = path.read_bytes()
    registered = b"\x14\x001.2.840.10008.1.2.1\0"
    assert registered in content
    path.write_bytes(content.replace(registered, b"\x14\x00SECRET^NAME.840.1.10"))
    assert read_record(path).transfer_syntax_uid == "unregistered"
