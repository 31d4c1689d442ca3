"""Values and keys of a JSON as a person writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def readable(value: Any) -> str:
    """Return a value of the JSON as a person writes it: yes, no, 0.25, `a, b`."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{label(key)} {readable(item)}" for key, item in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(readable(item) for item in value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, int):
        text = f"{value:,}" if abs(value) >= 10_000 else str(value)
    else:
        text = "" if value is None else str(value)
    return text or "–"


def is_table(value: Any) -> bool:
    """Whether a value is a list of records, to be shown as a table."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(item, Mapping) for item in value)
    )


def label(key: object) -> str:
    """Return a key of the JSON as a heading: `manifest_sha256` becomes `Manifest SHA-256`."""
    words = str(key).replace("_", " ").replace("sha256", "SHA-256").replace("auroc", "AUROC")
    return words[:1].upper() + words[1:]
