"""Refuse a record whose values are of another kind or beyond reason, before anything is built.

A record may come from anywhere. What it says becomes sizes of tensors and words of MONAI's
configs, which MONAI evaluates: so each number has its limits, and each word its list.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from medres.config import STEM_INITS, StemInit
from medres.errors import BundleError
from medres.imaging.resampling import Geometry
from medres.training.losses import KINDS

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord, NetworkRecord

LARGEST_INPUT: Final = 4096
"""Side of a network input, in pixels."""
MOST_FINDINGS: Final = 1000
MOST_MEMBERS: Final = 100


def check_record(record: ModelRecord) -> None:
    """Check every value of a record that something is built from.

    Raises:
        BundleError: naming the value, what was found and what is accepted.
    """
    _check_labels(record)
    if len(record.members) > MOST_MEMBERS:
        raise _refusal("members", len(record.members), f"at most {MOST_MEMBERS}")
    for network in (record.network, *record.members):
        _check_network(network, len(record.findings))
    _check_preprocessing(record)
    _one_of("unit", record.unit, ("patient", "study", "image"))
    for name, threshold in record.thresholds.items():
        _one_of("thresholds", name, record.findings)
        _number(f"thresholds.{name}", threshold.value, -math.inf, math.inf)
    _check_bands(record)
    for where in ("training", "provenance", "figures"):
        if not isinstance(getattr(record, where), Mapping):
            raise _refusal(where, getattr(record, where), "an object")
    _check_augmentation(record.training.get("augmentation"))


def _check_bands(record: ModelRecord) -> None:
    for name, band in record.bands.items():
        _one_of("bands", name, record.findings)
        for end in ("lower", "upper"):
            _number(f"bands.{name}.{end}", getattr(band, end).value, -math.inf, math.inf)
        if band.lower.value > band.upper.value:
            found = f"lower {band.lower.value}, upper {band.upper.value}"
            raise _refusal(f"bands.{name}", found, "a lower end that is not above the upper one")
        for target in band.targets or ():
            _number(f"bands.{name}.targets", target, 0, 1)


def _check_labels(record: ModelRecord) -> None:
    _one_of("labels.kind", record.kind, KINDS)
    findings = record.findings
    if not 1 <= len(findings) <= MOST_FINDINGS or len(set(map(str, findings))) < len(findings):
        raise _refusal("labels.findings", len(findings), f"1 to {MOST_FINDINGS} different names")
    parts: dict[str, Sequence[Any]] = {"findings": findings, "columns": record.labels.columns}
    for where, words in parts.items():
        for word in words:
            if not isinstance(word, str) or not word:
                raise _refusal(f"labels.{where}", word, "names")


def _check_network(network: NetworkRecord, outputs: int) -> None:
    whole: dict[str, Any] = {"depth": network.depth, "num_outputs": network.num_outputs}
    for name, value in whole.items():
        if type(value) is not int:
            raise _refusal(f"network.{name}", value, "a whole number")
    if network.num_outputs != outputs:
        raise _refusal("network.num_outputs", network.num_outputs, f"{outputs}, one a finding")
    _one_of("network.stem", network.stem, STEM_INITS)
    _one_of("network.stem_init", network.stem_init, get_args(StemInit))
    for name in ("display_mean", "display_std"):
        if getattr(network, name) is not None:
            _number(f"network.{name}", getattr(network, name), 0, 1)


def _check_preprocessing(record: ModelRecord) -> None:
    preprocessing, statistics = record.preprocessing, record.preprocessing.statistics
    _one_of("preprocessing.intensity", preprocessing.intensity, ("auto", "display", "modality"))
    _one_of("preprocessing.geometry", preprocessing.geometry, get_args(Geometry))
    _number("preprocessing.size", preprocessing.size, 1, LARGEST_INPUT)
    for name in ("low", "high", "mean", "std"):
        _number(f"preprocessing.statistics.{name}", getattr(statistics, name), -math.inf, math.inf)
    if not statistics.low < statistics.high or not statistics.std > 0:
        found = f"low {statistics.low}, high {statistics.high}, std {statistics.std}"
        raise _refusal("preprocessing.statistics", found, "low below high, and std above 0")


def _check_augmentation(recorded: Any) -> None:
    if recorded is None:
        return
    if not isinstance(recorded, Mapping):
        raise _refusal("training.augmentation", recorded, "an object")
    for name, value in recorded.items():
        if name not in ("preset", "reason"):
            _number(f"training.augmentation.{name}", value, 0, 1000)


def _one_of(where: str, value: Any, accepted: Collection[str]) -> None:
    if not isinstance(value, str) or value not in accepted:
        raise _refusal(where, value, f"one of {', '.join([*accepted][:20])}")


def _number(where: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        bounds = f" from {low:g} to {high:g}" if math.isfinite(high) else ""
        raise _refusal(where, value, f"a finite number{bounds}")


def _refusal(where: str, value: Any, accepted: str) -> BundleError:
    return BundleError(
        f"the model's record: {where}: {str(value)[:60]!r} is not accepted; it takes {accepted}. "
        "Restore the record or train again"
    )
