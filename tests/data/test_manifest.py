"""The manifest: what its columns mean, what is refused, and that it survives writing."""

import math
import pickle
from pathlib import Path

import pytest

from medres.data.labels import LabelSchema
from medres.data.manifest import (
    check_classes,
    check_files,
    read_manifest,
    select_rows,
    write_manifest,
)
from medres.errors import ManifestError


def read(tmp_path, text, **options):
    path = tmp_path / "m.csv"
    path.write_text(text)
    return read_manifest(path, **options)


FULL = """image,frame,patient_id,study_instance_uid,split,label,sex
a/1.dcm,,P1,1.2,train,1,F
./a/2.dcm,3,P1,1.3,val,0,M
x.npz::images,7,P2,,Test,,
"""


def test_every_column_is_read(tmp_path):
    manifest = read(tmp_path, FULL)
    first, second, third = manifest.rows
    assert (first.image, first.frame, first.patient_id) == ("a/1.dcm", 0, "P1")
    assert (first.study_instance_uid, first.split, first.labels) == ("1.2", "train", (1.0,))
    assert first.groups == {"sex": "F"}
    assert (second.image, second.frame, second.split) == ("a/2.dcm", 3, "validation")
    assert third.split == "test"
    assert math.isnan(third.labels[0])
    assert manifest.patient_ids_given
    assert manifest.notes == ()
    assert manifest.root == tmp_path
    assert manifest.split("train") == (first,)


def test_addresses_start_at_the_manifests_folder(tmp_path):
    manifest = read(tmp_path, "image,label\na\\b.dcm,1\nx.npz::im,0\n/data/c.dcm,0\n")
    assert [manifest.address(row) for row in manifest.rows] == [
        f"{tmp_path}/a/b.dcm",
        f"{tmp_path}/x.npz::im",
        "/data/c.dcm",
    ]


def test_without_patient_ids_each_image_counts_as_a_patient_and_it_is_said(tmp_path):
    manifest = read(tmp_path, "image,label\na.png,1\nb.png,0\n")
    assert not manifest.patient_ids_given
    assert len({row.patient_id for row in manifest.rows}) == 2
    assert "no patient ids: each image counts as a patient" in manifest.notes[0]


def test_without_patient_ids_slices_of_a_volume_stay_together_and_npz_images_do_not(tmp_path):
    text = "image,frame,label\nv.nii,0,1\nv.nii,1,0\nv.nii::coronal,1,0\nx.npz::i,0,1\nx.npz::i,1,0"
    patients = [row.patient_id for row in read(tmp_path, text).rows]
    assert patients == ["v.nii", "v.nii", "v.nii", "x.npz::i#0", "x.npz::i#1"]


def test_without_patient_ids_images_of_a_study_stay_together(tmp_path):
    manifest = read(tmp_path, "image,study_instance_uid,label\na,1.2,1\nb,1.2,0\nc,1.3,0\n")
    assert [row.patient_id for row in manifest.rows] == ["1.2", "1.2", "1.3"]
    assert "each study counts as a patient" in manifest.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na,1\n", "no column 'image'; .*The columns are file, label. Rename it, or"),
        ("image,patient_id,label\na,P1,1\nb,,0\n", "no patient_id in row 3, while other rows have"),
        ("image,label\na,1\n,0\n", "row 3 has an empty image; give the file's path"),
        ("image,label\na,1\n./a,0\n", "rows 2 and 3 are the same image, a frame 0; keep one"),
        ("image,frame,label\na,1.5,1\nb,,0\n", "row 2, column 'frame': 1.5; accepted are whole"),
        ("image,frame,label\na,-1,1\nb,,0\n", "column 'frame': -1;"),
        ("image,frame,label\na,1e300,1\nb,,0\n", "column 'frame': 1e300; .* and below 2147483648"),
        ("image,frame,label\na,one,1\nb,,0\n", "column 'frame': no number;"),
        ("image,split,label\na,dev,1\nb,,0\n", "row 2, column 'split': 'dev'; accepted are train"),
        ("image,label\na,2\nb,maybe\n", "row 3: 'maybe' stands among numbers"),
    ],
)
def test_bad_manifests_are_refused(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, text)


def test_no_message_names_a_patient(tmp_path):
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, "image,patient_id,label\na,Jane^Doe,1\nb,,0\n")
    assert "Jane" not in str(caught.value)


def test_an_outside_manifest_is_read_as_the_model_was_taught(tmp_path):
    schema = LabelSchema("binary", ("sick",), ("dx",), ("well", "sick"))
    manifest = read(tmp_path, "image,dx\na,sick\nb,sick\n", schema=schema)
    assert [row.labels for row in manifest.rows] == [(1.0,), (1.0,)]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize(
    ("text", "options", "columns"),
    [
        (FULL, {}, ["image", "frame", "patient_id", "study_instance_uid", "split", "label", "sex"]),
        (
            "image,dx\na,x\nb,y\n",
            {"findings": ["dx"], "positive": "y"},
            ["image", "frame", "label_y"],
        ),
        ("image,label\na,x\nb,y\nc,z\n", {}, ["image", "frame", "label"]),
        (
            "image,label_a,label_b,label_c\na,1,,x\nb,0,1,y\n",
            {"findings": ["label_a", "label_b"]},
            ["image", "frame", "label_a", "label_b", "group_label_c"],
        ),
    ],
)
def test_a_written_manifest_reads_back_without_options(tmp_path, name, text, options, columns):
    manifest = read(tmp_path, text, **options)
    write_manifest(manifest, tmp_path / name)
    again = read_manifest(tmp_path / name)
    assert again.schema.findings == manifest.schema.findings
    assert again.schema.kind == manifest.schema.kind
    assert repr([(r.image, r.frame, r.patient_id, r.split, r.labels) for r in again.rows]) == repr(
        [(r.image, r.frame, r.patient_id, r.split, r.labels) for r in manifest.rows]
    )
    write_manifest(manifest, tmp_path / "columns.csv")
    assert (tmp_path / "columns.csv").read_text().splitlines()[0].split(",") == columns


def test_a_manifest_written_elsewhere_still_points_to_its_images(tmp_path):
    manifest = read(tmp_path, "image,label\na/1.dcm,1\nx.npz::im,0\n")
    write_manifest(manifest, tmp_path / "runs" / "one" / "m.csv")
    again = read_manifest(tmp_path / "runs" / "one" / "m.csv")
    assert [row.image for row in again.rows] == ["../../a/1.dcm", "../../x.npz::im"]
    assert Path(again.address(again.rows[0])).resolve() == tmp_path / "a" / "1.dcm"


def test_a_manifest_survives_pickling(tmp_path):
    manifest = read(tmp_path, "image,label,sex\na,1,F\nb,0,M\n")
    assert pickle.loads(pickle.dumps(manifest)) == manifest
    assert len({*manifest.rows}) == 2


def test_rows_are_selected_by_column_and_value(tmp_path):
    manifest = read(tmp_path, FULL.replace("Test,,", "Test,,F"))
    assert [row.frame for row in select_rows(manifest, ["sex=F"]).rows] == [0, 7]
    assert [row.frame for row in select_rows(manifest, ["sex=F", "split=test"]).rows] == [7]
    assert select_rows(manifest, []) == manifest


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("sex", "where='sex': expects column=value"),
        ("sx=F", "did you mean 'sex'"),
        ("sex=X", "where='sex=X': no row is left"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(tmp_path, condition, message):
    with pytest.raises(ManifestError, match=message):
        select_rows(read(tmp_path, FULL), [condition])


def test_missing_files_are_named_and_counted(tmp_path):
    (tmp_path / "0.png").touch()
    rows = "".join(f"{i}.png,{i % 2}\n" for i in range(8))
    manifest = read(tmp_path, f"image,label\n{rows}")
    message = (
        r"7 of 8 image files do not exist: 1\.png \(row 3\), 2\.png \(row 4\), .* and 2 more; "
        "addresses are relative to the manifest's folder"
    )
    with pytest.raises(ManifestError, match=message):
        check_files(manifest)


def test_files_that_exist_pass_members_included(tmp_path):
    (tmp_path / "x.npz").touch()
    check_files(read(tmp_path, "image,frame,label\nx.npz::a,0,1\nx.npz::a,1,0\n"))


def test_a_class_missing_in_a_split_is_named(tmp_path):
    text = "image,split,label\na,train,1\nb,train,0\nc,validation,0\nd,test,1\n"
    with pytest.raises(ManifestError) as caught:
        check_classes(read(tmp_path, text))
    assert "validation has no positive image of 'label'" in str(caught.value)
    assert "test has no negative image of 'label'" in str(caught.value)
    assert "train" not in str(caught.value)


def test_one_class_only_is_refused_without_splits_too(tmp_path):
    with pytest.raises(ManifestError, match="the manifest has no positive image of 'label'"):
        check_classes(read(tmp_path, "image,label\na,0\nb,0\n"))
    check_classes(read(tmp_path, "image,label\na,0\nb,1\n"))
