"""Folds for cross-validation: every image is a test image once, in the fold of its patient.

Patients are dealt out as in `medres.data.splits`, stratified by label. Patients who share a picture
go to one fold together, so that nothing need be left out for leakage.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

from medres.data.manifest import Manifest, Split
from medres.data.splits import Stratification, check_studies, patient_strata
from medres.errors import ConfigError, ManifestError

FEWEST_FOLDS = 3


def assign_folds(
    manifest: Manifest, pictures: Mapping[tuple[str, int], Hashable], *, folds: int, seed: int = 0
) -> tuple[int, ...]:
    """The fold of every row, from 0; a split in the manifest is not looked at.

    Args:
        manifest: of all images.
        pictures: what identifies the pixels of each (image, frame), such as a digest.
        folds: how many, at least 3: one to test, one to validate, the others to train.
        seed: another one gives other folds of the same patients.

    Raises:
        ConfigError: fewer than 3 folds.
        ManifestError: too few patients of a class to have one in each fold, or a study of two
            patients.
    """
    if folds < FEWEST_FOLDS:
        raise ConfigError(
            f"folds: {folds} is not accepted; give {FEWEST_FOLDS} or more: one to test, one to "
            "validate and the others to train"
        )
    check_studies(manifest)
    group = _groups((row.patient_id, pictures[row.image, row.frame]) for row in manifest.rows)
    rows = tuple(replace(row, patient_id=group[row.patient_id]) for row in manifest.rows)
    strata = patient_strata(replace(manifest, rows=rows), group.values())
    _check_enough(manifest, strata.values(), folds)
    shares = dict.fromkeys(range(folds), 1 / folds)
    assigned = Stratification(strata, shares, seed).assign()
    return tuple(assigned[row.patient_id] for row in rows)


def split_by_fold(manifest: Manifest, fold_of_row: tuple[int, ...], fold: int) -> Manifest:
    """The manifest of one run: `fold` is its test, the next one its validation split."""
    folds = max(fold_of_row) + 1
    names: dict[int, Split] = {fold: "test", (fold + 1) % folds: "validation"}
    rows = tuple(
        replace(row, split=names.get(own, "train"))
        for row, own in zip(manifest.rows, fold_of_row, strict=True)
    )
    return replace(manifest, rows=rows)


def _groups(pairs: Iterable[tuple[str, Hashable]]) -> dict[str, str]:
    """One name for all patients who are linked by equal pictures: the first of them."""
    parent: dict[str, str] = {}

    def root(patient: str) -> str:
        while parent[patient] != patient:
            patient = parent[patient] = parent[parent[patient]]
        return patient

    owner: dict[Hashable, str] = {}
    for patient, picture in pairs:
        parent.setdefault(patient, patient)
        first, second = sorted((root(patient), root(owner.setdefault(picture, patient))))
        parent[second] = first
    return {patient: root(patient) for patient in parent}


def _check_enough(
    manifest: Manifest, strata: Iterable[frozenset[tuple[str, str]]], folds: int
) -> None:
    counts = Counter(stratum for carried in strata for stratum in carried)
    unit = "patients" if manifest.patient_ids_given else "images"
    values = ("1",) if manifest.schema.kind == "multiclass" else ("1", "0")
    for finding in manifest.schema.findings:
        for value in values:
            if counts[finding, value] < folds:
                word = "with" if value == "1" else "without"
                raise ManifestError(
                    f"{counts[finding, value]} {unit} {word} {finding!r}, and each of {folds} "
                    f"folds needs one at least; give fewer folds, add {unit}, or leave the finding "
                    "out with `findings`"
                )


def count_links(manifest: Manifest, pictures: Mapping[tuple[str, int], Hashable]) -> int:
    """Pictures that several patients share, who for that reason stand in one fold."""
    owners: dict[Hashable, set[str]] = defaultdict(set)
    for row in manifest.rows:
        owners[pictures[row.image, row.frame]].add(row.patient_id)
    return sum(len(patients) > 1 for patients in owners.values())
