"""The summaries of shards, added up to that of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medres.scoring.summary import Throughput

COUNTS = (
    *("inputs", "images_scored", "studies_scored", "studies_of_several_patients"),
    *("rejected", "not_chosen"),
)


def add_summaries(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of one run over all that these hold; times are those of all, added up.

    Args:
        summaries: of all shards of one archive, at least one.
    """
    first = summaries[0]
    return {
        **first,
        "shard": {"number": 0, "of": 1},
        "files": first["sources"]["files"],  # one with images of several studies is in many shards
        **{name: sum(summary[name] for summary in summaries) for name in COUNTS},
        **{
            name: _add_counts(summary[name] for summary in summaries)
            for name in ("rejected_by_reason", "not_chosen_by_reason", "missing_decoders")
        },
        "histograms": {
            finding: _add_bins([summary["histograms"][finding] for summary in summaries])
            for finding in first["findings"]
        },
        "studies_positive": {
            finding: sum(summary["studies_positive"][finding] for summary in summaries)
            for finding in first["studies_positive"]
        },
        "studies_decided": {
            finding: {
                decision: sum(
                    summary["studies_decided"][finding][decision] for summary in summaries
                )
                for decision in decisions
            }
            for finding, decisions in first["studies_decided"].items()
        },
        "scanners": _add_scanners(summaries),
        "guard": _add_guards([summary["guard"] for summary in summaries]),
        "throughput": Throughput(
            *(
                sum(summary["throughput"][name] for summary in summaries)
                for name in ("images", "seconds", "looking_seconds")
            )
        ).as_json(),
        "gathered": {"shards": len(summaries)},
    }


def _add_bins(histograms: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, list[int]]:
    return {
        unit: [sum(bins) for bins in zip(*(found[unit] for found in histograms), strict=True)]
        for unit in histograms[0]
    }


def _add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Added up by name, the most frequent first."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _add_scanners(summaries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    images: Counter[tuple[str, str]] = Counter()
    for summary in summaries:
        for row in summary["scanners"]:
            images[row["modality"], row["manufacturer"]] += row["images"]
    return [
        {"modality": modality, "manufacturer": maker, "images": count}
        for (modality, maker), count in sorted(images.items())
    ]


def _add_guards(guards: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    found = [guard for guard in guards if guard is not None]
    if not found:
        return None
    names = ("images", "flagged_images", "flagged_studies")
    return {
        **found[0],
        **{name: sum(guard[name] for guard in found) for name in names},
        "by_reason": _add_counts(guard["by_reason"] for guard in found),
    }
