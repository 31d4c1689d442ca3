"""What `medres report` is asked: its options and their defaults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.decision_options import add_rule_options


@dataclass(frozen=True)
class ReportConfig:
    """What to judge, and how.

    Attributes:
        scores: table of labels and scores.
        out: folder of the report.
        kind: what several findings are to each other; auto: they may occur together.
        unit: what a case is: a row, or a study or patient that rows combine to as in `medres
            evaluate`; auto: what the model's thresholds are for, without a model a row.
        threshold: numbers, as `0.5` for every finding or `finding=0.5` for one.
        validation: table to choose thresholds on.
        rule: how they are chosen there.
        target: sensitivity or specificity that the rule asks for.
        target_by: its lower confidence bound, or the observed rate.
        miss_cost: for the rule cost.
        compare: table of another model's scores of the same rows, in the same order.
        compare_validation: table to choose that model's thresholds on.
        prevalence: of the target population.
        at_specificity: at which to give the sensitivity.
        at_sensitivity: at which to give the specificity.
        band: scores between which a row is left undecided.
        band_at: sensitivity and specificity of a band that is chosen on the validation table.
        subgroup: columns; none named: every column with 2 to 20 values.
        intersect: columns to cross, as `sex,site`.
        minimum: rows of a class below which a subgroup's figure is not shown.
        resamples: of the patient bootstrap.
        seed: of the patient bootstrap.
        device: where to compute.
        model: directory of the model that gave the scores: its locked thresholds and bands hold,
            and its card lies beside the page.
        model_card: Markdown on a model of another program, likewise.
    """

    scores: Path
    out: Path
    kind: Literal["auto", "multiclass"] = "auto"
    unit: Literal["auto", "row", "study", "patient"] = "auto"
    threshold: tuple[str, ...] = ()
    validation: Path | None = None
    rule: Literal["youden", "sensitivity_at_least", "specificity_at_least", "cost"] = "youden"
    target: float = 0.9
    target_by: Literal["lower_bound", "observed"] = "lower_bound"
    miss_cost: float = 10.0
    compare: Path | None = None
    compare_validation: Path | None = None
    prevalence: float | None = None
    at_specificity: tuple[float, ...] = ()
    at_sensitivity: tuple[float, ...] = ()
    band: tuple[float, float] | None = None
    band_at: tuple[float, float] | None = None
    subgroup: tuple[str, ...] = ()
    intersect: tuple[str, ...] = ()
    minimum: int = 10
    resamples: int = 2000
    seed: int = 0
    device: str = "cpu"
    intended_use: str = ""
    beside: tuple[str, ...] = ()
    model: Path | None = None
    model_card: Path | None = None


def read_options(argv: Sequence[str] | None, *, prog: str, description: str | None) -> ReportConfig:
    """What a command line asks.

    Args:
        argv: its words; None for those of this process.
        prog: the program's name, for its help.
        description: for its help.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    several: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("scores", type=Path, metavar="SCORES", help="CSV or Parquet")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--kind", choices=["auto", "multiclass"], default="auto")
    parser.add_argument(
        "--unit",
        choices=["auto", "row", "study", "patient"],
        default="auto",
        help="what a case is; rows combine by patient_id and study_instance_uid",
    )
    parser.add_argument("--threshold", **several, metavar="[FINDING=]VALUE", help="given by hand")
    parser.add_argument("--validation", type=Path, help="table to choose thresholds on")
    add_rule_options(parser)
    parser.add_argument("--compare", type=Path, metavar="OTHER", help="another model, same rows")
    parser.add_argument("--compare-validation", type=Path, help="to choose its thresholds on")
    parser.add_argument("--prevalence", type=float, help="of the target population")
    parser.add_argument("--at-specificity", **several, type=float, metavar="RATE")
    parser.add_argument("--at-sensitivity", **several, type=float, metavar="RATE")
    parser.add_argument("--band", nargs=2, type=float, metavar=("LOW", "HIGH"), help="undecided")
    parser.add_argument("--subgroup", **several, metavar="COLUMN", help="instead of all columns")
    parser.add_argument("--intersect", **several, metavar="COLUMN,COLUMN", help="cross columns")
    parser.add_argument("--minimum", type=int, default=10, help="rows for a subgroup's figure")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--model", type=Path, help="that gave the scores, for its thresholds")
    parser.add_argument("--model-card", type=Path, help="Markdown, to lie beside the page")
    parser.add_argument("--intended-use", default="", metavar="TEXT", help="for the report")
    parser.add_argument(
        "--beside", **several, metavar="[NAME=]REPORT", help="the same model's, on other data"
    )
    options = vars(parser.parse_args(argv))
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return ReportConfig(**lists)
