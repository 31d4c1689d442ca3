"""Labelled images scored with a bundle of others: read as a run reads them, an image at a time.

An image that its chain or its network does not take is left out and named; it costs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from medres.bundle.zoo import ZooModel
from medres.data.manifest import Manifest, ManifestRow
from medres.data.rejected import RejectedFile
from medres.errors import ManifestError, RejectReason
from medres.scoring.case_scores import ImageScores
from medres.scoring.look import FILES_ALONE
from medres.scoring.pictures import Facts, Planned
from medres.scoring.zoo import start_engine

if TYPE_CHECKING:
    from medres.scoring.run import Settings

NOT_WHOLE: Mapping[str, Any] = {
    "status": "rejected",
    "reason": RejectReason.FRAME_OUT_OF_RANGE.value,
    "message": FILES_ALONE,
}
Follow = Callable[[Sequence[ManifestRow]], Iterable[ManifestRow]]


def score_rows(
    model: ZooModel,
    manifest: Manifest,
    settings: Settings,
    *,
    follow: Follow = lambda rows: rows,
) -> tuple[ImageScores, tuple[RejectedFile, ...]]:
    """Probabilities of a manifest's images, and those that have none.

    Args:
        model: the bundle.
        manifest: of files; a part or a further frame of one is rejected, since a chain takes files
            as a whole.
        settings: device, precision, reading processes and their limits.
        follow: wraps the rows as they are asked for, for a progress bar.

    Returns:
        Scores of the rows that were scored, in order, with the manifest of these rows alone; the
        others, in order, by their address in the manifest.

    Raises:
        ManifestError: no image can be scored.
        BundleError: another number of outputs than the metadata says.
        ConfigError: no room for a pass on the device.
    """
    outcomes: dict[tuple[str, int], dict[str, Any]] = {}
    whole = [row for row in manifest.rows if _is_whole(row)]
    engine = start_engine(model, settings)
    try:
        for batch in engine.score(_planned(manifest, row) for row in follow(whole)):
            outcomes |= {(found["image"], found["frame"]): found for found in batch}
    finally:
        engine.close()
    rows: list[ManifestRow] = []
    scores: list[list[float]] = []
    rejected: list[RejectedFile] = []
    for row in manifest.rows:
        found = outcomes.get((row.image, row.frame), NOT_WHOLE)
        if found["status"] == "scored":
            rows.append(row)
            scores.append(found["p"])
        else:
            reason = RejectReason(found["reason"])
            rejected.append(RejectedFile(row.image, reason, found["message"]))
    if not rows:
        raise ManifestError(
            f"none of {len(manifest.rows)} images can be scored; the first, {rejected[0].file}: "
            f"{rejected[0].message} [{rejected[0].reason.value}]"
        )
    y_score = torch.tensor(scores, dtype=torch.float64)
    return ImageScores(replace(manifest, rows=tuple(rows)), tuple(rows), y_score), tuple(rejected)


def _is_whole(row: ManifestRow) -> bool:
    return not row.frame and "::" not in row.image


def _planned(manifest: Manifest, row: ManifestRow) -> Planned:
    path = manifest.address(row)
    return Planned(0, 0, row.image, "", "", path, in_archive=False, at=0, size=0, facts=Facts())
