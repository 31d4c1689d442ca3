"""The evidence page: what the template shows, prepared; and the template rendered.

The page stands alone: one file, nothing loaded from anywhere, and no script but the one whose
digest its own content security policy names. Every text is escaped by jinja2; the drawings are
escaped where they are made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

from markupsafe import Markup

from medres.reports import summary
from medres.reports.drawing import as_svg
from medres.reports.explorer import view_explorer
from medres.reports.extra_tables import ExtraTable, comparison_table, extra_tables
from medres.reports.figures import (
    plot_precision_recall,
    plot_reliability,
    plot_roc,
    plot_scores,
    plot_training,
)
from medres.reports.section import Section
from medres.reports.template_environment import template_environment

# What a plot shows, in one line under it, and the keys of the curve that it needs.
CAPTIONS = {
    "ROC": "Point: the locked threshold, with intervals. Dashed: chance.",
    "Precision-recall": "Point: the locked threshold. Dashed: prevalence, the level of chance.",
    "Reliability": "Bars: intervals. Larger points hold more cases. Dashed: perfect calibration.",
    "Scores": "Share of each class in each bin of the score. Dashed: the locked threshold.",
}
# Sections of the evaluation that have a place of their own on the page.
PLACED = {
    *("schema", "unit", "n", "findings", "macro", "micro", "multiclass", "notes"),
    *("splits", "leakage", "training", "comparison"),
}
SECTION_TITLES = {
    "dataset": "Data set",
    "model": "Model",
    "calibration": "Temperature scaling, fitted on validation",
    "preprocessing": "Preprocessing",
    "provenance": "Provenance: versions, digests, seed, configuration",
}
TRAINING_PAGE = re.compile(r"(\.\./)?training\.html")
"""Where the training's own page may lie: beside the report, or above it."""


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
class Bar:
    """An estimate drawn as a bar with its interval: positions in per cent of the axis."""

    value: float
    low: float
    high: float


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
        auroc_bar: for the forest plot; None where undefined.
        rows: the table of figures.
        threshold: value and rule, or empty.
        confusion: tp, fp, fn, tn; empty where there was no threshold.
        plots: ROC, precision-recall, reliability, scores.
        tables: elsewhere, undecided, net benefit, subgroups.
    """

    name: str
    anchor: str
    size: str
    headline: tuple[str, str, str]
    auroc_bar: Bar | None
    rows: tuple[FigureRow, ...]
    threshold: str
    confusion: Mapping[str, int]
    plots: tuple[Plot, ...]
    tables: tuple[ExtraTable, ...]


def render_page(evaluation: Mapping[str, Any], sections: Sequence[Section] = ()) -> str:
    """Return the evaluation as one self-contained HTML page.

    Args:
        evaluation: as in `evaluation.json`; sections beside `findings` may be absent.
        sections: parts made elsewhere, such as the worst mistakes, to stand after the figures.
    """
    environment = template_environment()
    environment.filters["readable"] = readable
    environment.filters["label"] = label
    environment.tests["table"] = is_table
    explorer = view_explorer(evaluation)
    script = "\n".join(_template_text(name) for name in ("figures.js", "explorer.js"))
    return environment.get_template("evidence/page.html").render(
        build_view(evaluation),
        explorer=explorer,
        explorer_data=_embedded_json(explorer.data) if explorer else "",
        script=Markup(script),
        script_digest=_digest(script),
        added=[Section(s.anchor, s.title, Markup(s.body), s.style) for s in sections],
        style=Markup("\n".join(section.style for section in sections)),
    )


def _template_text(name: str) -> str:
    folder = resources.files("medres.reports") / "templates" / "evidence"
    return (folder / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The script's name in a content security policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _embedded_json(values: Any) -> Markup:
    """JSON that may stand inside a script element: no character of it ends the element."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def build_view(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template's variables."""
    findings = evaluation["findings"]
    macro = evaluation.get("macro") or {}
    training = dict(evaluation.get("training") or {})
    history = training.pop("history", None) or ()
    training.pop("notes", None)
    page = str(training.pop("page", ""))
    return {
        "title": next(iter(findings)) if len(findings) == 1 else f"{len(findings)} findings",
        "dataset_name": (evaluation.get("dataset") or {}).get("name") or "",
        "research_use": summary.RESEARCH_USE,
        "sentences": summary.describe_evaluation(evaluation),
        "interval": summary.interval_name(evaluation),
        "notes": summary.collect_notes(evaluation),
        "unit": summary.unit_of(evaluation),
        "units": summary.plural(summary.unit_of(evaluation)),
        "findings": [
            view_finding(name, finding, f"finding-{number}")
            for number, (name, finding) in enumerate(findings.items(), start=1)
        ],
        "macro": {
            "auroc": summary.format_estimate(macro.get("auroc")),
            "average_precision": summary.format_estimate(macro.get("average_precision")),
            "bar": _bar(macro.get("auroc")),
            "named": len(macro.get("findings") or ()),
            "left_out": summary.describe_left_out(evaluation),
        },
        "micro": _micro(evaluation),
        "comparison": comparison_table(evaluation),
        "splits": _splits(evaluation),
        "leakage": _without_notes(evaluation.get("leakage")),
        "training": training,
        "training_page": page if TRAINING_PAGE.fullmatch(page) else "",
        "training_plot": Markup(as_svg(plot_training(history), "training-plot")),
        "multiclass": _multiclass(evaluation),
        "sections": _sections(evaluation),
    }


def view_finding(name: str, finding: Mapping[str, Any], anchor: str) -> FindingView:
    """Prepare one finding for the template."""
    threshold = finding.get("threshold") or {}
    chosen = threshold.get("value") is not None
    return FindingView(
        name=name,
        anchor=anchor,
        size=f"{finding.get('n_positive', '?')} of {finding.get('n', '?')}",
        headline=(
            summary.format_estimate(finding.get("auroc")),
            summary.format_estimate(finding.get("sensitivity"), percent=True),
            summary.format_estimate(finding.get("specificity"), percent=True),
        ),
        auroc_bar=_bar(finding.get("auroc")),
        rows=tuple(_row(kind, estimate) for kind, estimate in summary.list_figures(finding)),
        threshold=summary.describe_threshold(threshold) if chosen else "",
        confusion=finding.get("confusion") or {},
        plots=_plots(name, finding, anchor),
        tables=extra_tables(finding),
    )


def readable(value: Any) -> str:
    """Return a value of the JSON as a person writes it: yes, no, 0.25, `a, b`."""
    if isinstance(value, Mapping):
        text = ", ".join(f"{label(key)} {readable(item)}" for key, item in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(readable(item) for item in value)
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, int):
        text = f"{value:,}" if abs(value) >= 10_000 else str(value)
    else:
        text = "" if value is None else str(value)
    return text or "–"


def is_table(value: Any) -> bool:
    """Whether a value is a list of records, to be shown as a table."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(item, Mapping) for item in value)
    )


def label(key: object) -> str:
    """Return a key of the JSON as a heading: `manifest_sha256` becomes `Manifest SHA-256`."""
    words = str(key).replace("_", " ").replace("sha256", "SHA-256").replace("auroc", "AUROC")
    return words[:1].upper() + words[1:]


def _row(kind: summary.FigureKind, estimate: Mapping[str, Any]) -> FigureRow:
    defined = estimate.get("value") is not None
    show = partial(summary.format_number, percent=kind.percent)
    return FigureRow(
        name=kind.name,
        value=show(estimate["value"]) if defined else summary.format_estimate(estimate),
        interval=summary.format_interval(estimate, percent=kind.percent),
        method=str(estimate.get("method") or ""),
        meaning=kind.meaning,
        defined=defined,
    )


def _bar(estimate: Mapping[str, Any] | None) -> Bar | None:
    if not estimate or estimate.get("value") is None:
        return None
    value = estimate["value"]
    low, high = (value if estimate.get(key) is None else estimate[key] for key in ("low", "high"))
    return Bar(*(round(100 * min(max(figure, 0.0), 1.0), 2) for figure in (value, low, high)))


def _plots(name: str, finding: Mapping[str, Any], anchor: str) -> tuple[Plot, ...]:
    drawings = {
        "ROC": plot_roc,
        "Precision-recall": plot_precision_recall,
        "Reliability": plot_reliability,
        "Scores": plot_scores,
    }
    plots = []
    for title, plot in drawings.items():
        svg = as_svg(plot(finding, name=name), f"{anchor}-{title.lower()}")
        plots.append(Plot(title, Markup(svg), CAPTIONS[title]))
    return tuple(plots)


def _multiclass(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    section = evaluation.get("multiclass")
    if not section:
        return {}
    names = (
        *("balanced_accuracy", "macro_f1", "weighted_f1", "kappa", "quadratic_kappa"),
        *("macro_auroc", "weighted_auroc", "hand_till_auroc"),
    )
    return {
        "accuracy": summary.format_estimate(section.get("accuracy"), percent=True),
        "figures": [
            (label(name).replace("f1", "F1"), summary.format_estimate(section[name]))
            for name in names
            if section.get(name)
        ],
        "classes": section["classes"],
        "rows": list(zip(section["classes"], section["confusion_matrix"], strict=True)),
    }


def _micro(evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    """Printed AUROC, sensitivity and specificity of all findings pooled, or nothing."""
    section = evaluation.get("micro")
    if not section:
        return ()
    return (
        summary.format_estimate(section.get("auroc")),
        summary.format_estimate(section.get("sensitivity"), percent=True),
        summary.format_estimate(section.get("specificity"), percent=True),
    )


def _splits(evaluation: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Rows of the splits table: the sections that count something, not the notes beside them."""
    splits = evaluation.get("splits") or {}
    return {name: row for name, row in splits.items() if isinstance(row, Mapping)}


def _without_notes(section: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {key: value for key, value in (section or {}).items() if key != "notes"}


def _sections(evaluation: Mapping[str, Any]) -> tuple[tuple[str, str, Mapping[str, Any]], ...]:
    """Sections shown as plain key and value at the end: anchor, title, content.

    Sections that this version does not know come too, under their own name.
    """
    rows: list[tuple[str, str, Mapping[str, Any]]] = []
    for key in (*SECTION_TITLES, *(key for key in evaluation if key not in SECTION_TITLES)):
        section = evaluation.get(key)
        if key not in PLACED and isinstance(section, Mapping) and section:
            anchor = key if key in SECTION_TITLES else f"section-{len(rows) + 1}"
            rows.append((anchor, SECTION_TITLES.get(key) or label(key), _without_notes(section)))
    return tuple(rows)
