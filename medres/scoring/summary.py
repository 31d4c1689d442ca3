"""What came of a run, in figures: `summary.json`, from which the summary page is made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from medres.errors import ResultsError
from medres.files import read_json
from medres.metrics.three_way import DECISIONS
from medres.scoring.combine import Rule
from medres.scoring.guarding import GuardCounts, is_flagged
from medres.scoring.index import Index
from medres.scoring.scorer import Outputs
from medres.scoring.tables import combine_rows

BINS = 20


@dataclass(frozen=True)
class Throughput:
    """Of this run alone; images that were scored before count in no second of it.

    Args:
        images: scored or rejected.
        seconds: from the first image asked for to the last one kept.
        looking_seconds: for headers, before that.
    """

    images: int
    seconds: float
    looking_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        rate = self.images / self.seconds if self.seconds else None
        return {
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "images_per_second": None if rate is None else round(rate, 2),
            "looking_seconds": round(self.looking_seconds, 3),
        }


def summarise(index: Index, record: Outputs, combine: Rule, guard: GuardCounts) -> dict[str, Any]:
    """Counts, histograms and mixes, as plain JSON values.

    `inputs` are images, and files that are none: scored, rejected and not chosen add up to them.
    What is withheld counts as scored, but stands in no histogram.
    """
    images = [Counter[int]() for _ in record.findings]
    studies = [Counter[int]() for _ in record.findings]
    positive = dict.fromkeys(record.thresholds, 0)
    decided = {name: dict.fromkeys(DECISIONS, 0) for name in record.bands}
    scanners: Counter[tuple[str, str]] = Counter()
    number_of_studies, withhold = 0, guard.mode == "withhold"
    for _, group in groupby(index.scored("study"), key=lambda row: row.study):
        rows = [*group]
        number_of_studies += 1
        guard.add(rows)
        scanners.update((row.facts.modality, row.facts.manufacturer) for row in rows)
        shown = [row for row in rows if not (withhold and is_flagged([row]))]
        for f in range(len(images)):
            images[f].update(_bin(row.result["p"][f]) for row in shown)
        if len(shown) < len(rows):
            continue
        combined = combine_rows(rows, combine, record.kind).probabilities
        for f, name in enumerate(record.findings):
            studies[f][_bin(combined[f])] += 1
            if name in positive:
                positive[name] += combined[f] >= record.thresholds[name].value
            if name in decided:
                decided[name][record.bands[name].decision(combined[f])] += 1
    counts = index.counts()
    return {
        **{name: counts[name] for name in ("files", "inputs", "images_scored")},
        "studies_scored": number_of_studies,
        "studies_of_several_patients": index.count_mixed_studies(),
        "rejected": counts["rejected"],
        "not_chosen": counts["not_chosen"],
        "rejected_by_reason": index.tally("rejected"),
        "not_chosen_by_reason": index.tally("not_chosen"),
        "missing_decoders": index.tally("no_decoder"),
        "histograms": {
            name: {"images": _counted(images[f]), "studies": _counted(studies[f])}
            for f, name in enumerate(record.findings)
        },
        "studies_positive": positive,
        "studies_decided": decided,
        "scanners": [
            {"modality": modality, "manufacturer": maker, "images": count}
            for (modality, maker), count in sorted(scanners.items())
        ],
        "guard": guard.as_json(),
    }


def read_summary(folder: Path) -> dict[str, Any]:
    """The `summary.json` of a results folder.

    Raises:
        ResultsError: it is damaged, or another program's.
    """
    try:
        values = read_json(folder / "summary.json")
    except ValueError:
        values = None
    if not isinstance(values, dict) or "findings" not in values:
        raise ResultsError(
            f"{folder}: summary.json is damaged, or another program's; start again the command "
            "that has written the folder, which scores nothing twice"
        )
    return values


def _bin(probability: float) -> int:
    """Which of the equal bins of [0, 1]; the last holds 1."""
    return min(int(probability * BINS), BINS - 1)


def _counted(counter: Counter[int]) -> list[int]:
    return [counter[k] for k in range(BINS)]
