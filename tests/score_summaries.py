"""The `summary.json` of a scored archive, by hand."""

from typing import Any

OPACITY = {
    "images": [120, 60, 31, 20, 12, 9, 7, 5, 4, 4, 3, 3, 2, 2, 3, 4, 5, 7, 9, 14],
    "studies": [60, 30, 15, 10, 6, 4, 4, 2, 2, 2, 1, 2, 1, 1, 2, 2, 2, 4, 4, 8],
}
EFFUSION = {"images": [324] + [0] * 19, "studies": [162] + [0] * 19}


def summary(**changes: Any) -> dict[str, Any]:
    """As `medres score` writes it, with changes."""
    values: dict[str, Any] = {
        "schema": "medres.scores/1",
        "findings": ["opacity", "<b>effusion</b>"],
        "thresholds": {"opacity": {"value": 0.42, "rule": "Youden index on validation", "n": 82}},
        "weights_sha256": "ab" * 32,
        "model_digest": "cd" * 32,
        "preprocessing_digest": "ef" * 32,
        "precision": "fp32",
        "combine": "mean",
        "image_rule": {
            "modalities": ["CR", "DX"],
            "body_parts": ["CHEST"],
            "view_positions": [],
            "leave_out": ["LOCALIZER"],
        },
        "shard": {"number": 0, "of": 1},
        "files": 371,
        "inputs": 371,
        "images_scored": 324,
        "studies_scored": 162,
        "studies_of_several_patients": 0,
        "rejected": 35,
        "not_chosen": 12,
        "rejected_by_reason": {"no_decoder": 25, "truncated": 7, "not_dicom": 3},
        "not_chosen_by_reason": {"modality US": 9, "image type LOCALIZER": 3},
        "missing_decoders": {"JPEG 2000: install medres[codecs]": 25},
        "histograms": {"opacity": OPACITY, "<b>effusion</b>": EFFUSION},
        "studies_positive": {"opacity": 29},
        "scanners": [
            {"modality": "CR", "manufacturer": "FUJIFILM", "images": 100},
            {"modality": "DX", "manufacturer": "SIEMENS", "images": 220},
            {"modality": "", "manufacturer": "", "images": 4},
        ],
        "guard": {
            "images": 324,
            "flagged_images": 11,
            "flagged_studies": 6,
            "by_reason": {"orientation": 7, "view_position": 4},
        },
        "throughput": {
            "images": 359,
            "seconds": 4210.5,
            "images_per_second": 0.09,
            "looking_seconds": 2.25,
        },
    }
    return {**values, **changes}
