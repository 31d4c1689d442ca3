"""Open the parts of a model directory of unknown origin: regular files inside it, and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from medres.errors import BundleError

JSON_BYTES: Final = 2**26
"""Of one JSON part: `seen.json` of a million images has 2**24.6."""
WEIGHTS_BYTES: Final = 2**33
"""Of the weights: an ensemble of ten ResNet-152 has 2**31.2."""


def part(folder: Path, name: str, limit: int = JSON_BYTES) -> Path:
    """Path of a part, once it is known to be safe to open.

    Args:
        folder: of the model.
        name: relative to it, with forward slashes.
        limit: in bytes.

    Raises:
        BundleError: no such folder or part, a name or a link that leads out of the folder, no
            regular file, or one above the limit.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model directory; give a run's `model` folder")
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise BundleError(f"{folder}: {name!r} leads out of the model; give a name inside it")
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            f"{path}: is a link to a place outside the model; copy the file into the model"
        )
    if not path.exists():
        raise BundleError(
            f"{folder}: lacks {name}, so it is no model that medres has finished writing; "
            "give a run's `model` folder"
        )
    if not path.is_file():
        raise BundleError(f"{path}: is no regular file; restore it")
    if path.stat().st_size > limit:
        raise BundleError(
            f"{path}: has {path.stat().st_size} bytes, and at most {limit} are read; restore it"
        )
    return path


def read_part(folder: Path, name: str) -> Mapping[str, Any]:
    """A JSON object of a model.

    Raises:
        BundleError: as `part`, or not a JSON object.
    """
    path = part(folder, name)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON; restore the file or train again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: expects a JSON object; restore the file or train again")
    return values
