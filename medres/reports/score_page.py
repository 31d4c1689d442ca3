"""The page of a scored archive, `summary.html` beside `summary.json`, from which alone it is made.

It holds counts, reasons and settings: nothing of a patient, no key, no name of a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medres.files import read_json, write_text
from medres.reports.histogram import draw_histogram
from medres.reports.summary import RESEARCH_USE
from medres.reports.template_environment import template_environment
from medres.scoring.plan import mixed_in_words

PAGE_NAME = "summary.html"
BESIDE = ("studies.csv", "images.csv", "rejected.jsonl", "not_chosen.jsonl", "summary.json")
MOST_CHARTS = 24
"""Findings drawn; the table holds them all."""


@dataclass(frozen=True)
class Share:
    """One row of a table with bars.

    Attributes:
        name: in words or as a reason code.
        count: of what is counted.
        percent: of the table's total, for the bar.
    """

    name: str
    count: int
    percent: float


@dataclass(frozen=True)
class FindingView:
    """What the page says of one finding.

    Attributes:
        name: of the finding.
        chart: histogram of the studies' probabilities.
        sentence: how many studies reach the threshold, and lie below, in and above the band.
        rows: lower end, upper end, images and studies of each bin.
    """

    name: str
    chart: Markup
    sentence: str
    rows: tuple[tuple[str, str, int, int], ...]


def write_score_page(folder: Path) -> Path:
    """Write the page of a results folder, whole or not at all; returns its path."""
    summary = read_json(folder / "summary.json")
    beside = [name for name in BESIDE if (folder / name).exists()]
    write_text(folder / PAGE_NAME, render_score_page(summary, beside=beside))
    return folder / PAGE_NAME


def render_score_page(summary: Mapping[str, Any], *, beside: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        summary: as in `summary.json`.
        beside: files of the results folder to link to.
    """
    findings = [view_finding(summary, name) for name in summary["findings"]]
    return (
        template_environment()
        .get_template("scores/page.html")
        .render(
            title=f"{_counted(summary['studies_scored'], 'study', 'studies')} scored",
            research_use=RESEARCH_USE,
            tiles=_tiles(summary),
            notes=describe_results(summary),
            findings=findings,
            drawn=findings[:MOST_CHARTS],
            inputs=summary["inputs"],
            rejected=_shares(summary["rejected_by_reason"]),
            decoders=_shares(summary["missing_decoders"]),
            not_chosen=_shares(summary["not_chosen_by_reason"]),
            guard=_guard(summary.get("guard")),
            scanners=_scanners(summary["scanners"]),
            facts=_facts(summary),
            beside=beside,
        )
    )


def view_finding(summary: Mapping[str, Any], name: str) -> FindingView:
    """One finding's histogram, sentence and table."""
    counts = summary["histograms"][name]
    images, studies = counts["images"], counts["studies"]
    threshold = summary["thresholds"].get(name)
    value = None if threshold is None else float(threshold["value"])
    if value is None:
        sentence = "No threshold is locked for this finding."
    else:
        positive, scored = summary["studies_positive"][name], sum(studies)
        share = f" ({positive / scored:.1%})" if scored else ""
        sentence = (
            f"{positive:,} of {_counted(scored, 'study', 'studies')}{share} "
            f"{'reaches' if positive == 1 else 'reach'} the threshold {value:.3g}."
        )
    if band := (summary.get("bands") or {}).get(name):
        sentence += f" {_band_sentence(band, summary['studies_decided'][name])}"
    n = len(studies)
    chart = draw_histogram(studies, title=f"{name}: studies by probability", mark=value)
    rows = [
        (f"{k / n:.2f}", f"{(k + 1) / n:.2f}", images[k], studies[k])
        for k in range(n)
        if images[k] or studies[k]
    ]
    return FindingView(name, chart, sentence, tuple(rows))


def _band_sentence(band: Mapping[str, Any], decided: Mapping[str, int]) -> str:
    low, high = (float(band[end]["value"]) for end in ("lower", "upper"))
    total = sum(decided.values())
    shares = [
        f"{n:,}{f' ({n / total:.1%})' if total else ''} {name}" for name, n in decided.items()
    ]
    return f"With the band from {low:.3g} to {high:.3g}: {', '.join(shares)}."


def describe_results(summary: Mapping[str, Any]) -> list[str]:
    """What a reader has to know first, as sentences."""
    notes = []
    if summary["rejected"]:
        notes.append(
            f"{_counted(summary['rejected'], 'input', 'inputs')} could not be scored; each stands "
            "in rejected.jsonl with its reason."
        )
    if summary["missing_decoders"]:
        notes.append("For some of them a decoder is missing: install it, and retry the rejected.")
    if mixed := summary.get("studies_of_several_patients"):
        notes.append(f"{mixed_in_words(mixed)}. Each was scored as one.")
    guard = summary.get("guard")
    if guard is None:
        notes.append("No guard was asked: images of another kind were scored like any other.")
    elif guard["flagged_images"]:
        notes.append(_guard_sentence(guard))
    shard = summary["shard"]
    if shard["of"] > 1:
        notes.append(f"This is shard {shard['number']} of {shard['of']}: others hold the rest.")
    if "gathered" in summary:
        shards = summary["gathered"]["shards"]
        notes.append(f"Gathered from {shards} shards: times are those of all, added up.")
    if not summary["studies_scored"]:
        notes.append("Nothing was scored.")
    return notes


def _guard_sentence(guard: Mapping[str, Any]) -> str:
    """How many images are flagged, and how many of the model's own kind might be."""
    share = guard["flagged_images"] / max(guard["images"], 1)
    return (
        f"The guard flagged {guard['flagged_images']:,} of {guard['images']:,} images "
        f"({share:.1%}) in {_counted(guard['flagged_studies'], 'study', 'studies')} as of another "
        "kind than the model was trained on."
    )


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Title, value and the words below it."""
    guard, rate = summary.get("guard"), summary["throughput"]["images_per_second"]
    images = _counted(summary["images_scored"], "image", "images")
    tiles = [
        ("Studies scored", f"{summary['studies_scored']:,}", images),
        ("Rejected", f"{summary['rejected']:,}", f"of {summary['inputs']:,} inputs"),
        ("Not chosen", f"{summary['not_chosen']:,}", "by rule, copies, hidden files"),
    ]
    if guard is not None:
        below = _counted(guard["flagged_studies"], "study", "studies")
        tiles.append(("Flagged images", f"{guard['flagged_images']:,}", f"in {below}"))
    if rate:
        seconds = _seconds(summary["throughput"]["seconds"])
        tiles.append(("Images a second", f"{rate:,.3g}", f"{seconds} for this run"))
    return tiles


def _guard(guard: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if guard is None:
        return None
    return {"sentence": _guard_sentence(guard), "reasons": _shares(guard.get("by_reason", {}))}


def _shares(counts: Mapping[str, int]) -> list[Share]:
    """Counts by name as rows, the largest first."""
    most = max(counts.values(), default=1)
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return [Share(name.replace("_", " "), count, 100 * count / most) for name, count in rows]


def _scanners(rows: Sequence[Mapping[str, Any]]) -> list[Share]:
    counts: dict[str, int] = {}
    for row in rows:
        name = ", ".join(filter(None, (row["modality"], row["manufacturer"]))) or "not stated"
        counts[name] = counts.get(name, 0) + row["images"]
    return _shares(counts)


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    rule = summary["image_rule"]
    chosen = [f"{k.replace('_', ' ')}: {', '.join(v)}" for k, v in rule.items() if v]
    throughput = summary["throughput"]
    bundle = {"Bundle": summary["bundle"]} if summary.get("bundle") else {}
    return {
        **bundle,
        "Weights": summary["weights_sha256"][:16],
        "Preprocessing": summary["preprocessing_digest"][:16],
        "Precision": summary["precision"],
        "Images to studies": summary["combine"],
        "Images chosen": "; ".join(chosen) or "every image",
        "This run": f"{_counted(throughput['images'], 'image', 'images')} in "
        f"{_seconds(throughput['seconds'])}, after {_seconds(throughput['looking_seconds'])} for "
        "headers",
    }


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
