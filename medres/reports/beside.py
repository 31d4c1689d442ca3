"""Other evaluations of the same model beside this one: internal beside external, site by site."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medres.errors import ConfigError
from medres.files import read_json
from medres.reports.extra_tables import ExtraTable
from medres.reports.figure_kinds import FIGURE_KINDS, FigureKind, format_estimate
from medres.reports.figures import curve_points, thin_curve
from medres.reports.forest import ForestRow
from medres.reports.summary import describe_threshold, unit_of

if TYPE_CHECKING:
    from medres.metrics.estimate import Figure

COMPARED = (
    *("prevalence", "auroc", "sensitivity", "specificity", "ppv", "npv"),
    *("brier_score", "calibration_slope", "calibration_in_the_large"),
)
"""Figures that are set side by side."""
UNBOUNDED = ("calibration_slope", "calibration_in_the_large")
HERE = "this evaluation"


def read_beside(texts: Sequence[str], findings: Sequence[str]) -> list[dict[str, Any]]:
    """Read what is to stand beside an evaluation: the section "beside" of `evaluation.json`.

    Args:
        texts: `PATH` or `NAME=PATH`; a path is an `evaluation.json`, or the folder that holds it.
        findings: of this evaluation; each is taken from the other where it has it.

    Raises:
        ConfigError: no such file, no evaluation, or no finding in common.
    """
    return [_read_one(*_named(text), findings) for text in texts]


def _named(text: str) -> tuple[str, Path]:
    name, equals, place = text.partition("=")
    path = Path(place if equals else text)
    if path.is_dir():
        path /= "evaluation.json"
    return name if equals else path.parent.resolve().name, path


def _read_one(name: str, path: Path, findings: Sequence[str]) -> dict[str, Any]:
    from medres.reports.evidence import check_evaluation

    if not path.is_file():
        raise ConfigError(
            f"--beside {path}: no such file; give an evaluation.json, or the folder of a report"
        )
    try:
        other = read_json(path)
    except ValueError as error:
        raise ConfigError(f"--beside {path}: no JSON; give an evaluation.json") from error
    if not isinstance(other, dict):
        raise ConfigError(f"--beside {path}: no evaluation; give an evaluation.json")
    check_evaluation(other)
    common = [finding for finding in findings if finding in other["findings"]]
    if not common:
        raise ConfigError(
            f"--beside {path}: holds {', '.join(other['findings'])}, none of "
            f"{', '.join(findings)}; give an evaluation of the same findings"
        )
    kept = ("n", "n_positive", "threshold", *COMPARED)
    return {
        "name": name,
        "unit": unit_of(other),
        "findings": {
            finding: {
                **{key: other["findings"][finding].get(key) for key in kept},
                "curves": {"roc": _thin_roc(other["findings"][finding])},
            }
            for finding in common
        },
    }


def _thin_roc(finding: Mapping[str, Any]) -> dict[str, list[float]] | None:
    """The ROC curve as it can be drawn: some hundred points, however many cases there were."""
    points = curve_points(finding, "roc", "false_positive_rate", "sensitivity")
    if points is None:
        return None
    return dict(zip(("false_positive_rate", "sensitivity"), thin_curve(*points), strict=True))


def beside_rows(evaluation: Mapping[str, Any]) -> tuple[ForestRow, ...]:
    """Rows of a forest plot: a heading a finding, this evaluation, each other one."""
    rows: list[ForestRow] = []
    for finding, entries in entries_by_finding(evaluation):
        rows.append(ForestRow(finding, "", {}))
        for name, entry in entries:
            size = f"{entry['n_positive']} of {entry['n']}"
            rows.append(ForestRow(name, size, {key: entry.get(key) for key in COMPARED}))
    return tuple(rows)


def beside_tables(evaluation: Mapping[str, Any]) -> tuple[ExtraTable, ...]:
    """A table a finding and other evaluation: every figure here, there, and their difference."""
    kinds = [kind for key in COMPARED for kind in FIGURE_KINDS if kind.key == key]
    tables = []
    for finding, ((_, here), *others) in entries_by_finding(evaluation):
        for name, there in others:
            rows = tuple(_row(kind, here, there, name) for kind in kinds if here.get(kind.key))
            tables.append(
                ExtraTable(
                    f"{finding}: {HERE} and {name}",
                    _thresholds(here, there),
                    ("Figure", "Here", f"In {name}", "Difference (interval)"),
                    rows,
                )
            )
    return tuple(tables)


def entries_by_finding(
    evaluation: Mapping[str, Any],
) -> Iterator[tuple[str, list[tuple[str, Mapping[str, Any]]]]]:
    """Each finding that is judged elsewhere too: here first, then the others, by name."""
    for finding, here in evaluation["findings"].items():
        others = [
            (other["name"], other["findings"][finding])
            for other in evaluation.get("beside") or ()
            if finding in other["findings"]
        ]
        if others:
            yield finding, [(HERE, here), *others]


def _thresholds(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    first, second = (entry.get("threshold") or {} for entry in (here, there))
    if first.get("value") is None or second.get("value") is None:
        return "One of the two has no threshold."
    if first["value"] == second["value"]:
        return f"Both at the threshold {describe_threshold(first)}. The patients are others."
    return (
        f"Thresholds differ: {first['value']:.6g} ({first['rule']}) here, {second['value']:.6g} "
        f"({second['rule']}) there. The patients are others."
    )


def _row(
    kind: FigureKind, here: Mapping[str, Any], there: Mapping[str, Any], name: str
) -> tuple[str, ...]:
    from medres.metrics.independent_difference import independent_difference  # late: it takes torch

    bounds = (-math.inf, math.inf) if kind.key in UNBOUNDED else (-1.0, 1.0)
    first, second = _figure(here.get(kind.key)), _figure(there.get(kind.key))
    found = independent_difference(first, second, second_name=name, limits=bounds)
    shown = [format_estimate(entry.get(kind.key), percent=kind.percent) for entry in (here, there)]
    return (kind.name, *shown, _points(found.as_json(), percent=kind.percent))


def _figure(estimate: Mapping[str, Any] | None) -> Figure:
    from medres.metrics.estimate import Estimate, UndefinedEstimate

    if not estimate or estimate.get("value") is None or estimate.get("low") is None:
        return UndefinedEstimate(str((estimate or {}).get("undefined") or "not computed"))
    return Estimate(estimate["value"], estimate["low"], estimate["high"], estimate["level"])


def _points(difference: Mapping[str, Any], *, percent: bool) -> str:
    """A difference: of shares in percentage points."""
    if difference["value"] is None:
        return f"undefined ({difference['undefined']})"
    scale, places, unit = (100, 1, " points") if percent else (1, 3, "")
    value, low, high = (
        _with_sign(difference[key] * scale, places) for key in ("value", "low", "high")
    )
    return f"{value}{unit} ({low} to {high})"


def _with_sign(value: float, places: int) -> str:
    text = f"{value:+.{places}f}"
    return text[1:] if float(text) == 0 else text
