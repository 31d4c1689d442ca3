"""What a label that the radiologist's report left uncertain is taken for in training.

CheXpert writes -1 where a report neither asserts nor denies a finding. Validation and test never
count such a label, whatever the policy: it is no truth to be judged by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from medres.data.manifest import Manifest, ManifestRow
from medres.errors import ConfigError

UncertainPolicy = Literal["refuse", "ignore", "ones", "zeros", "ones_smoothed", "zeros_smoothed"]

TARGETS: Final[Mapping[str, float]] = {
    "ignore": math.nan,
    "ones": 1.0,
    "zeros": 0.0,
    "ones_smoothed": 0.70,
    "zeros_smoothed": 0.15,
}
"""Target of an uncertain label: U-Ignore, U-Ones and U-Zeros of Irvin et al., CheXpert, AAAI 2019;
the smoothed ones are U-Ones+LSR and U-Zeros+LSR of Pham et al., Neurocomputing 437 (2021) 186-194,
which draw from U(.55, .85) and U(0, .3). Their means stand in for the draws: cross-entropy is
linear in its target, so the expected loss and gradient are the draws', without noise and seed."""


def training_targets(row: ManifestRow, policy: UncertainPolicy) -> tuple[float, ...]:
    """(F,) targets of a training image in [0, 1]; NaN where there is none.

    Raises:
        ConfigError: the row has uncertain labels and the policy is refuse, or no policy.
    """
    if not row.uncertain:
        return row.labels
    if policy not in TARGETS:
        raise ConfigError(
            f"data.uncertain: {policy!r}, and there are uncertain labels; give one of "
            f"{', '.join(TARGETS)}"
        )
    return tuple(
        TARGETS[policy] if place in row.uncertain else label
        for place, label in enumerate(row.labels)
    )


def describe_uncertain(manifest: Manifest, policy: UncertainPolicy) -> tuple[str, ...]:
    """What a reader has to know about the uncertain labels; nothing where there are none.

    Raises:
        ConfigError: a policy that gives a target, for classes that exclude one another.
    """
    if manifest.schema.kind == "multiclass" and policy not in ("refuse", "ignore"):
        raise ConfigError(
            f"data.uncertain: {policy!r} is for findings with 0 and 1; of several classes in one "
            "column an uncertain label can only be left out: give ignore"
        )
    counts = _count(manifest.rows, manifest.schema.findings)
    if not counts:
        return ()
    target = TARGETS[policy]
    taken = "left out" if math.isnan(target) else f"taken for {target:g}"
    found = ", ".join(f"{name} {count}" for name, count in counts.items())
    note = (
        f"Uncertain labels ({found}) were {taken} in training (policy {policy}), and left out of "
        "validation and test."
    )
    return (note,)


def _count(rows: Sequence[ManifestRow], findings: Sequence[str]) -> dict[str, int]:
    places = [place for row in rows for place in row.uncertain]
    return {name: places.count(p) for p, name in enumerate(findings) if p in places}
