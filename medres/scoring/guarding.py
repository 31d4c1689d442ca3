"""What the guard has said of scored images, gathered: for a table's row, a study, a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from medres.guard.guard import Guard
from medres.scoring.pictures import Row

GuardMode = Literal["mark", "withhold", "off"]
GUARD_COLUMNS = {"guard_distance": "float64", "guard_flag": "bool", "guard_reason": "string"}


def is_flagged(rows: Sequence[Row]) -> bool:
    """Whether the guard has flagged one of these images."""
    return any(flag for _, flag, _ in _verdicts(rows))


def worst_verdict(rows: Sequence[Row]) -> dict[str, Any]:
    """`GUARD_COLUMNS` of some images: the largest distance, all reasons; None where not asked."""
    verdicts = _verdicts(rows)
    if not verdicts:
        return dict.fromkeys(GUARD_COLUMNS)
    return {
        "guard_distance": max(distance for distance, _, _ in verdicts),
        "guard_flag": any(flag for _, flag, _ in verdicts),
        "guard_reason": "; ".join(sorted({reason for _, _, reason in verdicts if reason})),
    }


@dataclass
class GuardCounts:
    """How many images and studies were judged and flagged.

    Attributes:
        guard: of the model; None where none was asked.
        mode: what happens to the flagged.
    """

    guard: Guard | None
    mode: GuardMode
    _images: Counter[str] = field(default_factory=Counter)
    _reasons: Counter[str] = field(default_factory=Counter)
    _studies: int = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Count the images of one study."""
        verdicts = _verdicts(rows)
        self._images["judged"] += len(verdicts)
        self._images["flagged"] += sum(flag for _, flag, _ in verdicts)
        self._reasons.update(reason for _, flag, reason in verdicts if flag)
        self._studies += is_flagged(rows)

    def as_json(self) -> dict[str, Any] | None:
        """Plain JSON values; None where no guard was asked."""
        if self.guard is None or self.guard.false_alarms is None:
            return None
        alarms = self.guard.false_alarms
        return {
            "mode": self.mode,
            "images": self._images["judged"],
            "flagged_images": self._images["flagged"],
            "flagged_studies": self._studies,
            "by_reason": dict(sorted(self._reasons.items(), key=lambda row: (-row[1], row[0]))),
            "false_alarms": {"asked": alarms.asked, "promised": alarms.promised},
        }


def _verdicts(rows: Sequence[Row]) -> list[tuple[float, bool, str]]:
    return [tuple(row.result["guard"]) for row in rows if "guard" in row.result]
