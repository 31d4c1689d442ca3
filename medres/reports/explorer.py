"""What a page needs to move threshold, band and prevalence itself, and what it shows before.

Only counts go into the page: how many cases of each class are flagged at each threshold that can be
set (`metrics.threshold_steps`). Every figure that the page then shows follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any

from medres.reports import summary
from medres.reports.figure_kinds import format_interval, format_number

BARS = 50
"""Bars of the histogram over the threshold's slider."""
RIDGE_HEIGHT = 30.0
"""Of each half of that histogram, in units of its drawing, which is 100 wide."""

PREVALENCES = tuple(
    round(value / 1000, 3)
    for value in (*range(1, 10), *range(10, 100, 5), *range(100, 500, 10), *range(500, 951, 50))
)
"""Stops of the prevalence's slider: finer where findings are rare."""

RATES = ("sensitivity", "specificity", "ppv", "npv")
OUTCOMES = ("tp", "up", "fn", "fp", "un", "tn")
"""What can become of a case: with the finding flagged, undecided, missed; without it likewise."""


@dataclass(frozen=True)
class Shown:
    """One figure as it is printed, and its bar in shares of the axis; bar None where undefined."""

    value: str
    interval: str
    bar: tuple[float, float, float] | None


@dataclass(frozen=True)
class ExplorerView:
    """What stands on the page before anything is moved: the first finding at its locked threshold.

    Attributes:
        names: of the findings that can be explored.
        data: for the script.
        figures: sensitivity, specificity, ppv, npv, benefit as printed.
        counts: by outcome, with their sums "with" and "without".
        people: of 1,000, by outcome, with their sums "present", "absent", "called", "cleared".
        icons: 1,000 outcomes in drawing order.
        prevalence: that figures and people are for, as printed.
        threshold: the locked one, as printed; empty where none is.
        positive_ridge: path of the positives' half of the histogram.
        negative_ridge: path of the negatives' half.
        independent: intervals are known at every threshold.
    """

    names: tuple[str, ...]
    data: Mapping[str, Any]
    figures: Mapping[str, Shown]
    counts: Mapping[str, str]
    people: Mapping[str, str]
    icons: tuple[str, ...]
    prevalence: str
    threshold: str
    positive_ridge: str
    negative_ridge: str
    independent: bool


def view_explorer(evaluation: Mapping[str, Any]) -> ExplorerView | None:
    """Prepare the explorer; None where no finding has counts by threshold.

    Args:
        evaluation: as in `evaluation.json`.
    """
    units = summary.plural(summary.unit_of(evaluation))
    kept = [
        (name, finding, f"finding-{number}")
        for number, (name, finding) in enumerate(evaluation["findings"].items(), start=1)
        if (finding.get("curves") or {}).get("thresholds")
    ]
    if not kept:
        return None
    _, first, _ = kept[0]
    findings = [_finding_data(*entry) for entry in kept]
    locked = findings[0]["locked"]
    people = of_thousand(*_shares(first)) if locked else {}
    return ExplorerView(
        names=tuple(name for name, _, _ in kept),
        data={
            "reasons": _reasons(units),
            "prevalences": PREVALENCES,
            "findings": findings,
        },
        figures=_figures(first if locked else {}),
        counts=_counts(first, locked=bool(locked)),
        people=_people(people),
        icons=tuple(key for key in OUTCOMES for _ in range(people.get(key, 0))) or ("tn",) * 1000,
        prevalence=format_number(_prevalence(first), percent=True),
        threshold=locked["text"] if locked else "",
        positive_ridge=findings[0]["ridge"]["positive"],
        negative_ridge=findings[0]["ridge"]["negative"],
        independent=findings[0]["independent"],
    )


def of_thousand(
    prevalence: float, sensitivity: float, missed: float, false_alarm: float, specificity: float
) -> dict[str, int]:
    """How many of 1,000 cases have which outcome, in whole cases; they add up to 1,000.

    Args:
        prevalence: of the finding among them.
        sensitivity: share of those with it that are flagged.
        missed: share of those with it that are cleared.
        false_alarm: share of those without it that are flagged.
        specificity: share of those without it that are cleared.
    """
    present = _whole(1000 * prevalence)
    absent = 1000 - present
    tp, fp = _whole(present * sensitivity), _whole(absent * false_alarm)
    fn = min(_whole(present * missed), present - tp)
    tn = min(_whole(absent * specificity), absent - fp)
    return {"tp": tp, "up": present - tp - fn, "fn": fn, "fp": fp, "un": absent - fp - tn, "tn": tn}


def _people(counts: Mapping[str, int]) -> dict[str, str]:
    """The outcomes of 1,000 with their sums, as printed; empty texts where there are none."""
    sums = {
        **{key: (key,) for key in OUTCOMES},
        "present": ("tp", "up", "fn"),
        "absent": ("fp", "un", "tn"),
        "called": ("tp", "fp"),
        "cleared": ("fn", "tn"),
    }
    return {
        name: f"{sum(counts[key] for key in keys):,}" if counts else ""
        for name, keys in sums.items()
    }


def _whole(value: float) -> int:
    """Round, halves up, as the page's script does."""
    return math.floor(value + 0.5)


def _shares(finding: Mapping[str, Any]) -> tuple[float, float, float, float, float]:
    table = finding["confusion"]
    m, n = finding["n_positive"], finding["n"] - finding["n_positive"]
    rates = (
        table["tp"] / m if m else 0.0,
        table["fn"] / m if m else 0.0,
        table["fp"] / n if n else 0.0,
        table["tn"] / n if n else 0.0,
    )
    return _prevalence(finding), *rates


def _prevalence(finding: Mapping[str, Any]) -> float:
    """The target population's where it was given, else that of the test."""
    asked = (finding.get("at_prevalence") or {}).get("prevalence")
    return float(asked or finding["n_positive"] / finding["n"])


def _figures(finding: Mapping[str, Any]) -> dict[str, Shown]:
    elsewhere = finding.get("at_prevalence") or {}
    figures = {key: _shown(elsewhere.get(key) or finding.get(key)) for key in RATES}
    return {**figures, "benefit": _benefit(finding)}


def _shown(estimate: Mapping[str, Any] | None) -> Shown:
    if not estimate:
        return Shown("", "", None)
    if estimate.get("value") is None:
        return Shown("undefined", str(estimate.get("undefined") or ""), None)
    return Shown(
        format_number(estimate["value"], percent=True),
        format_interval(estimate, percent=True),
        (estimate["value"], estimate["low"], estimate["high"]),
    )


def _benefit(finding: Mapping[str, Any]) -> Shown:
    """At the test's own prevalence; the script has it for others."""
    estimate = finding.get("net_benefit")
    if not estimate or finding.get("at_prevalence"):
        return Shown("", "", None)
    value = format_number(estimate["value"])
    return Shown(value, format_interval(estimate), None)


def _counts(finding: Mapping[str, Any], *, locked: bool) -> dict[str, str]:
    positive = finding["n_positive"]
    table = {"up": 0, "un": 0, **finding["confusion"]} if locked else {}
    counts = {key: f"{table[key]:,}" if key in table else "" for key in OUTCOMES}
    return {**counts, "with": f"{positive:,}", "without": f"{finding['n'] - positive:,}"}


def _reasons(units: str) -> dict[str, str]:
    """Why a figure has no value, in the words of `metrics`."""
    return {
        "prevalence": f"no labelled {units}",
        "sensitivity": f"no positive {units}",
        "specificity": f"no negative {units}",
        "ppv": f"no {units} called positive",
        "npv": f"no {units} called negative",
        "ppvElsewhere": f"{units} of one class only, or none called positive",
        "npvElsewhere": f"{units} of one class only, or all called positive",
        "oneClass": f"{units} of one class only",
        "noOdds": "a threshold of 0 or 1 has no odds",
        "notProbabilities": "scores that are no probabilities",
    }


def _finding_data(name: str, finding: Mapping[str, Any], anchor: str) -> dict[str, Any]:
    steps = finding["curves"]["thresholds"]
    level = (finding.get("prevalence") or {}).get("level") or 0.95
    independent = steps["independent"]
    return {
        "name": name,
        "anchor": anchor,
        "positive": finding["n_positive"],
        "negative": finding["n"] - finding["n_positive"],
        **{key: steps[key] for key in ("decimals", "lowest", "highest", "independent")},
        **{key: _differences(steps[key]) for key in ("at", "tp", "fp")},
        "level": level,
        "z": NormalDist().inv_cdf((1 + level) / 2),
        "locked": _locked(finding, steps),
        "band": _band(finding, steps),
        "target": (finding.get("at_prevalence") or {}).get("prevalence"),
        "probabilities": finding.get("decision_curve") is not None,
        "intervals": {} if independent else _intervals(finding),
        "ridge": _ridge(steps),
    }


def _differences(values: Sequence[int]) -> list[int]:
    """The first value, then what each adds: short numbers, where there are 10,000."""
    return [*values[:1], *(after - before for before, after in pairwise(values))]


def _locked(finding: Mapping[str, Any], steps: Mapping[str, Any]) -> dict[str, Any] | None:
    threshold, table = finding.get("threshold") or {}, finding.get("confusion")
    if threshold.get("value") is None or not table:
        return None
    return _end(threshold["value"], table["tp"], table["fp"], steps)


def _band(finding: Mapping[str, Any], steps: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    section = finding.get("three_way")
    if not section or section["lower"]["value"] is None:  # of several models, each with its own
        return None
    c = section["counts"]
    tp, fp = c["tp"], c["fp"]
    lax = tp + c["undecided_positive"], fp + c["undecided_negative"]
    return [
        _end(section["lower"]["value"], *lax, steps),
        _end(section["upper"]["value"], tp, fp, steps),
    ]


def _end(value: float, tp: int, fp: int, steps: Mapping[str, Any]) -> dict[str, Any]:
    places = max(steps["decimals"], 0)
    return {"value": value, "text": f"{value:.{places}f}", "counts": [tp, fp]}


def _intervals(finding: Mapping[str, Any]) -> dict[str, str]:
    """Printed intervals at the locked threshold, for patients with several rows."""
    shown = {key: _shown(finding.get(key)).interval for key in RATES}
    return {**shown, "benefit": _benefit(finding).interval}


def _ridge(steps: Mapping[str, Any]) -> dict[str, str]:
    """Paths of the histogram over the slider, each half in shares of its class."""
    edges = [
        steps["lowest"] + (steps["highest"] - steps["lowest"]) * k / BARS for k in range(BARS + 1)
    ]
    shares = {
        name: _shares_between(edges, steps["at"], steps[key])
        for name, key in (("positive", "tp"), ("negative", "fp"))
    }
    tallest = max(max(values) for values in shares.values()) or 1.0
    return {
        name: " ".join(_bars(values, sign * RIDGE_HEIGHT / tallest))
        for (name, values), sign in zip(shares.items(), (-1, 1), strict=True)
    }


def _shares_between(
    edges: Sequence[float], at: Sequence[int], called: Sequence[int]
) -> list[float]:
    """Share of a class whose score lies between neighbouring edges."""
    above = []
    place = 0
    for edge in edges:
        while place + 1 < len(at) and at[place + 1] <= edge:
            place += 1
        above.append(called[place])
    above[-1] = 0  # a score at the top of the scale belongs to the last bar
    total = called[0] or 1
    return [(before - after) / total for before, after in pairwise(above)]


def _bars(shares: Sequence[float], scale: float) -> Iterator[str]:
    width = 100 / BARS
    for k, share in enumerate(shares):
        if share:
            height = share * scale
            yield f"M{k * width:g} {RIDGE_HEIGHT:g}v{height:.2f}h{width:g}v{-height:.2f}z"
