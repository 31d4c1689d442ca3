"""A model's guard as files: `configs/guard.json` for people, and tensors, in `configs/guard.pt`.

Not in `models/`: MONAI Label offers every `*.pt` there as weights of the network.

It belongs to the very weights and preprocessing that it was fitted with, and is refused beside
others. A model without the two files has no guard.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medres.errors import BundleError, WeightsError
from medres.files import file_digest, read_json, write_json, written_whole
from medres.guard.distance import Distance
from medres.guard.guard import COLUMNS, FalseAlarms, Guard
from medres.guard.headers import KnownHeaders
from medres.guard.measurements import PARTS
from medres.guard.orientation import Orientation
from medres.models.state_file import read_state_file

RECORD, TENSORS = "configs/guard.json", "configs/guard.pt"
SCHEMA = "medres.guard/1"
RESTORE = "restore the file, delete both guard files to go without, or train again"


def write_guard(folder: Path, guard: Guard | None, weights_sha256: str) -> None:
    """Write a model's guard, or remove one that lies there. Before the model's record is written.

    Args:
        folder: of the model.
        guard: calibrated; None for a model without.
        weights_sha256: of the weights it is to stand beside.
    """
    (folder / RECORD).unlink(missing_ok=True)
    (folder / TENSORS).unlink(missing_ok=True)
    if guard is None or guard.false_alarms is None:
        return
    with written_whole(folder / TENSORS) as temporary, temporary.open("wb") as stream:
        torch.save(_tensors(guard), stream)
    write_json(
        folder / RECORD,
        {
            "schema": SCHEMA,
            "weights_sha256": weights_sha256,
            "tensors_sha256": file_digest(folder / TENSORS),
            "headers": guard.headers.as_json(),
            "limits": list(guard.limits),
            "false_alarms": guard.false_alarms.as_json(),
        },
    )


def read_guard(folder: Path, weights_sha256: str) -> Guard | None:
    """A model's guard; None where it has none.

    Args:
        folder: of the model.
        weights_sha256: of the model's weights.

    Raises:
        BundleError: a damaged guard, or one of other weights.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        values = read_json(path)
        if values["schema"] != SCHEMA:
            raise BundleError(
                f"{path}: schema {values['schema']!r}, expected {SCHEMA!r}; use the medres that "
                "wrote it, or delete both guard files to go without"
            )
        _check_digests(folder, values, weights_sha256)
        return _build(values, _read_tensors(folder / TENSORS))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OSError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: the guard is damaged; {RESTORE}") from error


def guard_digest(folder: Path) -> str:
    """SHA-256 of a model's guard; "" where it has none."""
    path = folder / RECORD
    return file_digest(path) if path.exists() else ""


def _check_digests(folder: Path, values: Mapping[str, Any], weights_sha256: str) -> None:
    if values["weights_sha256"] != weights_sha256:
        raise BundleError(
            f"{folder / RECORD}: was fitted with other weights than the model's; {RESTORE}"
        )
    if not (folder / TENSORS).is_file():
        raise BundleError(f"{folder / TENSORS}: missing; {RESTORE}")
    if file_digest(folder / TENSORS) != values["tensors_sha256"]:
        raise BundleError(f"{folder / TENSORS}: was changed after training; {RESTORE}")


def _tensors(guard: Guard) -> dict[str, Tensor]:
    assert guard.false_alarms is not None
    tensors = {
        f"{part}.{name}": tensor
        for part, distance in guard.parts.items()
        for name, tensor in distance.tensors().items()
    }
    own = {
        "orientation": guard.orientation.weights,
        "centre": guard.centre,
        "unit": guard.unit,
        "distances": guard.false_alarms.distances,
    }
    return {name: tensor.contiguous().clone() for name, tensor in {**tensors, **own}.items()}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = read_state_file(path)
    except WeightsError as error:
        raise BundleError(f"{path}: holds no plain tensors; {RESTORE}") from error
    if not all(
        tensor.dtype == torch.float64 and tensor.isfinite().all() for tensor in tensors.values()
    ):
        raise BundleError(f"{path}: holds values that are not finite float64; {RESTORE}")
    return tensors


def _build(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Guard:
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        part, _, field = name.partition(".")
        if field:
            parts[part][field] = tensor
    if set(parts) != set(PARTS) or len(tensors["unit"]) != len(COLUMNS):
        raise BundleError(
            f"{TENSORS}: parts {', '.join(parts)}, expected {', '.join(PARTS)}; {RESTORE}"
        )
    alarms = values["false_alarms"]
    low, high = values["limits"]
    return Guard(
        headers=KnownHeaders.from_json(values["headers"]),
        parts={name: Distance.from_tensors(parts[name]) for name in PARTS},
        orientation=Orientation(tensors["orientation"]),
        limits=(float(low), float(high)),
        centre=tensors["centre"],
        unit=tensors["unit"],
        false_alarms=FalseAlarms(
            float(alarms["asked"]),
            float(alarms["headers"]),
            tensors["distances"],
            int(alarms["validation_patients"]),
        ),
    )
