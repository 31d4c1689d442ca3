"""Equal pixels and equal DICOM instances across splits."""

import json
from pathlib import Path

import pytest

from medres.data.labels import LabelSchema
from medres.data.leakage import check_leakage
from medres.data.manifest import Manifest, ManifestRow, read_manifest
from medres.data.prepare import prepare_manifest
from medres.errors import LeakageError, ManifestError
from medres.imaging.read import pixel_digest, read_grayscale


def manifest(*rows, ids_given=True):
    """Rows of (split, label, digest), each of its own patient; and their digests."""
    made = tuple(
        ManifestRow(f"{i}.png", 0, f"Jane{i}", "", split, (float(label),))
        for i, (split, label, _) in enumerate(rows)
    )
    schema = LabelSchema("binary", ("label",), ("label",))
    digests = {(row.image, 0): digest for row, (_, _, digest) in zip(made, rows, strict=True)}
    return Manifest(Path(), made, schema, ids_given), digests


CLEAN = [("train", 0, "a"), ("validation", 1, "b"), ("test", 1, "c")]


def test_images_that_all_differ_pass_unchanged():
    made, digests = manifest(*CLEAN)
    report = check_leakage(made, digests, on_duplicate="error")
    assert report.manifest == made
    assert (report.across_splits, report.within_splits, report.conflicting) == (0, 0, 0)
    assert report.dropped == {"train": 0, "validation": 0}
    assert report.notes == ()


def test_equal_pixels_in_two_splits_are_refused_by_rows_and_nobody_is_named():
    made, digests = manifest(*CLEAN, ("test", 0, "a"), ("train", 1, "a"))
    message = (
        r"1 images stand in two splits with equal pixels .*: train \(rows 2, 6\) and test "
        r"\(row 5\)\. Put copies in one split, or drop those in train with on_duplicate=drop"
    )
    with pytest.raises(LeakageError, match=message) as caught:
        check_leakage(made, digests, on_duplicate="error")
    assert "Jane" not in str(caught.value)


def test_many_pairs_are_counted():
    pairs = [(split, 0, str(i)) for i in range(7) for split in ("train", "test")]
    made, digests = manifest(*pairs)
    with pytest.raises(LeakageError, match=r"^7 images .*; and 2 more\. Put copies"):
        check_leakage(made, digests)


@pytest.mark.parametrize(
    ("splits", "kept", "dropped"),
    [
        (["train", "test"], ["test"], {"train": 1, "validation": 0}),
        (["train", "validation"], ["validation"], {"train": 1, "validation": 0}),
        (["test", "validation"], ["test"], {"train": 0, "validation": 1}),
        (["validation", "train", "test", "train"], ["test"], {"train": 2, "validation": 1}),
        (["train", "test", "test"], ["test", "test"], {"train": 1, "validation": 0}),
    ],
)
def test_copies_are_dropped_where_they_would_be_learnt_from(splits, kept, dropped):
    made, digests = manifest(*CLEAN, *((split, 1, "same") for split in splits))
    report = check_leakage(made, digests, on_duplicate="drop_from_train")
    assert [row.split for row in report.manifest.rows[3:]] == kept
    assert report.manifest.rows[:3] == made.rows[:3]
    assert report.dropped == dropped
    assert f"{sum(dropped.values())} copies were dropped (row" in report.notes[0]
    assert "under two ids" in report.notes[1]
    json.dumps(report.as_json())


def test_without_patient_ids_nothing_is_said_of_them():
    made, digests = manifest(*CLEAN, ("test", 0, "a"), ids_given=False)
    assert len(check_leakage(made, digests, on_duplicate="drop_from_train").notes) == 1


def test_copies_inside_one_split_are_kept_and_told():
    made, digests = manifest(*CLEAN, ("train", 0, "a"), ("train", 0, "a"))
    report = check_leakage(made, digests, on_duplicate="error")
    assert report.manifest == made
    assert report.within_splits == 1
    assert report.notes == ("2 images are copies of another in the same split; they were kept.",)


def test_equal_pixels_with_different_labels_are_told():
    made, digests = manifest(*CLEAN, ("train", 1, "a"), ("test", float("nan"), "c"))
    report = check_leakage(made, digests, on_duplicate="error")
    assert report.conflicting == 1
    assert "equal pixels and different labels (rows 2, 5)" in report.notes[1]


def test_the_same_instance_leaks_even_where_pixels_differ():
    made, digests = manifest(*CLEAN)
    uids = {("0.png", 0): "1.2.3", ("2.png", 0): "1.2.3"}
    with pytest.raises(LeakageError, match="or as the same DICOM instance: train"):
        check_leakage(made, digests, sop_instance_uids=uids)


def test_frames_of_one_instance_are_no_copies_of_each_other():
    rows = tuple(
        ManifestRow("a.dcm", frame, "P", "", "train", (float(frame),)) for frame in range(2)
    )
    made = Manifest(Path(), rows, LabelSchema("binary", ("f",), ("f",)), True)
    keys = [("a.dcm", 0), ("a.dcm", 1)]
    uids = dict.fromkeys(keys, "1.2.3")
    report = check_leakage(made, dict(zip(keys, "xy", strict=True)), sop_instance_uids=uids)
    assert report.within_splits == 0


def test_chains_of_copies_are_one_group():
    # 0 and 1 share pixels, 1 and 2 the instance.
    made, digests = manifest(("train", 0, "a"), ("train", 0, "a"), ("test", 0, "b"))
    uids = {("1.png", 0): "1.2.3", ("2.png", 0): "1.2.3"}
    report = check_leakage(made, digests, sop_instance_uids=uids, on_duplicate="drop_from_train")
    assert [row.image for row in report.manifest.rows] == ["2.png"]


def test_an_image_that_links_two_others_joins_them_in_whatever_order():
    # 2 shares its pixels with 0 and its instance with 1.
    made, digests = manifest(("train", 0, "a"), ("test", 0, "b"), ("train", 0, "a"))
    uids = {("1.png", 0): "1.2.3", ("2.png", 0): "1.2.3"}
    report = check_leakage(made, digests, sop_instance_uids=uids, on_duplicate="drop_from_train")
    assert [row.image for row in report.manifest.rows] == ["1.png"]


def test_a_patient_in_two_splits_is_refused_before_pixels_are_compared(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("image,patient_id,split,label\na,P,train,0\nb,P,test,1\n")
    with pytest.raises(LeakageError, match="a patient stands in two splits"):
        check_leakage(read_manifest(path), {})


def test_a_missing_digest_is_refused():
    made, digests = manifest(*CLEAN)
    del digests["1.png", 0]
    with pytest.raises(ManifestError, match="row 3: no digest of its pixels was given"):
        check_leakage(made, digests)


def test_pneumonia_mnists_copies_in_train_and_validation_are_found(test_data, tmp_path):
    source = test_data / "data" / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz"
    made = prepare_manifest(source, None, out=tmp_path / "m.csv").manifest
    digests = {
        (row.image, row.frame): pixel_digest(read_grayscale(made.address(row), row.frame))
        for row in made.rows
    }
    with pytest.raises(LeakageError, match=r"^8 images stand in two splits"):
        check_leakage(made, digests, on_duplicate="error")
    report = check_leakage(made, digests, on_duplicate="drop_from_train")
    assert report.dropped["validation"] == 0
    assert report.dropped["train"] >= 8
    assert len(report.manifest.split("validation")) == 524
    assert len(report.manifest.split("test")) == 624
    check_leakage(report.manifest, digests, on_duplicate="error")
