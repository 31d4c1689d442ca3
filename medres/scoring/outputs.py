"""The tables of a scored archive. They carry keyed stand-ins; one owner-only file maps them back.

::

    images.csv       one row an image: image key, study key, frame, a probability a finding
    studies.csv      one row a study: study key, images, a probability a finding, and whether it
                     reaches the model's threshold
    rejected.jsonl   one line an image that was not scored: image key, reason code, words
    summary.json     counts: files = scored + rejected; transfer syntaxes without a decoder
    keys.csv         readable by the owner alone: image key to relative path and study UID; empty
                     where what the file has there is no UID, but text
    site_secret      likewise: what the keys were made with, if none was given
"""

from __future__ import annotations

import csv
import io
import json
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from medres.bundle.record import ModelRecord
from medres.data.image_index import ImageIndex, missing_decoders
from medres.data.pseudonyms import Keys, read_secret
from medres.files import write_json, write_text
from medres.imaging.defined_terms import is_uid
from medres.scoring.archive import ArchiveScores


def open_secret(out: Path, given: Path | None) -> bytes:
    """The site's secret: the file given, else the output folder's own, made if need be."""
    if given is not None:
        return read_secret(given)
    path = out / "site_secret"
    if not path.exists():
        write_text(path, secrets.token_hex(32) + "\n", private=True)
    return read_secret(path)


def write_scores(
    out: Path, scores: ArchiveScores, index: ImageIndex, record: ModelRecord, keys: Keys
) -> dict[str, int]:
    """Write every table; returns the counts of `summary.json`.

    Args:
        out: the output folder.
        scores: of the archive.
        index: of the archive.
        record: of the model, for names and thresholds.
        keys: of the site.
    """
    findings = record.findings
    write_text(
        out / "images.csv",
        _csv(
            ["image_key", "study_key", "frame", *findings],
            (
                [keys.of(s.image), keys.of(s.study_instance_uid or s.image), s.frame]
                + [f"{p:.9g}" for p in s.probabilities]
                for s in scores.images
            ),
        ),
    )
    write_text(out / "studies.csv", _studies(scores, record, keys))
    lines = (
        {"image_key": keys.of(r.file), "reason": r.reason.value, "message": r.message}
        for r in scores.rejected
    )
    write_text(out / "rejected.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_text(out / "keys.csv", _key_table(scores, index, keys), private=True)
    counts = _counts(scores, index)
    lacking = {"missing_decoders": missing_decoders(scores.rejected)}
    write_json(out / "summary.json", {**counts, **lacking, "weights_sha256": record.weights_sha256})
    return counts


def _studies(scores: ArchiveScores, record: ModelRecord, keys: Keys) -> str:
    findings = record.findings
    flags = [f"{name}_positive" for name in findings if name in record.thresholds]
    rows = []
    for study in scores.studies():
        decisions = [
            int(p >= record.thresholds[name].value)
            for name, p in zip(findings, study.probabilities, strict=True)
            if name in record.thresholds
        ]
        values = [f"{p:.9g}" for p in study.probabilities]
        rows.append([keys.of(study.study), study.images, *values, *decisions])
    return _csv(["study_key", "images", *findings, *flags], rows)


def _key_table(scores: ArchiveScores, index: ImageIndex, keys: Keys) -> str:
    studies = {s.image: s.study_instance_uid for s in scores.images}
    uids = {image: uid for image, uid in studies.items() if is_uid(uid)}
    names = sorted({i.name for i in index.images} | {r.file for r in scores.rejected})
    return _csv(
        ["image_key", "image", "study_key", "study_instance_uid"],
        ([keys.of(n), n, keys.of(studies.get(n) or n), uids.get(n, "")] for n in names),
    )


def _counts(scores: ArchiveScores, index: ImageIndex) -> dict[str, int]:
    scored = {s.image for s in scores.images}
    rejected = {r.file for r in scores.rejected}
    return {
        "files": len({i.name for i in index.images} | {r.file for r in index.rejected}),
        "files_scored": len(scored - rejected),
        "files_rejected": len(rejected),
        "images_scored": len(scores.images),
        "studies_scored": len(scores.studies()),
    }


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return stream.getvalue()
