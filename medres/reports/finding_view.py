"""What the page shows of one finding: its figures, its curves, its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from medres.reports import figures, summary
from medres.reports.drawing import as_svg
from medres.reports.extra_tables import ExtraTable, extra_tables
from medres.reports.figure_kinds import (
    FigureKind,
    format_estimate,
    format_interval,
    format_number,
    list_figures,
)
from medres.reports.forest import plot_forest, subgroup_rows

PLOTS = {
    "ROC": (
        figures.plot_roc,
        "Shaded: pointwise interval. Point: the locked threshold. Dashed: chance.",
    ),
    "Precision-recall": (
        figures.plot_precision_recall,
        "Shaded: pointwise interval. Point: the locked threshold. Dashed: the prevalence.",
    ),
    "Reliability": (
        figures.plot_reliability,
        "Bars: intervals. Larger points hold more cases. Dashed: perfect calibration.",
    ),
    "Decision curve": (
        figures.plot_decision_curve,
        "Shaded: pointwise interval. Worth using where it lies above both other lines.",
    ),
    "Scores": (
        figures.plot_scores,
        "Share of each class in each bin of the score. Dashed: the locked threshold.",
    ),
}
"""Each plot of a finding, and how to read it in one line."""


@dataclass(frozen=True)
class FigureRow:
    """One line of a finding's table.

    Attributes:
        name: as a clinician knows it.
        value: printed value, or "undefined (reason)".
        interval: printed interval, or empty.
        method: of the interval.
        meaning: one line of explanation.
        defined: there is a value.
    """

    name: str
    value: str
    interval: str
    method: str
    meaning: str
    defined: bool


@dataclass(frozen=True)
class Plot:
    """A drawing with its heading and caption; `svg` is empty where the curve is undefined."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class FindingView:
    """All that the page shows of one finding.

    Attributes:
        name: of the finding.
        anchor: id of its section, `finding-1` and so on, whatever the name holds.
        size: "56 of 160".
        headline: AUROC, sensitivity, specificity as printed text.
        rows: the table of figures.
        threshold: value and rule, or empty.
        band: in which cases are left undecided, as a sentence, or empty.
        confusion: tp, fp, fn, tn; empty where there was no threshold.
        plots: ROC, precision-recall, reliability, decision curve, scores.
        subgroups: forest plot, or empty.
        tables: elsewhere, undecided, net benefit, subgroups.
    """

    name: str
    anchor: str
    size: str
    headline: tuple[str, str, str]
    rows: tuple[FigureRow, ...]
    threshold: str
    band: str
    confusion: Mapping[str, int]
    plots: tuple[Plot, ...]
    subgroups: str
    tables: tuple[ExtraTable, ...]


def view_finding(name: str, finding: Mapping[str, Any], anchor: str) -> FindingView:
    """Prepare one finding for the template.

    Args:
        name: of the finding.
        finding: its entry in `evaluation.json`.
        anchor: id of its section.
    """
    threshold = finding.get("threshold") or {}
    chosen = threshold.get("value") is not None
    forest = plot_forest(subgroup_rows(finding), title=f"Subgroups, {name}")
    return FindingView(
        name=name,
        anchor=anchor,
        size=f"{finding.get('n_positive', '?')} of {finding.get('n', '?')}",
        headline=(
            format_estimate(finding.get("auroc")),
            format_estimate(finding.get("sensitivity"), percent=True),
            format_estimate(finding.get("specificity"), percent=True),
        ),
        rows=tuple(_row(kind, estimate) for kind, estimate in list_figures(finding)),
        threshold=summary.describe_threshold(threshold) if chosen else "",
        band=summary.describe_band(finding["three_way"]) if finding.get("three_way") else "",
        confusion=finding.get("confusion") or {},
        plots=_plots(name, finding, anchor),
        subgroups=Markup(as_svg(forest, f"{anchor}-subgroups-plot")),
        tables=extra_tables(finding),
    )


def _row(kind: FigureKind, estimate: Mapping[str, Any]) -> FigureRow:
    defined = estimate.get("value") is not None
    show = partial(format_number, percent=kind.percent)
    return FigureRow(
        name=kind.name,
        value=show(estimate["value"]) if defined else format_estimate(estimate),
        interval=format_interval(estimate, percent=kind.percent),
        method=str(estimate.get("method") or ""),
        meaning=kind.meaning,
        defined=defined,
    )


def _plots(name: str, finding: Mapping[str, Any], anchor: str) -> tuple[Plot, ...]:
    plots = []
    for title, (plot, caption) in PLOTS.items():
        place = f"{anchor}-{title.lower().replace(' ', '-')}"
        plots.append(Plot(title, Markup(as_svg(plot(finding, name=name), place)), caption))
    return tuple(plots)
