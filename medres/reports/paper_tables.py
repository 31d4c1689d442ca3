r"""The figures of an evaluation as CSV, every one in full, and as LaTeX, the main ones rounded.

The LaTeX needs `\usepackage{booktabs}` alone. Every text of the user's is escaped: a finding's name
is words there, never a command.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medres.reports.figure_kinds import (
    FIGURE_KINDS,
    format_estimate,
    format_interval,
    format_number,
    interval_name,
    list_figures,
)
from medres.reports.summary import describe_band, describe_threshold, unit_of

HEADER = ("finding", "group", "figure", "value", "low", "high", "level", "method", "undefined")
COUNTS = ("n", "n_positive")
MAIN = (
    *("auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv"),
    *("brier_score", "expected_calibration_error", "calibration_slope", "calibration_intercept"),
)
"""Figures of the LaTeX table of one finding."""
TABLES = {
    "Ranking and probabilities": ("auroc", "average_precision", "brier_score"),
    "Decisions at the locked threshold": ("sensitivity", "specificity", "ppv", "npv"),
}
"""LaTeX tables of several findings, and their columns: more would not fit a page's width."""
ESCAPED = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "−": "$-$",
    "\N{NO-BREAK SPACE}": "~",
}


def figures_as_csv(evaluation: Mapping[str, Any]) -> str:
    """Return every figure, a row each: those of findings, of their subgroups, macro and micro.

    Numbers are in full; what is undefined has empty cells and its reason.
    """
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([*HEADER, *COUNTS])
    for finding, group, source in _sources(evaluation):
        for kind, estimate in list_figures(source):
            cells = [estimate.get(key) for key in HEADER[3:]]
            table.writerow([finding, group, kind.key, *cells, *(source.get(k) for k in COUNTS)])
    return stream.getvalue()


def _sources(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Finding, group and the section that holds their figures."""
    for name, finding in evaluation["findings"].items():
        yield name, "", finding
        elsewhere = finding.get("at_prevalence")
        if elsewhere:
            rates = {key: elsewhere[key] for key in ("ppv", "npv")}
            yield name, f"prevalence {elsewhere['prevalence']:g}", rates
        for column, section in (finding.get("subgroups") or {}).items():
            for group, figures in section["groups"].items():
                yield name, f"{column} = {group}", figures
    for key in ("macro", "micro"):
        if evaluation.get(key):
            yield f"({key})", "", evaluation[key]


def figures_as_latex(evaluation: Mapping[str, Any]) -> str:
    """Return the main figures with their intervals, as one or two `tabular` environments."""
    findings = evaluation["findings"]
    head = r"% The main figures with intervals; needs \usepackage{booktabs}. \input this file."
    if len(findings) == 1:
        ((name, finding),) = findings.items()
        tables = [_one_finding(name, finding, evaluation)]
    else:
        tables = [_several(title, keys, evaluation) for title, keys in TABLES.items()]
    return "\n\n".join([head, *tables]) + "\n"


def _one_finding(name: str, finding: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    rows = []
    for kind, estimate in list_figures(finding):
        if kind.key not in MAIN:
            continue
        if estimate.get("value") is None:
            rows.append([kind.name, format_estimate(estimate), ""])
            continue
        value = format_number(estimate["value"], percent=kind.percent)
        rows.append([kind.name, value, format_interval(estimate, percent=kind.percent)])
    size = f"{finding.get('n_positive', '?')} of {finding.get('n', '?')} {unit_of(evaluation)}s"
    threshold = finding.get("threshold") or {}
    chosen = threshold.get("value") is not None
    notes = [f"{name}: {size.replace('ys', 'ies')} positive."]
    notes += [f"Threshold {describe_threshold(threshold)}."] if chosen else []
    if section := finding.get("three_way"):
        share = format_estimate(section["undecided"], percent=True)
        notes += [describe_band(section), f"Undecided: {share}."]
    return _tabular(["Figure", "Value", interval_name(evaluation)], rows, notes)


def _several(title: str, keys: Sequence[str], evaluation: Mapping[str, Any]) -> str:
    kinds = {kind.key: kind for kind in FIGURE_KINDS}
    macro = evaluation.get("macro") or {}
    sources = [*evaluation["findings"].items()]
    if any(macro.get(key) for key in keys):
        sources.append(("Macro mean", macro))
    rows = []
    for name, source in sources:
        size = f"{source['n_positive']}/{source['n']}" if "n_positive" in source else ""
        cells = [_cell(source.get(key), percent=kinds[key].percent) for key in keys]
        rows.append([name, size, *cells])
    header = ["Finding", "Positive", *(kinds[key].name for key in keys)]
    return _tabular(header, rows, [f"{title}. Value ({interval_name(evaluation)})."])


def _cell(estimate: Mapping[str, Any] | None, *, percent: bool) -> str:
    text = format_estimate(estimate, percent=percent) if estimate else "–"
    return "undefined" if text.startswith("undefined") else text


def _tabular(header: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    columns = len(header)
    note = r" \\ ".join(
        rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\footnotesize {escape_latex(text)}}}"
        for text in notes
    )
    return "\n".join(
        [
            rf"\begin{{tabular}}{{@{{}}l{'l' * (columns - 1)}@{{}}}}",
            r"\toprule",
            _row(header),
            r"\midrule",
            *(_row(row) for row in rows),
            r"\bottomrule",
            rf"{note} \\",
            r"\end{tabular}",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def escape_latex(text: str) -> str:
    """Return text that LaTeX prints as it stands; control characters become blanks."""
    return "".join(ESCAPED.get(char, char if char.isprintable() else " ") for char in text)
