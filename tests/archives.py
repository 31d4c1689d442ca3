"""Results folders as `medres score` leaves them, without scoring."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def _decision(score: float) -> str:
    return "positive" if score >= 0.7 else "indeterminate" if score >= 0.4 else "negative"


def write_archive(folder: Path, studies: int = 120) -> Path:
    """Studies k0000 and so on, an image each; the score rises and falls, every tenth is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = [f"k{n:04d}" for n in range(studies)]
    scores = [(37 * n % studies) / studies for n in range(studies)]
    flags = [n % 10 == 0 for n in range(studies)]
    shared = {
        "modality": ["DX"] * studies,
        "manufacturer": ["GE"] * studies,
        "opacity": scores,
        "guard_distance": scores,
        "guard_flag": flags,
        "guard_reason": ["far from training" if flag else "" for flag in flags],
    }
    empty = pa.array([None] * studies, pa.float64())
    pq.write_table(
        pa.table(
            {
                "study_key": keys,
                "images": pa.array([1] * studies, pa.int32()),
                **shared,
                "opacity_positive": [score >= 0.5 for score in scores],
                "opacity_decision": [_decision(score) for score in scores],
                "opacity_right": empty,
                "opacity_left": empty,
            }
        ),
        folder / "studies.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "image_key": [f"i{key}" for key in keys],
                "study_key": keys,
                "frame": pa.array([0] * studies, pa.int32()),
                "view_position": ["PA"] * studies,
                "laterality": [""] * studies,
                "rows": pa.array([64] * studies, pa.int32()),
                "columns": pa.array([60] * studies, pa.int32()),
                **shared,
            }
        ),
        folder / "images.parquet",
    )
    summary = {"findings": ["opacity"], "studies_scored": studies, "images_scored": studies}
    (folder / "summary.json").write_text(json.dumps({**summary, "rejected": 2}))
    return folder


def write_keys(folder: Path, addresses: dict[str, str]) -> None:
    """`keys.parquet` with addresses by image key."""
    table = pa.table({"image_key": [*addresses], "image": [*addresses.values()]})
    pq.write_table(table, folder / "keys.parquet")
