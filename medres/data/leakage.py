"""What else may leak between splits: equal pixels, and the same DICOM instance.

That a patient stands in one split is `splits.check_splits`; this catches the patient who came
twice under two names, the copy of a file, and the public set that contains another one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from medres.data.manifest import SPLITS, Manifest, Split
from medres.data.splits import check_splits
from medres.data.table import format_rows, row_number
from medres.errors import LeakageError, ManifestError

SHOWN = 5
ImageKey = tuple[str, int]


@dataclass(frozen=True)
class LeakageReport:
    """What was found, and done.

    Args:
        manifest: without the rows that were dropped.
        dropped: how many rows left each split.
        across_splits: groups of equal images that stood in two splits or three.
        within_splits: groups of equal images inside one split; they are kept.
        conflicting: groups of equal images with different labels.
        notes: the same in words, for the report.
    """

    manifest: Manifest
    dropped: Mapping[Split, int]
    across_splits: int
    within_splits: int
    conflicting: int
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, without the manifest."""
        return {
            "dropped": dict(self.dropped),
            "across_splits": self.across_splits,
            "within_splits": self.within_splits,
            "conflicting": self.conflicting,
            "notes": list(self.notes),
        }


def check_leakage(
    manifest: Manifest,
    digests: Mapping[ImageKey, str],
    *,
    on_duplicate: Literal["error", "drop_from_train"] = "error",
    sop_instance_uids: Mapping[ImageKey, str] | None = None,
) -> LeakageReport:
    """Check patients, studies, pixels and SOP instances across the splits.

    Args:
        manifest: with its splits.
        digests: `pixel_digest` of every row's image, by the row's (image, frame).
        on_duplicate: error, or drop the copies from train, and from validation those that stand in
            test as well: what was to be kept unseen stays whole.
        sop_instance_uids: by the same key, where images have one.

    Raises:
        LeakageError: a patient or study in two splits; equal images in two splits and
            `on_duplicate="error"`.
        ManifestError: a row without split or digest.
    """
    check_splits(manifest)
    groups = _equal_images(manifest, digests, sop_instance_uids or {})
    across = [group for group in groups if len({manifest.rows[i].split for i in group}) > 1]
    if across and on_duplicate == "error":
        raise LeakageError(_describe_leak(manifest, across))
    dropped = sorted({index for group in across for index in _copies(manifest, group)})
    conflicting = [group for group in groups if _labels_conflict(manifest, group)]
    kept = tuple(row for i, row in enumerate(manifest.rows) if i not in set(dropped))
    return LeakageReport(
        manifest=replace(manifest, rows=kept),
        dropped={
            split: sum(manifest.rows[index].split == split for index in dropped)
            for split in SPLITS
            if split != "test"
        },
        across_splits=len(across),
        within_splits=len(groups) - len(across),
        conflicting=len(conflicting),
        notes=_notes(manifest, groups, across, dropped, conflicting),
    )


def _equal_images(
    manifest: Manifest, digests: Mapping[ImageKey, str], uids: Mapping[ImageKey, str]
) -> list[list[int]]:
    """Groups of two or more rows with equal pixels or the same instance and frame."""
    linked = list(range(len(manifest.rows)))

    def representative(index: int) -> int:
        while linked[index] != index:
            linked[index] = index = linked[linked[index]]
        return index

    first: dict[tuple[str, str, int], int] = {}
    for index, row in enumerate(manifest.rows):
        key = (row.image, row.frame)
        if key not in digests:
            raise ManifestError(f"row {row_number(index)}: no digest of its pixels was given")
        marks = [("pixels", digests[key], 0)]
        if uids.get(key):
            marks.append(("instance", uids[key], row.frame))
        for mark in marks:
            other = representative(first.setdefault(mark, index))
            linked[representative(index)] = other
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(manifest.rows)):
        groups[representative(index)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _copies(manifest: Manifest, group: Sequence[int]) -> list[int]:
    """Rows of the group that are not in its last split: train, then validation, then test."""
    last = max(group, key=lambda index: SPLITS.index(_split(manifest, index)))
    return [i for i in group if manifest.rows[i].split != manifest.rows[last].split]


def _split(manifest: Manifest, index: int) -> Split:
    split = manifest.rows[index].split
    assert split is not None  # check_splits ran before
    return split


def _labels_conflict(manifest: Manifest, group: Sequence[int]) -> bool:
    """Whether a finding is labelled 0 on one of the equal images and 1 on another."""
    columns = zip(*(manifest.rows[index].labels for index in group), strict=True)
    return any(len({y for y in labels if not math.isnan(y)}) > 1 for labels in columns)


def _describe_group(manifest: Manifest, group: Sequence[int]) -> str:
    by_split = {
        split: [index for index in group if manifest.rows[index].split == split] for split in SPLITS
    }
    return " and ".join(f"{s} ({format_rows(rows)})" for s, rows in by_split.items() if rows)


def _describe_leak(manifest: Manifest, across: Sequence[Sequence[int]]) -> str:
    shown = "; ".join(_describe_group(manifest, group) for group in across[:SHOWN])
    more = f"; and {len(across) - SHOWN} more" if len(across) > SHOWN else ""
    return (
        f"{len(across)} images stand in two splits with equal pixels or as the same DICOM "
        f"instance: {shown}{more}. Put copies in one split, or drop those in train with "
        "on_duplicate=drop_from_train"
    )


def _notes(
    manifest: Manifest,
    groups: Sequence[Sequence[int]],
    across: Sequence[Sequence[int]],
    dropped: Sequence[int],
    conflicting: Sequence[Sequence[int]],
) -> tuple[str, ...]:
    notes = []
    if dropped:
        notes.append(
            f"{len(across)} images stood in two splits; {len(dropped)} copies were dropped "
            f"({format_rows(dropped)})."
        )
        if manifest.patient_ids_given:
            notes.append(
                "The copies have other patient ids: a patient may stand in two splits under two "
                "ids, with other images too."
            )
    within = sum(len(group) - 1 for group in groups) - sum(len(group) - 1 for group in across)
    if within:
        notes.append(f"{within} images are copies of another in the same split; they were kept.")
    if conflicting:
        rows = [index for group in conflicting for index in group]
        notes.append(
            f"{len(conflicting)} images stand in the manifest with equal pixels and different "
            f"labels ({format_rows(rows)})."
        )
    return tuple(notes)
