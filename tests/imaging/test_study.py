import itertools
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from medres.errors import RejectReason
from medres.imaging.slice_record import Slice
from medres.imaging.stack import build_stacks
from medres.imaging.study import scan_studies

CT = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]


@pytest.fixture
def write_slice(write_dicom):
    """A CT slice; every file gets a random name, and a SOP Instance UID of its own."""
    counter = itertools.count(1)

    def write(position=None, number=None, orientation=AXIAL, shape=(2, 3), **attributes):
        given = {
            "SOPInstanceUID": f"1.2.3.4.{next(counter)}",
            "SOPClassUID": CT,
            "Modality": "CT",
            "PixelSpacing": [0.5, 0.5],
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        }
        if position is not None:
            given["ImagePositionPatient"] = list(position)
            given["ImageOrientationPatient"] = list(orientation)
        if number is not None:
            given["InstanceNumber"] = number
        return write_dicom(np.zeros(shape, np.uint8), **given | attributes)

    return write


def only_series(paths):
    scan = scan_studies(paths)
    assert not scan.refused
    ((series,),) = (study.series for study in scan.studies)
    return series


def only_refusal(path):
    scan = scan_studies([path])
    assert not scan.studies
    (error,) = scan.refused
    return error


def kinds(series):
    return [note.kind.value for note in series.all_notes]


def numbers(series):
    return [item.instance_number for item in series.slices]


def test_slices_follow_the_normal_not_names_and_numbers(write_slice):
    # Numbers run against positions, and the list is shuffled.
    paths = [write_slice((0, 0, 5 * z), number=9 - z) for z in range(6)]
    random.Random(0).shuffle(paths)
    series = only_series(paths)
    (stack,) = series.stacks
    assert stack.positions_mm == (0, 5, 10, 15, 20, 25)
    assert numbers(series) == [9, 8, 7, 6, 5, 4]
    assert (stack.order, stack.slice_spacing_mm, stack.tilt_degrees) == ("position", 5, 0)
    assert series.all_notes == ()


def test_normal_of_a_coronal_series_points_to_the_front(write_slice):
    # row x column = (1,0,0) x (0,0,-1) = (0,1,0): posterior, where y grows.
    paths = [write_slice((7, y, 3), number=1, orientation=CORONAL) for y in (8, 4, 6)]
    (stack,) = only_series(paths).stacks
    assert [item.position_mm[1] for item in stack.slices] == [4, 6, 8]
    assert stack.positions_mm == (4, 6, 8)


def test_gap_says_where_and_how_many(write_slice):
    series = only_series([write_slice((0, 0, z)) for z in (0, 5, 10, 25, 30)])
    (note,) = series.all_notes
    assert note.kind == "gap"
    assert note.message == "15 mm from slice 2 to slice 3, where 5 mm are usual: 2 missing"
    assert note.slices == (2, 3)
    assert series.stacks[0].slice_spacing_mm == 5


def test_gap_is_seen_among_three_slices(write_slice):
    assert kinds(only_series([write_slice((0, 0, z)) for z in (0, 5, 15)])) == ["gap"]


def test_uneven_spacing_is_told_from_a_gap(write_slice):
    series = only_series([write_slice((0, 0, z)) for z in (0, 5, 10.4, 15)])
    (note,) = series.all_notes
    assert note.kind == "uneven_spacing"
    assert note.message == "neighbouring slices lie 4.6 to 5.4 mm apart"
    assert series.stacks[0].slice_spacing_mm == 5


def test_rounding_of_written_positions_is_no_note(write_slice):
    paths = [write_slice((0, 0, round(z * 0.6667, 3))) for z in range(9)]
    assert kinds(only_series(paths)) == []


def test_duplicate_positions_are_said_and_kept(write_slice):
    paths = [write_slice((0, 0, z), number=n) for n, z in enumerate((0, 5, 5, 10))]
    series = only_series(paths[::-1])
    (note,) = series.all_notes
    assert note.kind == "duplicate_position"
    assert note.message.startswith("1 of 3 positions hold more than one slice, 2 in all")
    assert note.slices == (1, 2)
    assert numbers(series) == [0, 1, 2, 3]
    assert series.stacks[0].slice_spacing_mm == 5


def test_instance_given_twice_is_said(write_slice):
    paths = [write_slice((0, 0, z)) for z in (0, 5)]
    series = only_series([*paths, paths[0]])
    assert kinds(series) == ["duplicate_instance", "duplicate_position"]
    assert series.notes[0].message.startswith("1 images repeat the SOP Instance UID (0008,0018)")


@pytest.mark.parametrize("degrees", [12.5, -20])
def test_gantry_tilt_is_measured_from_positions(write_slice, degrees):
    angle = math.radians(degrees)
    tilted = [1, 0, 0, 0, math.cos(angle), -math.sin(angle)]
    paths = [
        write_slice((0, 0, 5 * z), orientation=tilted, GantryDetectorTilt=degrees) for z in range(4)
    ]
    series = only_series(paths)
    (stack,) = series.stacks
    assert stack.tilt_degrees == pytest.approx(abs(degrees), abs=1e-4)
    assert stack.slice_spacing_mm == pytest.approx(5 * math.cos(angle))
    (note,) = series.all_notes
    assert note.kind == "gantry_tilt"
    assert f"{abs(degrees)} degrees off their normal: as a volume they need" in note.message
    assert f"Gantry/Detector Tilt (0018,1120) says {abs(degrees)} degrees" in note.message


def test_oblique_series_without_tilt_is_straight(write_slice):
    angle = math.radians(20)
    cosine, sine = math.cos(angle), math.sin(angle)
    oblique = [1, 0, 0, 0, cosine, sine]
    paths = [write_slice((0, -sine * z, cosine * z), orientation=oblique) for z in range(4)]
    series = only_series(paths)
    assert series.stacks[0].tilt_degrees == pytest.approx(0, abs=1e-4)
    assert series.all_notes == ()


def test_tilt_that_only_the_header_says_is_told(write_slice):
    paths = [write_slice((0, 0, z), GantryDetectorTilt=15) for z in (0, 5)]
    (note,) = only_series(paths).all_notes
    assert note.message == "Gantry/Detector Tilt (0018,1120) says 15 degrees, the positions none"


def test_localizers_stand_apart(write_slice):
    scout = write_slice(
        (0, -200, 0), orientation=CORONAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    series = only_series([scout, *(write_slice((0, 0, z)) for z in (0, 5))])
    assert [item.path for item in series.localizers] == [scout]
    assert len(series.stacks) == 1
    (note,) = series.all_notes
    assert (note.kind, note.message) == (
        "localizer",
        "1 of 3 images are localizers, set apart",
    )


def test_series_of_localizers_alone_has_no_stack(write_slice):
    series = only_series([write_slice((0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])])
    assert (series.stacks, series.slices) == ((), ())
    assert kinds(series) == ["localizer"]


def test_mixed_orientations_are_stacks_of_their_own(write_slice):
    paths = [write_slice((0, y, 0), orientation=CORONAL) for y in (0, 2)]
    paths += [write_slice((0, 0, z)) for z in (0, 5, 10)]
    series = only_series(paths)
    assert [stack.slice_spacing_mm for stack in series.stacks] == [5, 2]
    (note,) = series.all_notes
    assert note.message == "slices of different orientation, in 2 stacks"


@pytest.mark.parametrize(
    ("attributes", "kind", "message"),
    [
        ({"shape": (4, 3)}, "mixed_size", "slices of 2 x 3, 4 x 3 pixels"),
        (
            {"PixelSpacing": [0.6, 0.6]},
            "mixed_pixel_spacing",
            "slices of different pixel spacing, in 2 stacks",
        ),
        (
            {"FrameOfReferenceUID": "1.9"},
            "mixed_frame_of_reference",
            "2 frames of reference (0020,0052), whose positions do not compare",
        ),
    ],
)
def test_mixtures_are_said_and_parted(write_slice, attributes, kind, message):
    paths = [write_slice((0, 0, z), FrameOfReferenceUID="1.8") for z in (0, 5)]
    paths.append(write_slice((0, 0, 10), **{"FrameOfReferenceUID": "1.8"} | attributes))
    series = only_series(paths)
    assert [len(stack.slices) for stack in series.stacks] == [2, 1]
    assert [(note.kind, note.message) for note in series.all_notes] == [(kind, message)]


def test_series_of_several_patients_is_said(write_slice):
    paths = [write_slice((0, 0, z), PatientID=f"SECRET{z}") for z in (0, 5)]
    (note,) = only_series(paths).all_notes
    assert note.kind == "mixed_patients"
    assert note.message == "the images name 2 different patients in Patient ID (0010,0020)"


def test_instance_number_decides_without_positions_and_says_so(write_slice):
    series = only_series([write_slice(number=number) for number in (10, 9, 100)])
    assert numbers(series) == [9, 10, 100]
    (stack,) = series.stacks
    assert (stack.order, stack.slice_spacing_mm, stack.positions_mm) == (
        "instance number",
        None,
        (),
    )
    (note,) = series.all_notes
    assert note.kind == "no_position"
    assert note.message.startswith("3 slices without a usable Image Position (0020,0032)")
    assert note.message.endswith("ordered by instance number")


def test_missing_instance_numbers_leave_positions_in_charge(write_slice):
    series = only_series([write_slice((0, 0, z)) for z in (10, 0, 5)])
    assert series.stacks[0].positions_mm == (0, 5, 10)
    assert series.all_notes == ()


def test_file_names_decide_last_counted_as_people_do(write_slice, tmp_path):
    paths = [write_slice().rename(tmp_path / name) for name in ("I100.dcm", "I20.dcm", "I3.dcm")]
    series = only_series(paths)
    assert [item.path.name for item in series.slices] == ["I3.dcm", "I20.dcm", "I100.dcm"]
    assert kinds(series) == ["no_position", "no_instance_number"]
    assert "their order is that of their file names" in series.notes[1].message


def test_slices_without_position_do_not_disturb_the_others(write_slice):
    series = only_series([write_slice(number=1), *(write_slice((0, 0, z)) for z in (5, 0))])
    assert [stack.order for stack in series.stacks] == ["position", "instance number"]
    assert series.stacks[0].positions_mm == (0, 5)


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 1, 0, 0], [0] * 6, [1, 0, 0, 0, 1], [2, 0, 0, 0, 2, 0]]
)
def test_impossible_orientation_counts_as_none(write_slice, orientation):
    paths = [write_slice((0, 0, z), number=z + 1, orientation=orientation) for z in (5, 0)]
    series = only_series(paths)
    assert numbers(series) == [1, 6]
    assert kinds(series) == ["no_position"]


def test_radiographs_need_no_position(write_dicom):
    paths = [
        write_dicom(np.zeros((2, 2), np.uint8), InstanceNumber=n, SOPInstanceUID=f"1.{n}")
        for n in (2, 1)
    ]
    series = only_series(paths)
    assert numbers(series) == [1, 2]
    assert series.all_notes == ()


def test_frames_are_ordered_by_their_own_positions(write_dicom):
    def group(**attributes):
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        return item

    per_frame = [
        group(PlanePositionSequence=[group(ImagePositionPatient=[0, 0, z])]) for z in (4, 0, 2, 12)
    ]
    shared = group(
        PlaneOrientationSequence=[group(ImageOrientationPatient=AXIAL)],
        PixelMeasuresSequence=[group(PixelSpacing=[0.5, 0.5])],
    )
    path = write_dicom(
        np.zeros((4, 2, 3), np.uint8),
        Modality="MR",
        PerFrameFunctionalGroupsSequence=per_frame,
        SharedFunctionalGroupsSequence=[shared],
    )
    series = only_series([path])
    assert [item.frame for item in series.slices] == [1, 2, 0, 3]
    assert series.stacks[0].positions_mm == (0, 2, 4, 12)
    assert kinds(series) == ["gap"]
    assert series.slices[0].pixel_spacing_mm == (0.5, 0.5)


def test_files_are_parted_by_study_and_series(write_slice):
    paths = [
        write_slice((0, 0, z), StudyInstanceUID=f"1.{study}", SeriesInstanceUID=f"1.{study}.{of}")
        for z in (5, 0)
        for study in (1, 2)
        for of in (1, 2)
    ]
    scan = scan_studies(paths)
    assert [study.study_instance_uid for study in scan.studies] == ["1.1", "1.2"]
    assert all(len(study.series) == 2 for study in scan.studies)
    assert all(len(series.slices) == 2 for study in scan.studies for series in study.series)


def test_images_without_series_uid_are_said(write_slice):
    series = only_series([write_slice((0, 0, 0), SeriesInstanceUID="")])
    assert kinds(series) == ["no_series_uid"]
    assert series.notes[0].message.startswith("1 images without Series Instance UID (0020,000E)")


def test_scan_tells_refused_files_apart(write_slice, tmp_path):
    text = tmp_path / "readme.txt"
    text.write_text("no DICOM here")
    good = write_slice((0, 0, 0))
    scan = scan_studies([text, good, tmp_path / "absent", tmp_path])
    assert len(scan.studies) == 1
    assert [error.reason.value for error in scan.refused] == ["not_dicom", "not_found", "not_found"]
    assert "no such file, or it cannot be opened" in str(scan.refused[1])


def test_damaged_file_meta_information_is_refused(write_slice):
    path = write_slice((0, 0, 0))
    content = path.read_bytes()
    at = content.index(b"\x02\x00\x10\x00UI")
    path.write_bytes(content[: at + 4] + b"U " + content[at + 6 :])  # no such representation
    error = only_refusal(path)
    assert "header cannot be parsed" in str(error)
    assert error.reason is RejectReason.INVALID_HEADER


def test_file_that_ends_in_a_stray_delimiter_is_refused(write_slice):
    path = write_slice((0, 0, 0))
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:at] + b"\xfe\xff\xdd\xe0" + bytes(4))
    error = only_refusal(path)
    assert "ends before or within Pixel Data" in str(error)
    assert error.reason is RejectReason.TRUNCATED


def test_number_of_frames_beyond_reason_is_refused(write_slice):
    path = write_slice((0, 0, 0), NumberOfFrames=2_000_000_000)
    error = only_refusal(path)
    assert "65536 are ordered at most" in str(error)
    assert error.reason is RejectReason.TOO_LARGE


def test_neither_notes_nor_repr_nor_json_hold_identity(write_slice, tmp_path):
    paths = [
        write_slice((0, 0, z), number=1, PatientID=f"SECRET{z}", SeriesInstanceUID="1.99.77")
        for z in (0, 5, 5, 20)
    ]
    series = only_series(paths)
    text = json.dumps(series.as_json())
    assert json.loads(text)["stacks"][0]["slice_spacing_mm"] == 5
    for said in (text, repr(series)):
        assert "SECRET" not in said
        assert "1.99.77" not in said
        assert "1.2.3.4" not in said
    assert str(tmp_path) not in text


@given(st.permutations(range(7)), st.integers(-180, 180))
def test_order_given_and_direction_of_the_normal_do_not_matter(order, degrees):
    angle = math.radians(degrees)
    row = (math.cos(angle), math.sin(angle), 0.0)
    slices = [
        Slice(
            path=Path(f"{index}.dcm"),
            rows=2,
            columns=2,
            orientation=(*row, 0.0, 0.0, -1.0),
            position_mm=(-math.sin(angle) * 3 * z, math.cos(angle) * 3 * z, 1.0),
        )
        for index, z in enumerate(order)
    ]
    (stack,) = build_stacks(slices)
    assert stack.slice_spacing_mm == pytest.approx(3)
    assert stack.positions_mm == pytest.approx([*range(0, 21, 3)], abs=1e-9)
    assert stack.notes == ()


def test_real_series_are_straight_even_and_in_order(test_data):
    for folder, count, spacing, first in (
        ("ct_phantom_philips_S21570_S2010_first16of28", 16, 5.0, "I10"),
        ("mr_t1_siemens_datalad_mid30of384", 30, 0.666666686534882, "N2D_0178.dcm"),
    ):
        paths = sorted((test_data / "data/series" / folder).iterdir())
        paths = [path for path in paths if path.name != "SHA256SUMS"]
        random.Random(1).shuffle(paths)
        series = only_series(paths)
        assert numbers(series) == sorted(numbers(series))
        assert len(series.slices) == count
        assert series.slices[0].path.name == first
        assert series.stacks[0].slice_spacing_mm == pytest.approx(spacing)
        assert series.all_notes == ()
        missing = [item.path for item in series.slices[:5] + series.slices[6:]]
        (note,) = only_series(missing).all_notes
        assert (note.kind, note.slices) == ("gap", (4, 5))
        assert note.message.endswith("1 missing")


def test_real_files_of_all_kinds_are_grouped_or_refused(test_data):
    paths = sorted((test_data / "data/dicom/files").iterdir())
    scan = scan_studies(paths)
    read = {
        item.path
        for study in scan.studies
        for series in study.series
        for item in (*series.slices, *series.localizers)
    }
    assert len(read) + len(scan.refused) == len(paths)
    reasons = {error.reason.value for error in scan.refused}
    assert reasons <= {"not_an_image", "not_dicom", "invalid_header", "truncated", "no_pixel_data"}
