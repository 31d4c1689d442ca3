"""What is missing from a table, listed beside it and counted again."""

import json
from pathlib import Path

import pytest

from medres.data.rejected import (
    LeftOutFile,
    LeftOutReason,
    Origin,
    RejectedFile,
    describe_rejected,
    read_origin,
    rejected_path,
    write_rejected,
)
from medres.errors import ManifestError, RejectReason

FILES = [
    RejectedFile("a.dcm", RejectReason.TRUNCATED, "ends early"),
    RejectedFile("b.dcm", RejectReason.NOT_DICOM, "is text"),
    LeftOutFile("c.png", LeftOutReason.NO_LABEL),
    LeftOutFile("d.png", LeftOutReason.NO_LABEL),
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text("image,frame,label\nv.nii::axial,0,1\nv.nii::coronal,0,0\n1.png,0,1\n")
    return path


def test_origin_counts_images_files_and_what_was_left_out(manifest: Path) -> None:
    assert read_origin(manifest) == Origin(images=3, files=2, missing={})
    write_rejected(manifest, FILES)
    missing = {"no_label": 2, "truncated": 1, "not_dicom": 1}
    assert read_origin(manifest) == Origin(images=3, files=2, missing=missing)
    assert [*read_origin(manifest).missing] == ["no_label", "truncated", "not_dicom"]
    write_rejected(manifest, [])
    assert not rejected_path(manifest).exists()


def test_list_says_of_each_file_why_it_is_missing(manifest: Path) -> None:
    write_rejected(manifest, FILES[1:3])
    lines = rejected_path(manifest).read_text().splitlines()
    assert list(map(json.loads, lines)) == [
        {"file": "b.dcm", "reason": "not_dicom", "message": "is text"},
        {
            "file": "c.png",
            "reason": "no_label",
            "message": "no row of the label table is of it; label it, or leave it out",
        },
    ]


def test_rejected_files_are_told_by_reason_and_the_first_by_name(manifest: Path) -> None:
    files = [
        FILES[0],
        FILES[1],
        *[RejectedFile(f"{k}", RejectReason.TRUNCATED, "") for k in (1, 2)],
    ]
    assert describe_rejected(files, manifest) == (
        "3 truncated, 1 not_dicom (a.dcm, b.dcm, 1, ...); listed in m.csv.rejected.jsonl"
    )


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"file": "a"}', '{"reason": "<b>"}', '{"reason": null}', b"\xff"]
)
def test_list_of_another_make_is_refused(manifest: Path, line: str | bytes) -> None:
    good = b'{"reason": "truncated"}\n'
    rejected_path(manifest).write_bytes(good + (line if isinstance(line, bytes) else line.encode()))
    message = r"m.csv.rejected.jsonl: line 2 is not as `medres prepare` writes it; prepare the"
    with pytest.raises(ManifestError, match=message):
        read_origin(manifest)
