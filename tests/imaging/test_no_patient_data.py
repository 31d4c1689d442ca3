"""A marker in every text of every format: it is in nothing that reading tells."""

import json
import logging
import random
import traceback
import warnings

import pytest
from dicom_wounds import mutate_dicom
from fuzz_imaging import mutate_bytes
from marked_files import MARKER, marked_files, one_marked_element
from picture_wounds import mutate_picture

from medres.errors import UnreadableImageError
from medres.imaging.read import read_grayscale, read_record
from medres.imaging.study import scan_studies

WOUNDS = 10
FILES = dict(marked_files())


@pytest.fixture
def told(tmp_path, caplog, capfd):
    """Read a file in every way; what was told in errors, logs, warnings and output, and records."""

    def read_and_listen(content):
        path = tmp_path / "input"
        path.write_bytes(content)
        said, chained = [], []
        caplog.clear()
        with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
            warnings.simplefilter("always")
            for read in (
                read_record,
                read_grayscale,
                lambda path: read_grayscale(path, 7, intensity="modality", voi_index=3),
                lambda path: read_record(f"{path}::coronal"),
                lambda path: scan_studies([path]),
            ):
                try:
                    result = read(path)
                except UnreadableImageError as error:
                    chained.append(error.__cause__ or error.__context__)
                    said += traceback.format_exception(error)
                    said += [repr(error), repr(error.args), str(error.__reduce__())]
                else:
                    said.append(repr(result))
                    record = getattr(result, "record", result)
                    if hasattr(record, "as_json"):
                        said.append(json.dumps(record.as_json()))
            said += [record.getMessage() for record in caplog.records]
            said += [str(warning.message) for warning in warned]
        assert not any(chained)
        return [*said, *capfd.readouterr()]

    return read_and_listen


def hits(said):
    """What holds the marker, in whatever letters, also where an escape stands within."""
    return [text for text in said if MARKER.lower() in text.lower().replace("\\x00", "")]


@pytest.mark.parametrize("name", FILES)
def test_no_text_of_a_file_is_ever_told(told, name):
    content = FILES[name]
    packed = ("deflated.dcm", ".gz", ".png", "text.npy", "text.npz", "pixels.npy")
    assert MARKER.encode() in content or name.endswith(packed)
    assert not hits(told(content))


def test_no_text_of_an_attribute_that_is_read_is_ever_told(told):
    for _, content in one_marked_element():
        assert not hits(told(content))


def test_no_text_of_a_damaged_file_is_ever_told(told):
    rng = random.Random(7)
    for name, content in FILES.items():
        mutate_structure = mutate_dicom if content[128:132] == b"DICM" else mutate_picture
        for _ in range(WOUNDS):
            wounded = mutate_structure(rng, content)
            if rng.random() < 0.3:
                wounded = mutate_bytes(rng, wounded, content)
            assert not hits(told(wounded)), name


def test_marked_pictures_can_be_seen(tmp_path):
    """The marker must stand where reading passes by, not only in what is refused at once."""
    seen = set()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        try:
            read_grayscale(tmp_path / name)
        except UnreadableImageError:
            continue
        seen.add(name)
    for syntax in ("explicit", "implicit", "deflated"):
        assert {f"{kind}_{syntax}.dcm" for kind in ("all", "codes", "private")} <= seen
    assert {"picture.png", "picture.jpg", "picture.tif", "pixels.npy", "pixels.npz"} <= seen
    assert {"nifti1image.nii", "nifti1image.nii.gz", "nifti2image.nii"} <= seen


def test_every_text_vr_of_the_dictionary_is_marked():
    whole = FILES["all_explicit.dcm"]
    for vr in ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UT"):
        assert vr.encode() in whole
    assert whole.count(MARKER.encode()) > 1000
