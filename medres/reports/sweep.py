"""Several runs that differ in their seed, and perhaps in a setting: every figure's mean and spread.

The standard deviation over seeds says how much of a difference is chance of training. It says
nothing of chance in the choice of test patients, which each run's own intervals are for.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from medres.files import write_json, write_text
from medres.reports.figure_kinds import format_number

SWEPT = (
    "auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "brier_score",
    "expected_calibration_error",
)
"""Figures of a finding that are compared; of the macro mean, those that it has."""
MACRO = "macro"


@dataclass(frozen=True)
class SweptFigure:
    """One figure of one finding in one run.

    Attributes:
        finding: its name, or `macro` for the mean over several.
        figure: its key in `evaluation.json`.
        value: None where the labels do not define it.
        low: lower limit of its own interval, or None.
        high: upper limit of its own interval, or None.
    """

    finding: str
    figure: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SweptRun:
    """One run of a sweep.

    Attributes:
        setting: what it was run with, beside the seed: key to value, empty where nothing varies.
        number: of the seed (or of the fold, where folds are compared).
        figures: of its test set.
    """

    setting: Mapping[str, str]
    number: int
    figures: tuple[SweptFigure, ...]


@dataclass(frozen=True)
class SeedSummary:
    """One figure over the seeds of one setting.

    Attributes:
        setting: as in `SweptRun`.
        finding: as in `SweptFigure`.
        figure: as in `SweptFigure`.
        n: seeds whose run defines it.
        mean: over them; None for none.
        sd: standard deviation with n − 1; None below two.
        low: the lowest of them.
        high: the highest of them.
    """

    setting: Mapping[str, str]
    finding: str
    figure: str
    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None


def list_swept_figures(evaluation: Mapping[str, Any]) -> tuple[SweptFigure, ...]:
    """The figures of an `evaluation.json` that a sweep compares."""
    entries = dict(evaluation["findings"])
    if len(entries) > 1:
        entries[MACRO] = evaluation["macro"]
    return tuple(
        SweptFigure(name, key, *(entry[key].get(part) for part in ("value", "low", "high")))
        for name, entry in entries.items()
        for key in SWEPT
        if key in entry
    )


def summarise_seeds(runs: Sequence[SweptRun]) -> tuple[SeedSummary, ...]:
    """Mean and standard deviation over seeds, in the order in which settings and figures come."""
    values: dict[tuple[tuple[tuple[str, str], ...], str, str], list[float]] = {}
    for run in runs:
        for found in run.figures:
            key = (tuple(run.setting.items()), found.finding, found.figure)
            kept = values.setdefault(key, [])
            if found.value is not None:
                kept.append(found.value)
    return tuple(
        SeedSummary(
            dict(setting),
            finding,
            figure,
            n=len(kept),
            mean=fmean(kept) if kept else None,
            sd=stdev(kept) if len(kept) > 1 else None,
            low=min(kept, default=None),
            high=max(kept, default=None),
        )
        for (setting, finding, figure), kept in values.items()
    )


def format_sweep(runs: Sequence[SweptRun], *, counted: str = "seeds") -> str:
    """A Markdown table: one row a setting and finding, mean ± standard deviation of each figure.

    Args:
        runs: of the sweep.
        counted: what differs from run to run, as a plural.
    """
    summaries = summarise_seeds(runs)
    settings = list(runs[0].setting)
    figures = list(dict.fromkeys(s.figure for s in summaries))
    rows: dict[tuple[str, ...], dict[str, SeedSummary]] = {}
    for summary in summaries:
        row = (*summary.setting.values(), summary.finding)
        rows.setdefault(row, {})[summary.figure] = summary
    names = [figure.replace("_", " ") for figure in figures]
    lines = [[*settings, "finding", counted, *names], ["---"] * (len(settings) + 2 + len(names))]
    for row, found in rows.items():
        seeds = sum(tuple(run.setting.values()) == row[:-1] for run in runs)
        cells = [_spread(found[f], seeds) if f in found else "–" for f in figures]
        lines.append([*row, str(seeds), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _spread(summary: SeedSummary, seeds: int) -> str:
    if summary.mean is None:
        return "undefined"
    text = format_number(summary.mean)
    text += "" if summary.sd is None else f" ± {format_number(summary.sd)}"
    return text if summary.n == seeds else f"{text} (n = {summary.n})"


def write_sweep(
    runs: Sequence[SweptRun], folder: Path, *, name: str = "sweep", counted: str = "seeds"
) -> None:
    """Write `sweep.json`, `sweep.md`, `runs.csv` (a row a run and figure) and `summary.csv`."""
    summaries, settings = summarise_seeds(runs), list(runs[0].setting)
    write_text(folder / f"{name}.md", format_sweep(runs, counted=counted))
    write_json(
        folder / f"{name}.json",
        {
            "schema": "medres.sweep/1",
            "runs": [
                {
                    "setting": dict(run.setting),
                    counted[:-1]: run.number,
                    "figures": [vars(figure) for figure in run.figures],
                }
                for run in runs
            ],
            "summary": [{**vars(s), "setting": dict(s.setting)} for s in summaries],
        },
    )
    write_text(
        folder / "runs.csv",
        _csv(
            [*settings, counted[:-1], "finding", "figure", "value", "low", "high"],
            (
                [*run.setting.values(), run.number, *vars(figure).values()]
                for run in runs
                for figure in run.figures
            ),
        ),
    )
    write_text(
        folder / "summary.csv",
        _csv(
            [*settings, "finding", "figure", "n", "mean", "sd", "low", "high"],
            ([*s.setting.values(), *list(vars(s).values())[1:]] for s in summaries),
        ),
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return stream.getvalue()
