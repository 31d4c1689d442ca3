"""Who was in and who was left out, from the files that were found to the images that are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medres.data.rejected import Origin

WORDS = {
    "no_label": "without a label",
    "localizer": "overviews of a series",
    "empty_slices": "with empty slices alone",
}
"""Of files that can be read; others are refused, by a code of docs/reject_reasons.md."""


def describe_flow(origin: Origin, left_out: Mapping[str, int]) -> dict[str, Any]:
    """The section `flow` of an evaluation.

    Args:
        origin: of the manifest.
        left_out: images of the manifest that are not used, by reason.
    """
    start = "images of the manifest"
    if origin.images != origin.files:
        start += f", in {origin.files:,} {'file' if origin.files == 1 else 'files'}"
    flow = {"start": start, "n": origin.images, "excluded": describe_reasons(left_out)}
    if not origin.missing:
        return flow
    missing = {WORDS.get(code, f"refused: {code}"): n for code, n in origin.missing.items()}
    found = origin.files + sum(missing.values())
    return {"found": {"n": found, "excluded": describe_reasons(missing)}, **flow}


def describe_reasons(left_out: Mapping[str, int]) -> list[dict[str, Any]]:
    """Those who leave, as `evaluation.json` lists them."""
    return [{"why": why, "n": n} for why, n in left_out.items()]
