"""Judge scores of any program: a table of labels and scores in, the report out.

    medres report scores.csv --out report
    medres report scores.csv --out report --validation validation.csv --prevalence 0.05
    medres report scores.csv --out report --threshold 0.5 --compare other.csv
    medres report scores.csv --out report --model runs/mine/model

Columns: `y_true` and `y_score`, or `<finding>` and `<finding>_score` for several findings; optional
`patient_id`, and subgroup columns such as sex, age, scanner, view, site. Leaves
`evaluation.html` and what stands beside it (docs/evidence.md) in the folder given by --out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.decision_options import (
    as_cases,
    choose_bands,
    choose_thresholds,
    choose_unit,
    read_cases,
    rule_of,
    thresholds_of,
)
from pipelines.report_options import ReportConfig, read_options
from pipelines.shell import exit_status

if TYPE_CHECKING:
    from medres.data.score_table import ScoreTable
    from medres.metrics.finding_details import AskedDetails
    from medres.metrics.operating_point import Threshold
    from medres.metrics.three_way import Band
    from medres.reports.section import Section

PROGRAM = "medres report"


def run(config: ReportConfig) -> Path:
    """Read, judge and write; returns the path of the HTML report."""
    import torch

    from medres.bundle.directory import read_record
    from medres.data.score_table import read_scores
    from medres.metrics.evaluation import evaluate
    from medres.reports.beside import read_beside
    from medres.reports.evidence import write_evidence
    from medres.reports.summary import format_summary

    record = read_record(config.model) if config.model else None
    rows = read_scores(config.scores, record.findings if record else ())
    unit, unknown = choose_unit(config, rows, record)
    config, table = replace(config, unit=unit), as_cases(rows, unit)
    thresholds, notes = choose_thresholds(config, table, record)
    bands, undecided = choose_bands(config, table, record)
    asked, more = ask_details(config, table, bands)
    several: Literal["binary", "multilabel"] = "multilabel" if table.findings[1:] else "binary"
    score = torch.tensor(table.y_score, dtype=torch.float64, device=config.device)
    report = evaluate(
        table.y_true,
        score,
        findings=table.findings,
        patient_ids=table.patient_ids,
        thresholds=thresholds,
        kind="multiclass" if "multiclass" in (config.kind, record and record.kind) else several,
        unit=None if unit == "row" else unit,
        n_studies=count_studies(rows),
        asked=asked,
        resamples=config.resamples,
        seed=config.seed,
    )
    evaluation = report.as_json(**_describe(config, rows))
    evaluation["notes"] = [*table.notes, *unknown, *notes, *undecided, *more, *report.notes]
    evaluation["intended_use"] = config.intended_use
    evaluation["beside"] = read_beside(config.beside, table.findings)
    evaluation["flow"] = {
        "start": f"rows of {config.scores.name}",
        "n": len(rows.y_true) + rows.n_unscored,
        "excluded": [{"why": "without any score", "n": rows.n_unscored}],
    }
    if config.compare:
        evaluation["comparison"] = compare_tables(config, rows, table, thresholds)
    evaluation["cases"], shown = list_cases(table, thresholds, unit)
    card = config.model / "docs" / "README.md" if config.model else config.model_card
    page = write_evidence(evaluation, config.out, model_card=card, sections=[shown])
    print(format_summary(evaluation))
    print(f"\nreport  {page}")
    return page


def count_studies(rows: ScoreTable) -> int | None:
    """Studies behind the rows; None where the table does not tell them apart."""
    if rows.patient_ids is None or rows.study_ids is None or not all(rows.study_ids):
        return None
    return len(set(zip(rows.patient_ids, rows.study_ids, strict=True)))


def list_cases(
    table: ScoreTable, thresholds: dict[str, Threshold], unit: str
) -> tuple[dict[str, Any], Section]:
    """The worst mistakes and borderline cases, by place: the table's owner knows whose they are."""
    from medres.reports.cases import cases_as_json, select_cases
    from medres.reports.cases_section import cases_section

    columns = zip(*table.y_true, strict=True), zip(*table.y_score, strict=True)
    cases = {
        name: select_cases(labels, scores, thresholds[name].value if name in thresholds else None)
        for name, labels, scores in zip(table.findings, *columns, strict=True)
    }
    whose = {
        "row": f"case-1 is the first row with a score in {table.path.name}, and so on.",
        "study": f"case-1 is the first study of {table.path.name}, by patient_id and then "
        "study_instance_uid, and so on.",
        "patient": f"case-1 is the first patient of {table.path.name}, by patient_id, and so on.",
    }[unit]
    return cases_as_json(cases), cases_section(
        cases, whose=whose, no_pictures="A table of scores comes without images."
    )


def ask_details(
    config: ReportConfig, table: ScoreTable, bands: Mapping[str, Band]
) -> tuple[AskedDetails, list[str]]:
    """What the report is to hold beside its usual figures, and notes on columns left out."""
    from medres.data.score_table import select_groups
    from medres.metrics.age_bands import age_bands
    from medres.metrics.finding_details import AskedDetails

    columns, notes = select_groups(table, config.subgroup or None)
    groups: dict[str, Sequence[object]] = dict(columns)
    if "age" in groups and config.unit == "row":
        groups["age"] = age_bands(groups["age"])
    return AskedDetails(
        prevalence=config.prevalence,
        specificities=config.at_specificity,
        sensitivities=config.at_sensitivity,
        bands=bands,
        subgroups=groups,
        intersections=tuple(tuple(text.split(",")) for text in config.intersect),
        minimum=config.minimum,
    ), notes


def compare_tables(
    config: ReportConfig, rows: ScoreTable, table: ScoreTable, thresholds: dict[str, Threshold]
) -> dict[str, Any]:
    """Differences to another model on the same rows, as `evaluation.json` holds them.

    Thresholds given by hand hold for both models; chosen ones need a validation table of each.

    Raises:
        ManifestError: the other table has other rows.
    """
    from medres.data.score_table import check_same_rows, read_scores
    from medres.metrics.model_comparison import compare_models

    other = read_scores(config.compare or "", table.findings)
    check_same_rows(rows, other)
    known = replace(other, patient_ids=rows.patient_ids, study_ids=rows.study_ids)
    other = as_cases(known, config.unit)
    theirs = thresholds if config.threshold else {}
    if config.compare_validation:
        validation = read_cases(config.compare_validation, table.findings, config.unit)
        theirs, _ = thresholds_of(validation, rule_of(config, config.prevalence))
    comparison = compare_models(
        table.y_true,
        table.y_score,
        other.y_score,
        table.findings,
        first_thresholds=thresholds,
        second_thresholds=theirs,
        patient_ids=table.patient_ids,
        resamples=config.resamples,
        seed=config.seed,
    )
    return {
        "first": config.scores.name,
        "second": other.path.name,
        "findings": comparison.as_json(),
    }


def _describe(config: ReportConfig, table: ScoreTable) -> dict[str, Any]:
    from medres.files import file_digest
    from medres.provenance import collect_provenance

    inputs = {
        "scores": config.scores,
        "validation": config.validation,
        "compare": config.compare,
        "compare_validation": config.compare_validation,
    }
    digests = {f"{name}_sha256": file_digest(path) for name, path in inputs.items() if path}
    return {
        "dataset": {
            "scores": config.scores.name,
            "rows": len(table.y_true),
            "patient_ids_given": table.patient_ids is not None,
        },
        "provenance": {
            **collect_provenance(device=config.device, seed=config.seed),
            **digests,
            "resamples": config.resamples,
        },
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit status."""
    config = read_options(argv, prog=PROGRAM, description=__doc__)
    return exit_status(PROGRAM, lambda: run(config))


if __name__ == "__main__":
    sys.exit(main())
