"""Splits by patient: every image of a patient stands on one side.

The assignment is iterative stratification (Sechidis, Tsoumakas & Vlahavas, ECML PKDD 2011) over
patients: the rarest class is dealt out first, each patient to the split that still wants most of
it. Who comes first within a class is decided by a hash of seed and patient id, so the result
depends on neither the order of the rows nor the machine.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from medres.data.manifest import SPLITS, Manifest, Split
from medres.data.table import format_rows
from medres.errors import ConfigError, LeakageError, ManifestError

SHOWN = 5
# A class that a patient carries: a finding, and "1" or "0" for an image with or without it, or
# "none" for a patient without any image that has it, which is what a patient's label goes by.
Stratum = tuple[str, str]


def check_splits(manifest: Manifest) -> None:
    """Refuse a manifest in which a row has no split, or a patient or a study has two.

    Raises:
        ManifestError: rows without a split.
        LeakageError: naming rows and splits, never the patient.
    """
    open_rows = [index for index, row in enumerate(manifest.rows) if row.split is None]
    if open_rows:
        raise ManifestError(
            f"{len(open_rows)} rows have no split: {format_rows(open_rows)}; fill the column with "
            f"{', '.join(SPLITS)}, or leave all of it empty to have it assigned"
        )
    _check_patients(manifest)


def _check_patients(manifest: Manifest) -> None:
    _check_one_split(manifest, "patient", [row.patient_id for row in manifest.rows])
    _check_one_split(manifest, "study", [row.study_instance_uid for row in manifest.rows])


def _check_one_split(manifest: Manifest, what: str, ids: Sequence[str]) -> None:
    """Every id stands in one split; rows without an id or a split are passed by."""
    rows: dict[str, dict[Split, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (row, name) in enumerate(zip(manifest.rows, ids, strict=True)):
        if name and row.split is not None:
            rows[name][row.split].append(index)
    leaks = [by_split for by_split in rows.values() if len(by_split) > 1]
    if leaks:
        shown = "; ".join(
            " and ".join(
                f"{split} ({format_rows(leak[split])})" for split in SPLITS if split in leak
            )
            for leak in leaks[:SHOWN]
        )
        more = f"; and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
        raise LeakageError(
            f"a {what} stands in two splits: {shown}{more}. Put all its rows in one, or empty the "
            "split column to have it assigned by patient"
        )


def assign_splits(
    manifest: Manifest,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Manifest:
    """Give every row a split, by patient, stratified by label.

    Given splits are kept. Patients without one go to the splits that the table does not name at
    all. A table that names train and test only gets its validation from train's patients.

    Args:
        manifest: with or without splits.
        fractions: of patients, for train, validation and test; positive, adding up to 1.
        seed: another one gives another split of the same patients.

    Raises:
        ConfigError: impossible fractions.
        LeakageError: a patient or study that already stands in two splits.
        ManifestError: too few patients of a class to have one in each split, or rows without a
            split where nothing says which they are to get.
    """
    if min(fractions) <= 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ConfigError(f"fractions: {fractions}; give three positive ones that add up to 1")
    _check_patients(manifest)
    given = {row.patient_id: row.split for row in manifest.rows if row.split is not None}
    pool, wanted = _to_assign(manifest, given)
    if not wanted:
        return _with_splits(manifest, given)
    check_studies(manifest)
    shares = {split: fractions[SPLITS.index(split)] for split in wanted}
    total = sum(shares.values())
    shares = {split: share / total for split, share in shares.items()}
    strata = patient_strata(manifest, pool)
    _check_enough(manifest, strata, wanted)
    assigned = Stratification(strata, shares, seed).assign()
    return _with_splits(manifest, {**given, **assigned})


def check_studies(manifest: Manifest) -> None:
    """Refuse a study of two patients: it could be split, and one of the ids is wrong.

    Raises:
        ManifestError: naming its rows.
    """
    rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(manifest.rows):
        if row.study_instance_uid:
            rows[row.study_instance_uid][row.patient_id].append(index)
    for patients in rows.values():
        if len(patients) > 1:
            raise ManifestError(
                "a study has images of two patients: "
                f"{format_rows(i for indices in patients.values() for i in indices)}; give its "
                "images one patient_id"
            )


def _to_assign(manifest: Manifest, given: Mapping[str, Split]) -> tuple[set[str], list[Split]]:
    """Patients to assign, and the splits to assign them to."""
    pool = {row.patient_id for row in manifest.rows} - given.keys()
    named = set(given.values())
    if pool:
        wanted = [split for split in SPLITS if split not in named]
        if not wanted:
            rows = [i for i, row in enumerate(manifest.rows) if row.patient_id in pool]
            raise ManifestError(
                f"{len(rows)} rows have no split, while train, validation and test are all given: "
                f"{format_rows(rows)}; fill them or delete these rows"
            )
        return pool, wanted
    if named == {"train", "test"}:
        return {name for name, split in given.items() if split == "train"}, ["train", "validation"]
    missing = [split for split in SPLITS if split not in named]
    if missing:
        raise ManifestError(
            f"no row has the split {' or '.join(missing)}; mark some, or empty the split column to "
            "have it assigned (validation alone may be left out)"
        )
    return set(), []


def _with_splits(manifest: Manifest, splits: Mapping[str, Split]) -> Manifest:
    rows = tuple(replace(row, split=splits[row.patient_id]) for row in manifest.rows)
    return replace(manifest, rows=rows)


def patient_strata(manifest: Manifest, pool: Iterable[str]) -> dict[str, frozenset[Stratum]]:
    """The classes that each patient of a pool carries; see `Stratum`."""
    strata: dict[str, set[Stratum]] = {patient: set() for patient in pool}
    multiclass = manifest.schema.kind == "multiclass"
    for row in manifest.rows:
        for finding, label in zip(manifest.schema.findings, row.labels, strict=True):
            if row.patient_id in strata and not math.isnan(label) and (label or not multiclass):
                strata[row.patient_id].add((finding, str(int(label))))
    for carried in strata.values():
        for finding in manifest.schema.findings:
            if (finding, "0") in carried and (finding, "1") not in carried:
                carried.add((finding, "none"))
    return {patient: frozenset(carried) for patient, carried in strata.items()}


def _check_enough(
    manifest: Manifest, strata: Mapping[str, frozenset[Stratum]], wanted: Sequence[Split]
) -> None:
    counts = Counter(stratum for carried in strata.values() for stratum in carried)
    unit = "patients" if manifest.patient_ids_given else "images"
    needs = f"{' and '.join(wanted)} need one each at least"
    if len(strata) < len(wanted):
        raise ManifestError(f"{len(strata)} {unit} to split, and {needs}; add {unit}")
    values = ("1",) if manifest.schema.kind == "multiclass" else ("1", "0")
    for finding in manifest.schema.findings:
        for value in values:
            if counts[finding, value] < len(wanted):
                word = "with" if value == "1" else "without"
                raise ManifestError(
                    f"{counts[finding, value]} {unit} {word} {finding!r}, and {needs}; add "
                    f"{unit}, leave the finding out with `findings`, or fill the split column"
                )


Part = TypeVar("Part", bound=Hashable)


@dataclass
class Stratification(Generic[Part]):
    """One run of the algorithm.

    Args:
        strata: the classes that each patient carries.
        shares: of patients, for each part (a split, a fold); adding up to 1.
        seed: decides among equals.
    """

    strata: Mapping[str, frozenset[Stratum]]
    shares: Mapping[Part, float]
    seed: int

    def assign(self) -> dict[str, Part]:
        """Every patient's part."""
        self.assigned: dict[str, Part] = {}
        self.held: dict[tuple[Stratum, Part], int] = Counter()
        self.size: dict[Part, int] = Counter()
        self.left = Counter(s for carried in self.strata.values() for s in carried)
        self.totals = dict(self.left)
        patients = sorted(self.strata, key=self._rank)
        while +self.left:
            rarest = min(+self.left, key=lambda stratum: (self.left[stratum], stratum))
            for patient in patients:
                if patient not in self.assigned and rarest in self.strata[patient]:
                    self._put(patient, self._neediest(rarest))
        for patient in patients:
            if patient not in self.assigned:
                self._put(patient, max(self.shares, key=self._places_left))
        self._fill_empty(patients)
        return self.assigned

    def _rank(self, patient: str) -> bytes:
        return hashlib.sha256(f"{self.seed}\0{patient}".encode()).digest()

    def _places_left(self, split: Part) -> float:
        return self.shares[split] * len(self.strata) - self.size[split]

    def _neediest(self, stratum: Stratum) -> Part:
        """The split that wants most of a class; the last few go to splits that have none yet."""
        empty = [split for split in self.shares if not self.held[stratum, split]]
        choice = empty if 0 < self.left[stratum] <= len(empty) else list(self.shares)
        return max(
            choice,
            key=lambda split: (
                self.shares[split] * self.totals[stratum] - self.held[stratum, split],
                self._places_left(split),
            ),
        )

    def _put(self, patient: str, split: Part) -> None:
        self.assigned[patient] = split
        self.size[split] += 1
        for stratum in self.strata[patient]:
            self.held[stratum, split] += 1
            self.left[stratum] -= 1

    def _fill_empty(self, patients: Sequence[str]) -> None:
        """Move a patient to each split without a class, where another split can spare one.

        Needed where findings occur together, and dealing out one emptied another.
        """
        for stratum in sorted(self.totals):
            for split in self.shares:
                if self.held[stratum, split]:
                    continue
                donor = next((p for p in patients if self._can_spare(p, stratum)), None)
                if donor is not None:
                    self._move(donor, split)

    def _can_spare(self, patient: str, stratum: Stratum) -> bool:
        carried, split = self.strata[patient], self.assigned[patient]
        return stratum in carried and all(self.held[s, split] >= 2 for s in carried)

    def _move(self, patient: str, split: Part) -> None:
        before = self.assigned[patient]
        self.size[before] -= 1
        for stratum in self.strata[patient]:
            self.held[stratum, before] -= 1
            self.left[stratum] += 1
        self._put(patient, split)
