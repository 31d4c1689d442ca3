"""The page of a comparison of two scored archives, and its lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medres.reports.histogram import draw_histogram
from medres.reports.summary import RESEARCH_USE
from medres.reports.template_environment import template_environment

Row = tuple[str, str, str, str]
"""What is compared, of the first archive, of the second, and how they differ."""
STABLE, CHANGED = 0.1, 0.25
"""Siddiqi's limits of the stability index."""


def render_drift_page(drift: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the page.

    Args:
        drift: as `medres.scoring.drift.compare_results` gives it.
        names: of the two archives, for people.
    """
    charts = []
    for finding, values in drift["findings"].items():
        for name, counts in zip(names, values["histograms"], strict=True):
            title = f"{finding}: studies of {name} by probability"
            chart = draw_histogram(counts, title=title, mark=values["threshold"])
            charts.append((f"{finding}, {name}", chart))
    return (
        template_environment()
        .get_template("drift/page.html")
        .render(
            names=names,
            research_use=RESEARCH_USE,
            notes=drift["notes"],
            tables=drift_tables(drift),
            charts=charts,
        )
    )


def drift_tables(drift: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Rows by the title of their table."""
    tables = {"Inputs": _inputs(drift["archives"])}
    for finding, values in drift["findings"].items():
        tables[f"Scores of {finding}"] = _scores(values)
    guard = drift["guard"]
    if guard is not None:
        rows = [_rate("Images flagged by the guard", guard["flagged_images"])]
        tables["Images of another kind"] = [*rows, *_mix(guard["by_reason"])]
    rejected = drift["rejected"]
    rows = [_rate("Inputs rejected", rejected["rate"])]
    tables["Rejected"] = [*rows, *_mix(rejected["by_reason"])]
    tables["Scanners"] = _mix(drift["scanners"])
    return {title: rows for title, rows in tables.items() if rows}


def format_drift(drift: Mapping[str, Any], names: Sequence[str]) -> str:
    """The tables for a terminal."""
    lines = []
    for title, rows in drift_tables(drift).items():
        cells = [(title, *names, "difference"), *rows]
        widths = [max(len(row[k]) for row in cells) for k in range(3)]
        lines += ["", *(_line(row, widths) for row in cells)]
    return "\n".join([*lines[1:], "", *drift["notes"]]).rstrip()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (f"{cell:<{width}}" for cell, width in zip(row[:3], widths, strict=True))
    return "  ".join([*cells, row[3]]).rstrip()


def _inputs(archives: Sequence[Mapping[str, int]]) -> list[Row]:
    first, second = archives
    return [
        (name.replace("_", " ").capitalize(), f"{first[name]:,}", f"{second[name]:,}", "")
        for name in first
    ]


def _scores(values: Mapping[str, Any]) -> list[Row]:
    rows = [
        ("Studies with a score", *(f"{n:,}" for n in values["studies"]), ""),
        ("Mean", *map(_number, values["mean"]), ""),
        ("Median", *map(_number, values["median"]), ""),
    ]
    if values["positive"] is not None:
        rows.append(_rate(f"At or above {values['threshold']:.3g}", values["positive"]))
    if band := values.get("band"):
        name = f"Indeterminate, {band[0]:.3g} to {band[1]:.3g}"
        rows.append(_rate(name, values["indeterminate"]))
    test, index = values["ks"], values["psi"]
    if test is not None:
        p = _p_value(test["p_value_holm"])
        words = f"D = {test['statistic']:.3f}, {p} (Holm over findings)"
        rows.append(("Kolmogorov-Smirnov", "", "", words))
        size = "stable" if index < STABLE else "changed" if index > CHANGED else "somewhat changed"
        rows.append(("Population stability index", "", "", f"{index:.3f}: {size}"))
    return [(a, b, c, d) for a, b, c, d in rows]


def _rate(name: str, values: Mapping[str, Any] | None) -> Row:
    if values is None:
        return (name, "undefined", "undefined", "")
    first, second = (f"{100 * rate['value']:.1f}%" for rate in values["rates"])
    d = values["difference"]
    between = f"{100 * d['low']:+.1f} to {100 * d['high']:+.1f}"
    return (name, first, second, f"{100 * d['value']:+.1f} points ({between})")


def _mix(mix: Mapping[str, Any]) -> list[Row]:
    totals = [sum(counts[k] for counts in mix["counts"].values()) for k in (0, 1)]
    rows = [
        (name.replace("_", " "), *(_share(counts[k], totals[k]) for k in (0, 1)), "")
        for name, counts in mix["counts"].items()
    ]
    if mix["test"] is not None:
        test = mix["test"]
        words = f"V = {test['cramers_v']:.3f}, {_p_value(test['p_value'])}"
        rows.append(("Mix (chi-squared, Cramér's V)", "", "", words))
    return [(a, b, c, d) for a, b, c, d in rows]


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else "0"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
