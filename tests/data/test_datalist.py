import json
import math

import numpy as np
import pytest
from PIL import Image

from medres.data.datalist import as_items, check_items, find_images, read_datalist
from medres.data.labels import LabelSchema
from medres.errors import ManifestError

BINARY = LabelSchema("binary", ("opacity",), ("label",))
TWO = LabelSchema("multilabel", ("opacity", "nodule"), ("label_opacity", "label_nodule"))
CLASSES = LabelSchema("multiclass", ("a", "b", "c"), ("label",))


def written(folder, **lists):
    path = folder / "datalist.json"
    path.write_text(json.dumps(lists))
    return path


def test_json_list_becomes_items_of_one_split(tmp_path):
    path = written(
        tmp_path,
        name="of a hospital",
        training=[{"image": "a.dcm", "label": 1, "patient_id": "p1"}],
        validation=[
            {"image": "sub/b.nii.gz::coronal", "frame": 3, "label": [0], "patient_id": 2},
        ],
    )
    assert read_datalist(path, "validation", BINARY) == [
        {
            "image": f"{tmp_path}/sub/b.nii.gz::coronal",
            "frame": 3,
            "label": [0.0],
            "patient_id": "2",
        }
    ]
    assert [item["label"] for item in read_datalist(path, "all", BINARY)] == [[1.0], [0.0]]
    assert read_datalist(path, "test", BINARY) == []
    assert read_datalist(path, "train", BINARY.as_json()) == read_datalist(path, "train", BINARY)


def test_manifest_becomes_the_same_items(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("image,label,patient_id,split\na.dcm,1,p1,train\nb.dcm,,p2,test\n")
    (item,) = read_datalist(path, "train", BINARY)
    assert item == {
        "image": f"{tmp_path}/a.dcm",
        "frame": 0,
        "label": [1.0],
        "patient_id": "p1",
    }
    assert math.isnan(read_datalist(path, "test", BINARY)[0]["label"][0])


def test_items_without_patients_have_no_key_for_them(tmp_path):
    path = written(tmp_path, training=[{"image": "a.dcm", "label": 1}])
    assert "patient_id" not in read_datalist(path, "train", BINARY)[0]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([1, 0], [1, 0]),
        ([1, None], [1, math.nan]),
        ({"nodule": 1}, [math.nan, 1]),
        ([True, 0.0], [1, 0]),
    ],
)
def test_several_findings_are_read_from_lists_and_objects(tmp_path, label, expected):
    path = written(tmp_path, training=[{"image": "a.dcm", "label": label}])
    np.testing.assert_equal(read_datalist(path, "train", TWO)[0]["label"], expected)


@pytest.mark.parametrize("label", ["b", 1, [0, 1, 0]])
def test_class_is_read_by_name_place_and_one_hot(tmp_path, label):
    path = written(tmp_path, training=[{"image": "a.dcm", "label": label}])
    assert read_datalist(path, "train", CLASSES)[0]["label"] == [0.0, 1.0, 0.0]


def test_words_of_the_training_table_are_its_own(tmp_path):
    words = LabelSchema("binary", ("PNEUMONIA",), ("diagnosis",), ("NORMAL", "PNEUMONIA"))
    path = written(tmp_path, training=[{"image": "a.dcm", "label": 1}])
    assert read_datalist(path, "train", words)[0]["label"] == [1.0]


@pytest.mark.parametrize(
    ("schema", "label", "message"),
    [
        (BINARY, 2, r"training\[0\]: label 2 does not fit; give 1 of 0, 1 or null, for opacity"),
        (TWO, [1], r"label \[1\] does not fit; give 2 of 0, 1 or null, for opacity, nodule"),
        (TWO, {"mass": 1}, "does not fit"),
        (CLASSES, "d", r"label 'd' is no class; give one of a, b, c, its place from 0, or a list"),
        (CLASSES, 3, "label 3 is no class"),
        (CLASSES, [1, 1, 0], r"label \[1, 1, 0\] is no class"),
        (CLASSES, [1, "x", 0], "is no class"),
        (BINARY, -1, "'-1' is no label"),
    ],
)
def test_label_that_does_not_fit_is_refused(tmp_path, schema, label, message):
    path = written(tmp_path, training=[{"image": "a.dcm", "label": label}])
    with pytest.raises(ManifestError, match=message):
        read_datalist(path, "train", schema)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON; give a data list or a manifest"),
        ("[]", "holds no list named training, validation or test"),
        ('{"images": []}', "holds no list named training, validation or test"),
        ('{"training": ["a.dcm"]}', r'training is no list of {"image": ..., "label": ...}'),
        ('{"training": [{"label": 1}]}', "empty image; give the file's path"),
    ],
)
def test_other_json_is_refused(tmp_path, text, message):
    (tmp_path / "datalist.json").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_datalist(tmp_path / "datalist.json", "train", BINARY)


def test_unknown_split_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="'holdout' is not accepted; give one of train, valid"):
        read_datalist(tmp_path / "datalist.json", "holdout", BINARY)


def test_missing_list_is_refused_unless_it_is_only_looked_at(tmp_path):
    with pytest.raises(ManifestError, match="no such file; give a manifest or a"):
        read_datalist(tmp_path / "datalist.json", "train", BINARY)
    assert read_datalist(tmp_path / "datalist.json", "train", BINARY, missing_ok=True) == []


def test_nothing_to_run_on_is_refused():
    check_items([{"image": "a"}], "datalist.json")
    with pytest.raises(ManifestError, match=r"datalist\.json: no such data, or no image of this"):
        check_items([], "datalist.json")


def test_images_are_found_by_content_with_every_frame(tmp_path):
    Image.new("L", (4, 3)).save(tmp_path / "no_suffix", format="PNG")
    (tmp_path / "notes.txt").write_text("no image")
    np.save(tmp_path / "stack.npy", np.zeros((2, 4, 4), np.uint8))
    found = find_images(tmp_path)
    assert found == [
        {"image": str(tmp_path / "no_suffix"), "frame": 0},
        {"image": str(tmp_path / "stack.npy"), "frame": 0},
        {"image": str(tmp_path / "stack.npy"), "frame": 1},
    ]
    assert find_images(tmp_path / "absent") == []


def test_addresses_and_items_are_taken_alike():
    assert as_items(["a.dcm", {"image": "b.dcm", "frame": 2}]) == [
        {"image": "a.dcm", "frame": 0},
        {"image": "b.dcm", "frame": 2},
    ]
