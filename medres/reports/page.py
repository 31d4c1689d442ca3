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
from importlib import resources
from typing import Any

from markupsafe import Markup

from medres.reports import summary
from medres.reports.beside import beside_rows, beside_tables
from medres.reports.claim import claim_parts
from medres.reports.differences import plot_differences
from medres.reports.drawing import Drawing, as_svg
from medres.reports.explorer import view_explorer
from medres.reports.extra_tables import comparison_table
from medres.reports.figure_kinds import format_estimate, interval_name
from medres.reports.figures import plot_training
from medres.reports.finding_view import view_finding
from medres.reports.flow import draw_flow
from medres.reports.forest import finding_rows, plot_forest
from medres.reports.readable import is_table, label, readable
from medres.reports.roc_overlay import plot_roc_overlays
from medres.reports.section import Section
from medres.reports.template_environment import template_environment

# Sections of the evaluation that have a place of their own on the page.
PLACED = {
    *("schema", "unit", "n", "findings", "macro", "micro", "multiclass", "notes"),
    *("flow", "splits", "leakage", "training", "comparison", "cases", "beside"),
}
SECTION_TITLES = {
    "dataset": "Data set",
    "model": "Model",
    "calibration": "Temperature scaling, fitted on validation",
    "preprocessing": "Preprocessing",
    "folds": "Folds: each one's own figures",
    "provenance": "Provenance: versions, digests, seed, configuration",
}
TRAINING_PAGE = re.compile(r"(\.\./)?training\.html")
"""Where the training's own page may lie: beside the report, or above it."""


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
    view = build_view(evaluation)
    claim = claim_parts(list_anchors(view, sections, explorer=explorer is not None))
    scripts = ("links.js", *(("figures.js", "markers.js", "explorer.js") if explorer else ()))
    script = "\n".join(_template_text(name) for name in scripts)
    return environment.get_template("evidence/page.html").render(
        view,
        claim=claim,
        claim_answered=sum(bool(row.links) for _, rows in claim for row in rows),
        explorer=explorer,
        explorer_data=_embedded_json(explorer.data) if explorer else "",
        script=Markup(script),
        script_digest=_digest(script),
        added=[Section(s.anchor, s.title, Markup(s.body), s.style) for s in sections],
        style=Markup("\n".join(section.style for section in sections)),
    )


def list_anchors(
    view: Mapping[str, Any], sections: Sequence[Section], *, explorer: bool
) -> set[str]:
    """Return the ids of the page's parts, for links to them.

    Args:
        view: of `build_view`.
        sections: made elsewhere.
        explorer: the threshold can be moved.
    """
    there = {
        "intended-use": view["intended_use"],
        "notes": view["notes"],
        "use": explorer,
        "explore": explorer,
        "splits": view["splits"],
        "leakage": view["leakage"],
        "findings": view["findings"][1:],
        "finding-1-subgroups": view["findings"][0].subgroups,
        "multiclass": view["multiclass"],
        "comparison": view["comparison"],
        "beside": view["beside"],
        "training": view["training"] or view["training_plot"],
    }
    return {
        *("summary", "patients"),
        *(finding.anchor for finding in view["findings"]),
        *(name for name, content in there.items() if content),
        *(anchor for anchor, _, _ in view["sections"]),
        *(section.anchor for section in sections),
    }


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
        "interval": interval_name(evaluation),
        "intended_use": str(evaluation.get("intended_use") or ""),
        "notes": summary.collect_notes(evaluation),
        "unit": summary.unit_of(evaluation),
        "units": summary.plural(summary.unit_of(evaluation)),
        "findings": [
            view_finding(name, finding, f"finding-{number}")
            for number, (name, finding) in enumerate(findings.items(), start=1)
        ],
        "macro": {
            "auroc": format_estimate(macro.get("auroc")),
            "average_precision": format_estimate(macro.get("average_precision")),
            "defined": bool(macro.get("auroc")),
            "named": len(macro.get("findings") or ()),
            "left_out": summary.describe_left_out(evaluation),
        },
        "micro": _micro(evaluation),
        "forest": Markup(as_svg(_findings_forest(evaluation), "findings-plot")),
        "comparison": comparison_table(evaluation),
        "differences": Markup(as_svg(plot_differences(evaluation), "differences")),
        "beside": beside_tables(evaluation),
        "roc_overlays": [
            (finding, Markup(as_svg(drawing, f"beside-roc-{number}")))
            for number, (finding, drawing) in enumerate(plot_roc_overlays(evaluation), start=1)
        ],
        "beside_plot": Markup(
            as_svg(plot_forest(beside_rows(evaluation), title="Beside other data"), "beside-plot")
        ),
        "flow": draw_flow(evaluation, anchor="flow"),
        "splits": _splits(evaluation),
        "leakage": _without_notes(evaluation.get("leakage")),
        "training": training,
        "training_page": page if TRAINING_PAGE.fullmatch(page) else "",
        "training_plot": Markup(as_svg(plot_training(history), "training-plot")),
        "multiclass": _multiclass(evaluation),
        "sections": _sections(evaluation),
    }


def _findings_forest(evaluation: Mapping[str, Any]) -> Drawing | None:
    several = len(evaluation["findings"]) > 1
    return plot_forest(finding_rows(evaluation), title="All findings") if several else None


def _multiclass(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    section = evaluation.get("multiclass")
    if not section:
        return {}
    names = (
        *("balanced_accuracy", "macro_f1", "weighted_f1", "kappa", "quadratic_kappa"),
        *("macro_auroc", "weighted_auroc", "hand_till_auroc"),
    )
    return {
        "accuracy": format_estimate(section.get("accuracy"), percent=True),
        "figures": [
            (label(name).replace("f1", "F1"), format_estimate(section[name]))
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
        format_estimate(section.get("auroc")),
        format_estimate(section.get("sensitivity"), percent=True),
        format_estimate(section.get("specificity"), percent=True),
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
