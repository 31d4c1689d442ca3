"""How thresholds and bands come about: given by hand, a model's own, or chosen on scores."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from medres.bundle.record import ModelRecord
    from medres.config import EvaluationConfig
    from medres.data.score_table import ScoreTable
    from medres.metrics.operating_point import Threshold
    from medres.metrics.three_way import Band
    from pipelines.recalibrate import RecalibrateConfig
    from pipelines.report_options import ReportConfig

Unit = Literal["auto", "row", "study", "patient"]
"""What a case is; auto is left to `choose_unit`."""


def add_rule_options(parser: argparse.ArgumentParser) -> None:
    """Flags that say how a threshold is chosen."""
    rules = ["youden", "sensitivity_at_least", "specificity_at_least", "cost"]
    parser.add_argument("--rule", choices=rules, default="youden", help="of the threshold")
    parser.add_argument("--target", type=float, default=0.9, help="rate that the rule asks for")
    parser.add_argument(
        "--target-by",
        choices=["lower_bound", "observed"],
        default="lower_bound",
        help="whether the rate's lower 95 %% bound is to reach the target",
    )
    parser.add_argument("--miss-cost", type=float, default=10.0, help="in false alarms")
    parser.add_argument(
        "--band-at",
        nargs=2,
        type=float,
        metavar=("SENSITIVITY", "SPECIFICITY"),
        help="choose a band that is left undecided, by these rates at its ends",
    )


def checked_band(rates: tuple[float, float] | None) -> tuple[float, float] | None:
    """The rates of a band.

    Raises:
        ConfigError: one is no rate.
    """
    from medres.errors import ConfigError

    if rates and not all(0 < rate < 1 for rate in rates):
        found = " ".join(f"{rate:g}" for rate in rates)
        raise ConfigError(
            f"--band-at {found}: give a sensitivity and a specificity between 0 and 1, as 0.95 0.9"
        )
    return rates


def choose_thresholds(
    config: ReportConfig, table: ScoreTable, record: ModelRecord | None = None
) -> tuple[dict[str, Threshold], list[str]]:
    """Thresholds given by hand, the model's, or chosen on the validation table.

    Returns:
        The thresholds, and notes on findings without.

    Raises:
        ConfigError: several were given, or a threshold that is no number or of no finding.
        ManifestError: the validation table does not hold the findings.
    """
    from medres.errors import ConfigError
    from medres.metrics.operating_point import Threshold

    if record:
        if config.threshold or config.validation or config.model_card:
            raise ConfigError(
                "--model brings thresholds and a card; leave out --threshold, --validation and "
                "--model-card"
            )
        without = [name for name in record.findings if name not in record.thresholds]
        return dict(record.thresholds), [f"{n}: the model holds no threshold." for n in without]
    if config.validation is None:
        return {
            name: Threshold(value, "given by hand", 0) for name, value in _given(config, table)
        }, []
    if config.threshold:
        raise ConfigError("give --threshold or --validation, not both")
    validation = read_cases(config.validation, table.findings, config.unit)
    return thresholds_of(validation, rule_of(config, config.prevalence))


def choose_bands(
    config: ReportConfig, table: ScoreTable, record: ModelRecord | None = None
) -> tuple[dict[str, Band], list[str]]:
    """Bands given by hand, the model's, or chosen on the validation table; and notes.

    Raises:
        ConfigError: several were given, or rates without a table to choose on.
        ManifestError: the validation table does not hold the findings.
    """
    from medres.errors import ConfigError
    from medres.metrics.operating_point import Threshold
    from medres.metrics.three_way import Band
    from medres.scoring.table_cases import cases_of_table

    held = bool(record and record.bands)
    if held + bool(config.band) + bool(config.band_at) > 1:
        raise ConfigError("give one band: the model's own, or --band, or --band-at")
    if config.band_at:
        if config.validation is None:
            raise ConfigError("--band-at chooses a band on validation: give --validation too")
        validation = read_cases(config.validation, table.findings, config.unit)
        cases = cases_of_table(validation, "image")
        return cases.choose_bands(validation.findings, rule_of(config, config.prevalence))
    if config.band:
        lower, upper = (Threshold(value, "given by hand", 0) for value in config.band)
        return dict.fromkeys(table.findings, Band(lower, upper)), []
    return dict(record.bands) if record else {}, []


def thresholds_of(
    validation: ScoreTable, asked: EvaluationConfig
) -> tuple[dict[str, Threshold], list[str]]:
    """A threshold for each finding of a table, and a note for each that gets none."""
    from medres.scoring.table_cases import cases_of_table

    return cases_of_table(validation, "image").choose_thresholds(validation.findings, asked)


def read_cases(path: Path, findings: Sequence[str], unit: Unit) -> ScoreTable:
    """A table of scores with a row a case.

    Raises:
        ManifestError: it does not hold the findings, or rows of no patient are to combine.
    """
    from medres.data.score_table import read_scores

    return as_cases(read_scores(path, findings), unit)


def as_cases(table: ScoreTable, unit: Unit) -> ScoreTable:
    """A row a case: the rows as they are, or combined to a study or a patient each.

    Raises:
        ManifestError: rows of no patient are to combine.
    """
    from medres.scoring.table_cases import combine_table

    match unit:
        case "study" | "patient":
            return combine_table(table, unit)
        case _:
            return table


def choose_unit(
    config: ReportConfig, table: ScoreTable, record: ModelRecord | None
) -> tuple[Literal["row", "study", "patient"], list[str]]:
    """What a case is: as asked, else what the model decides on, else a row; and a note."""
    if config.unit != "auto":
        return config.unit, []
    if record is None or record.unit == "image":
        return "row", []
    if table.patient_ids:
        return record.unit, []
    return "row", [
        f"The model decides by {record.unit}; without patient_id each row counts as one."
    ]


def rule_of(
    config: ReportConfig | RecalibrateConfig, prevalence: float | None = None
) -> EvaluationConfig:
    """What the options ask of a threshold and a band.

    Args:
        config: with the options of `add_rule_options`.
        prevalence: of the target population, for the rule cost.

    Raises:
        ConfigError: a rate of the band is none.
    """
    from medres.config import EvaluationConfig

    return EvaluationConfig(
        threshold_rule=config.rule,
        sensitivity=config.target,
        specificity=config.target,
        target_by=config.target_by,
        miss_cost=config.miss_cost,
        prevalence=prevalence,
        band=checked_band(config.band_at),
    )


def _given(config: ReportConfig, table: ScoreTable) -> list[tuple[str, float]]:
    from medres.errors import ConfigError

    pairs = []
    for text in config.threshold:
        name, _, number = text.rpartition("=")
        if name and name not in table.findings:
            raise ConfigError(
                f"--threshold {text}: no finding {name!r}; the findings are "
                f"{', '.join(table.findings)}"
            )
        try:
            value = float(number)
        except ValueError:
            raise ConfigError(
                f"--threshold {text}: give a number, or FINDING=NUMBER, such as 0.5"
            ) from None
        pairs += [(finding, value) for finding in ([name] if name else table.findings)]
    return pairs
