"""Splits: by patient, stratified, deterministic, and given ones kept."""

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medres.data.labels import LabelSchema
from medres.data.manifest import SPLITS, Manifest, ManifestRow, check_classes
from medres.data.prepare import PrepareOptions, prepare_manifest
from medres.data.splits import assign_splits, check_splits
from medres.errors import ConfigError, LeakageError, ManifestError


def manifest(patients, kind="binary", ids_given=True):
    """Patients as [(id, [labels of each image])] or with a split as a third entry."""
    rows = []
    for patient, images, *split in patients:
        for image in images:
            labels = image if isinstance(image, tuple) else (image,)
            rows.append(ManifestRow(f"{len(rows)}.png", 0, patient, "", *(split or [None]), labels))
    names = tuple(f"f{index}" for index in range(len(rows[0].labels)))
    return Manifest(Path(), tuple(rows), LabelSchema(kind, names, names), ids_given)


def splits_of(made):
    return {row.patient_id: row.split for row in made.rows}


def patients_of(positive, negative, images=2):
    yes = [(f"P{i}", [1.0] * images) for i in range(positive)]
    return yes + [(f"N{i}", [0.0] * images) for i in range(negative)]


def test_patients_are_split_in_the_fractions_of_each_class():
    made = assign_splits(manifest(patients_of(50, 200)))
    counts = Counter((split, patient[0]) for patient, split in splits_of(made).items())
    assert [counts[split, "P"] for split in SPLITS] == [30, 10, 10]
    assert [counts[split, "N"] for split in SPLITS] == [120, 40, 40]


def test_all_images_of_a_patient_stand_in_one_split():
    made = assign_splits(manifest([(f"P{i}", [i % 2, (i + 1) % 2, 1]) for i in range(30)]))
    check_splits(made)


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 30), st.integers(3, 30), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(positive, negative, seed, shuffler):
    made = manifest(patients_of(positive, negative))
    shuffled = replace(made, rows=tuple(shuffler.sample(made.rows, len(made.rows))))
    assert splits_of(assign_splits(made, seed=seed)) == splits_of(
        assign_splits(shuffled, seed=seed)
    )


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    made = manifest(patients_of(20, 20))
    first = splits_of(assign_splits(made, seed=0))
    assert splits_of(assign_splits(made, seed=0)) == first
    assert splits_of(assign_splits(made, seed=1)) != first


def test_the_split_of_a_seed_does_not_change_between_versions():
    made = assign_splits(manifest(patients_of(4, 4, images=1)), seed=0)
    assert splits_of(made) == GOLDEN


GOLDEN = {
    **{"N0": "test", "N1": "validation", "N2": "train", "N3": "train"},
    **{"P0": "validation", "P1": "train", "P2": "train", "P3": "test"},
}


@settings(max_examples=100, deadline=None)
@given(st.integers(3, 12), st.integers(3, 12), st.integers(0, 3), st.integers(0, 20))
def test_every_split_gets_both_classes_whenever_there_are_three_patients_of_each(
    positive, negative, mixed, seed
):
    patients = patients_of(positive, negative) + [(f"M{i}", [0.0, 1.0]) for i in range(mixed)]
    check_classes(assign_splits(manifest(patients), seed=seed))


@pytest.mark.parametrize("seed", range(40))
def test_multilabel_findings_that_occur_together_reach_every_split(seed):
    draw = random.Random(seed).random
    shares = (0.05, 0.3, 0.5)
    patients = [(f"P{i}", [tuple(float(draw() < p) for p in shares)]) for i in range(120)]
    patients += [(f"R{i}", [(1.0, 1.0, 1.0)]) for i in range(3)]
    made = assign_splits(manifest(patients, kind="multilabel"), seed=seed)
    check_classes(made)
    for finding in range(3):
        carried = sum(row.labels[finding] for row in made.rows)
        in_train = sum(row.labels[finding] for row in made.split("train"))
        assert abs(in_train - 0.6 * carried) <= max(2, 0.1 * carried)


# Found by search: the first three need the repair at the end, the others the rule for a class's
# last patients; without either, one set in six loses a class in a split.
@pytest.mark.parametrize("seed", [35, 92, 172, 508, 1146, 1255])
def test_small_sets_with_findings_that_occur_together_reach_every_split(seed):
    draw = random.Random(seed)
    findings, patients = draw.randint(1, 4), draw.randint(5, 25)
    shares = [draw.choice([0.1, 0.2, 0.5, 0.8]) for _ in range(findings)]
    images = [
        [tuple(float(draw.random() < p) for p in shares) for _ in range(draw.choice([1, 1, 2]))]
        for _ in range(patients)
    ]
    made = manifest([(f"P{i}", labels) for i, labels in enumerate(images)], kind="multilabel")
    check_classes(assign_splits(made, seed=seed))


@pytest.mark.parametrize("seed", range(5))
def test_patients_without_the_finding_reach_every_split_among_many_mixed_ones(seed):
    mixed = [(f"M{i}", [0.0, 1.0]) for i in range(40)]
    made = splits_of(assign_splits(manifest(mixed + patients_of(0, 3)), seed=seed))
    assert {made[f"N{i}"] for i in range(3)} == set(SPLITS)


def test_multiclass_splits_every_class():
    classes = [tuple(float(c == i % 4) for c in range(4)) for i in range(40)]
    made = assign_splits(
        manifest([(f"P{i}", [labels]) for i, labels in enumerate(classes)], kind="multiclass")
    )
    counts = Counter((row.split, row.labels) for row in made.rows)
    assert {counts["train", labels] for labels in classes} == {6}
    assert {counts["test", labels] for labels in classes} == {2}


def test_patients_without_any_label_are_split_too():
    patients = [*patients_of(10, 10), *((f"U{i}", [math.nan]) for i in range(10))]
    made = splits_of(assign_splits(manifest(patients)))
    counts = Counter(split for patient, split in made.items() if patient[0] == "U")
    assert [counts[split] for split in SPLITS] == [6, 2, 2]


def test_given_splits_are_kept():
    patients = [(f"P{i}", [i % 2], SPLITS[i % 3]) for i in range(12)]
    made = manifest(patients)
    assert assign_splits(made) == made


def test_a_validation_split_is_made_from_trains_patients():
    train = [(p, images, "train") for p, images in patients_of(40, 40)]
    test = [("T1", [1.0], "test"), ("T0", [0.0], "test")]
    made = splits_of(assign_splits(manifest(train + test)))
    assert made["T1"] == made["T0"] == "test"
    counts = Counter(split for patient, split in made.items() if patient[0] != "T")
    assert counts == {"train": 60, "validation": 20}


def test_patients_without_a_split_go_to_the_splits_that_are_not_given():
    test = [("T1", [1.0], "test"), ("T0", [0.0], "test")]
    made = splits_of(assign_splits(manifest(patients_of(20, 20) + test)))
    assert Counter(made.values()) == {"train": 30, "validation": 10, "test": 2}


def test_a_patients_open_rows_follow_its_given_ones():
    patients = [*patients_of(20, 20), ("T", [1.0], "test"), ("T", [0.0])]
    made = assign_splits(manifest(patients))
    assert {row.split for row in made.rows if row.patient_id == "T"} == {"test"}


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        (
            patients_of(2, 9),
            "2 patients with 'f0', and train and validation and test need one each",
        ),
        (patients_of(9, 1), "1 patients without 'f0', and train and validation and test need"),
        ([("P", [1.0]), ("N", [0.0])], "2 patients to split, and train and validation and test"),
        (
            [("A", [1], "train"), ("B", [1], "validation"), ("C", [1], "test"), ("D", [1])],
            "1 rows have no split, while train, validation and test are all given: row 5; fill",
        ),
        (
            [("A", [1], "train"), ("B", [0], "validation")],
            "no row has the split test; mark some, or empty the split column",
        ),
        ([("A", [1], "test"), ("B", [0], "test")], "no row has the split train or validation"),
    ],
)
def test_splits_that_cannot_be_made_are_refused(patients, message):
    with pytest.raises(ManifestError, match=message):
        assign_splits(manifest(patients))


def test_too_few_images_are_called_images_where_patients_are_unknown():
    with pytest.raises(ManifestError, match="2 images with 'f0'"):
        assign_splits(manifest(patients_of(2, 9), ids_given=False))


@pytest.mark.parametrize("fractions", [(0.6, 0.4, 0.0), (0.6, 0.3, 0.2), (1.2, -0.1, -0.1)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="give three positive ones that add up to 1"):
        assign_splits(manifest(patients_of(9, 9)), fractions=fractions)


LEAK = [("Jane", [1.0], "train"), ("N", [0.0], "train"), ("Jane", [1.0, 0.0], "test")]


@pytest.mark.parametrize("check", [check_splits, assign_splits])
def test_a_patient_in_two_splits_is_refused_by_rows_and_never_named(check):
    message = r"a patient stands in two splits: train \(row 2\) and test \(rows 4, 5\)\. Put all"
    with pytest.raises(LeakageError, match=message) as caught:
        check(manifest(LEAK))
    assert "Jane" not in str(caught.value)


def test_many_leaks_are_counted():
    patients = [(f"P{i}", [1.0], split) for i in range(8) for split in ("train", "test")]
    with pytest.raises(LeakageError, match=r"; and 3 more\. Put all its rows in one"):
        check_splits(manifest(patients))


def test_a_study_in_two_splits_is_refused_whatever_the_patient_ids_say():
    made = manifest([("A", [1.0], "train"), ("B", [0.0], "test")])
    rows = tuple(replace(row, study_instance_uid="1.2.3") for row in made.rows)
    with pytest.raises(LeakageError, match=r"a study stands in two splits: train \(row 2\) and te"):
        check_splits(replace(made, rows=rows))


def test_a_study_of_two_patients_cannot_be_split():
    made = manifest(patients_of(9, 9))
    rows = tuple(replace(row, study_instance_uid="1.2.3") for row in made.rows[:3])
    message = "a study has images of two patients: rows 2, 3, 4; give its images one patient_id"
    with pytest.raises(ManifestError, match=message):
        assign_splits(replace(made, rows=rows + made.rows[3:]))


def test_rows_without_a_split_are_refused():
    with pytest.raises(ManifestError, match="1 rows have no split: row 3; fill the column with tr"):
        check_splits(manifest([("A", [1.0], "train"), ("B", [0.0])]))


def test_kermanys_patients_stay_together_and_classes_balanced(test_data, tmp_path):
    folder = test_data / "data" / "kermany_chest"
    prepared = prepare_manifest(
        folder,
        folder / "labels.csv",
        out=tmp_path / "m.csv",
        options=PrepareOptions(findings=["label"], positive="PNEUMONIA"),
    )
    shuffled = list(prepared.manifest.rows)
    random.Random(1).shuffle(shuffled)
    made = assign_splits(prepared.manifest)
    check_splits(made)
    check_classes(made)
    again = assign_splits(replace(made, rows=tuple(replace(row, split=None) for row in shuffled)))
    assert splits_of(made) == splits_of(again)
    sizes = Counter(splits_of(made).values())
    assert sizes["train"] == pytest.approx(0.6 * 741, abs=2)
    positives = {s: len({r.patient_id for r in made.split(s) if r.labels[0]}) for s in SPLITS}
    assert positives["test"] == pytest.approx(positives["validation"], abs=1)
