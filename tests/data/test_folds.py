"""Folds by patient: each image tested once, equal shares of each class, pictures kept together."""

from collections import Counter
from pathlib import Path

import pytest

from medres.data.folds import assign_folds, count_links, split_by_fold
from medres.data.labels import LabelSchema
from medres.data.manifest import Manifest, ManifestRow
from medres.errors import ConfigError, ManifestError


def build(patients: list[str], labels: list[int], *, given: bool = True) -> Manifest:
    rows = tuple(
        ManifestRow(f"{index}.png", 0, patient, "", None, (float(label),))
        for index, (patient, label) in enumerate(zip(patients, labels, strict=True))
    )
    return Manifest(Path(), rows, LabelSchema("binary", ("f",), ("label",)), given)


def own_pictures(manifest: Manifest) -> dict[tuple[str, int], str]:
    return {(row.image, row.frame): row.image for row in manifest.rows}


@pytest.fixture
def manifest() -> Manifest:
    patients = [f"p{index // 2}" for index in range(120)]  # two images each
    return build(patients, [int(index // 2 % 3 == 0) for index in range(120)])


def test_every_image_is_a_test_image_once(manifest: Manifest) -> None:
    folds = assign_folds(manifest, own_pictures(manifest), folds=5)
    tested = Counter()
    for fold in range(5):
        split = split_by_fold(manifest, folds, fold)
        tested.update(row.image for row in split.split("test"))
        sides = [{row.patient_id for row in split.split(n)} for n in ("train", "validation")]
        sides.append({row.patient_id for row in split.split("test")})
        assert not sides[0] & sides[1]
        assert not sides[2] & (sides[0] | sides[1])
        assert len(split.split("train")) == 72
    assert set(tested.values()) == {1}
    assert len(tested) == 120


def test_folds_are_stratified_and_repeatable(manifest: Manifest) -> None:
    folds = assign_folds(manifest, own_pictures(manifest), folds=5)
    positives = Counter(
        fold for fold, row in zip(folds, manifest.rows, strict=True) if row.labels[0]
    )
    assert set(positives.values()) == {8}  # 20 patients with it, two images each, five folds
    assert folds == assign_folds(manifest, own_pictures(manifest), folds=5)
    assert folds != assign_folds(manifest, own_pictures(manifest), folds=5, seed=1)


def test_patients_who_share_a_picture_stand_in_one_fold() -> None:
    manifest = build([f"p{index}" for index in range(30)], [index % 2 for index in range(30)])
    pictures = own_pictures(manifest)
    pictures["3.png", 0] = pictures["9.png", 0] = "same"
    pictures["10.png", 0] = pictures["21.png", 0] = "other"
    pictures["9.png", 0] = "same"
    manifest_rows = assign_folds(manifest, pictures, folds=3)
    assert manifest_rows[3] == manifest_rows[9]
    assert manifest_rows[10] == manifest_rows[21]
    assert count_links(manifest, pictures) == 2
    assert count_links(manifest, own_pictures(manifest)) == 0


def test_a_chain_of_shared_pictures_is_one_group() -> None:
    patients = ["a", "b", "b", "c", "c", "d", *(f"p{index}" for index in range(12))]
    manifest = build(patients, [index % 2 for index in range(18)])
    pictures = own_pictures(manifest)
    pictures["0.png", 0] = pictures["1.png", 0] = "a-b"
    pictures["2.png", 0] = pictures["3.png", 0] = "b-c"
    pictures["4.png", 0] = pictures["5.png", 0] = "c-d"
    assert len(set(assign_folds(manifest, pictures, folds=3)[:6])) == 1


def test_too_few_folds_or_patients_are_refused(manifest: Manifest) -> None:
    with pytest.raises(ConfigError, match="folds: 2 is not accepted; give 3 or more: one to test"):
        assign_folds(manifest, own_pictures(manifest), folds=2)
    few = build(["a", "b", "c", "d"], [1, 0, 0, 0])
    with pytest.raises(ManifestError, match="1 patients with 'f', and each of 3 folds needs one"):
        assign_folds(few, own_pictures(few), folds=3)
    few = build(["a", "b", "c", "d"], [1, 0, 1, 1], given=False)
    with pytest.raises(ManifestError, match="1 images without 'f', and each of 3 folds needs one"):
        assign_folds(few, own_pictures(few), folds=3)
