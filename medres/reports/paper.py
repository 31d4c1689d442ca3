r"""What stands beside the page for a paper: vector figures, a CSV and a LaTeX table.

::

    figures/    one plot a finding as PDF and SVG: roc, precision_recall, reliability,
                decision_curve, scores, subgroups, roc_beside (over other data's);
                findings is the forest plot of them all
    tables/     figures.csv: every figure in full; figures.tex: the main ones, for \input

With several findings a plot carries its finding's number and name: `roc-2-effusion.pdf`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medres.reports import figures
from medres.reports.drawing import Drawing, as_vector
from medres.reports.forest import finding_rows, plot_forest, subgroup_rows
from medres.reports.paper_tables import figures_as_csv, figures_as_latex
from medres.reports.roc_overlay import plot_roc_overlays

PLOTS = {
    "roc": figures.plot_roc,
    "precision_recall": figures.plot_precision_recall,
    "reliability": figures.plot_reliability,
    "decision_curve": figures.plot_decision_curve,
    "scores": figures.plot_scores,
}
FORMATS = ("pdf", "svg")
OURS = re.compile(
    rf"({'|'.join((*PLOTS, 'roc_beside', 'subgroups', 'findings'))})(-\d+-[a-z0-9-]+)?\.(pdf|svg)"
)


def paper_files(evaluation: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files by their names under the report's folder.

    Args:
        evaluation: as in `evaluation.json`. What it leaves undefined has no plot.
    """
    tables = {
        "tables/figures.csv": figures_as_csv(evaluation),
        "tables/figures.tex": figures_as_latex(evaluation),
    }
    return {
        **{name: text.encode() for name, text in tables.items()},
        **{
            f"figures/{name}.{kind}": as_vector(drawing, kind)
            for name, drawing in list_drawings(evaluation)
            for kind in FORMATS
        },
    }


def list_drawings(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Drawing]]:
    """Yield each defined plot with its file's name, without suffix."""
    findings, overlays = evaluation["findings"], dict(plot_roc_overlays(evaluation))
    for number, (name, finding) in enumerate(findings.items(), start=1):
        of = f"-{number}-{_slug(name)}" if len(findings) > 1 else ""
        drawings = {kind: plot(finding, name=name) for kind, plot in PLOTS.items()}
        title = f"Subgroups, {name}"
        drawings["subgroups"] = plot_forest(subgroup_rows(finding), title=title)
        if name in overlays:
            drawings["roc_beside"] = overlays[name]
        yield from ((kind + of, drawing) for kind, drawing in drawings.items() if drawing)
    if len(findings) > 1 and (forest := plot_forest(finding_rows(evaluation), title="Findings")):
        yield "findings", forest


def remove_other_plots(folder: Path, written: Mapping[str, bytes]) -> None:
    """Remove the plots of an earlier report that this one has not, and nothing else."""
    for path in (folder / "figures").glob("*.*"):
        if OURS.fullmatch(path.name) and f"figures/{path.name}" not in written:
            path.unlink()


def _slug(name: str) -> str:
    """A finding's name as part of a file's name; its number tells equal ones apart."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "finding"
