import csv

import pytest

from medres.imaging.defined_terms import (
    BODY_PARTS,
    IMAGE_TYPES,
    MODALITIES,
    VIEW_POSITIONS,
    is_uid,
    listed,
    listed_image_type,
    maker,
    meaning_of_region,
    meaning_of_view,
)


@pytest.mark.parametrize(
    ("text", "terms", "expected"),
    [
        ("CHEST", BODY_PARTS, "CHEST"),
        (" chest ", BODY_PARTS, "CHEST"),
        ("WHOLE BODY", BODY_PARTS, "WHOLE BODY"),
        ("CHESTER", BODY_PARTS, ""),
        ("", BODY_PARTS, ""),
        ("MLO", VIEW_POSITIONS, "MLO"),
        ("SMITH^PA", VIEW_POSITIONS, ""),
        ("cr", MODALITIES, "CR"),
    ],
)
def test_a_word_is_repeated_only_if_it_is_listed(text, terms, expected):
    assert listed(text, terms) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AXIAL", "AXIAL"),
        ("CSA MPR", "CSA MPR"),
        ("0011", "0011"),
        ("00112", ""),
        ("", ""),
        ("SMITH", ""),
    ],
)
def test_image_type_is_a_listed_word_or_ultrasounds_four_digits(text, expected):
    assert listed_image_type(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GE MEDICAL SYSTEMS", "GE"),
        ("G.E. Medical Systems", "GE"),
        ("TOSHIBA_MEC", "Canon"),
        ("FUJI PHOTO FILM CO. LTD.", "Fujifilm"),
        ("Agfa-Gevaert AG", "Agfa"),
        ("medres phantom", "medres phantom"),
        ("Ward of Dr. Smith", ""),
        ("", ""),
    ],
)
def test_a_maker_has_one_name(text, expected):
    assert maker(text) == expected


@pytest.mark.parametrize(
    ("look_up", "value", "scheme", "expected"),
    [
        (meaning_of_view, "399162004", "SCT", "cranio-caudal"),
        (meaning_of_view, "R-10242", "SRT", "cranio-caudal"),
        (meaning_of_view, "R-10242", "SNM3", "cranio-caudal"),
        (meaning_of_view, "R-10242", "99LOCAL", ""),
        (meaning_of_region, "T-04000", "SRT", "Breast"),
        (meaning_of_region, "816094009", "SCT", "Chest"),
        (meaning_of_region, "43799004", "SCT", "Chest"),
        (meaning_of_region, "T-D3000", "SRT", "Chest"),
        (meaning_of_region, "SMITH", "SCT", ""),
        (meaning_of_region, "", "", ""),
    ],
)
def test_a_code_has_the_standards_meaning_whatever_the_file_calls_it(
    look_up, value, scheme, expected
):
    assert look_up(value, scheme) == expected


# Test objects' inventions and one abbreviation: what real files say and the lists leave out.
LEFT_OUT = {"manufacturer", "debug", "Manufacturer name here", "MyManufacturer", "Acme Products"}
LEFT_OUT |= {"OFFIS", "QIICR", "QIICR, compressed with Pydicom"}


def test_the_lists_hold_what_real_files_say(test_data):
    with (test_data / "data/dicom/attributes.csv").open(newline="") as lines:
        rows = [*csv.DictReader(lines)]
    for column, terms in (("mod", MODALITIES), ("body", BODY_PARTS), ("view", VIEW_POSITIONS)):
        said = {row[column] for row in rows} - {""}
        assert said
        assert [word for word in said if not listed(word, terms)] == []
    makers = {row["manu"] for row in rows} - {""}
    assert {name for name in makers if not maker(name)} == LEFT_OUT


def test_the_lists_are_in_the_form_that_is_looked_up():
    for terms in (BODY_PARTS, IMAGE_TYPES, MODALITIES, VIEW_POSITIONS):
        assert all(term == term.upper() and listed(term, terms) for term in terms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.2.840.10008.1.2", True), ("1.2.SMITH", False), ("", False), ("1" * 65, False)],
)
def test_a_uid_is_digits_and_dots(text, expected):
    assert is_uid(text) == expected
