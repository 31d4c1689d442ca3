"""What the figures of an evaluation are called, what they mean, and how they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FigureKind:
    """How one figure of a finding is named, printed and explained.

    Args:
        key: in `evaluation.json`.
        name: as a clinician knows it.
        percent: printed in per cent, else as a decimal with three places.
        meaning: one line for a reader who meets it for the first time.
    """

    key: str
    name: str
    percent: bool
    meaning: str


FIGURE_KINDS = (
    FigureKind(
        "auroc",
        "AUROC",
        False,
        "Share of positive-negative pairs in the right order; 0.5 is chance.",
    ),
    FigureKind("auroc_delong", "AUROC, DeLong's interval", False, "The interval others report."),
    FigureKind("sensitivity", "Sensitivity", True, "Share of the positives that are flagged."),
    FigureKind("specificity", "Specificity", True, "Share of the negatives that are cleared."),
    FigureKind("ppv", "PPV", True, "Share of the flagged that are positive, at this prevalence."),
    FigureKind("npv", "NPV", True, "Share of the cleared that are negative, at this prevalence."),
    FigureKind("prevalence", "Prevalence", True, "Share of positives in this test set."),
    FigureKind(
        "average_precision",
        "Average precision",
        False,
        "Area under the precision-recall curve; chance gives the prevalence.",
    ),
    FigureKind(
        "brier_score", "Brier score", False, "Mean squared error of the probability; 0 is perfect."
    ),
    FigureKind(
        "expected_calibration_error",
        "Expected calibration error",
        False,
        "Mean gap between predicted and observed frequency; 0 is perfect.",
    ),
    FigureKind(
        "calibration_slope", "Calibration slope", False, "1 is ideal; below 1, scores too extreme."
    ),
    FigureKind(
        "calibration_intercept", "Calibration intercept", False, "Of the same line; 0 is ideal."
    ),
    FigureKind(
        "calibration_in_the_large",
        "Calibration in the large",
        False,
        "Intercept at slope 1; below 0, risk is overstated on average.",
    ),
    FigureKind("balanced_accuracy", "Balanced accuracy", True, "Mean of the two rates."),
    FigureKind("youden_index", "Youden's index", False, "Sensitivity + specificity − 1."),
    FigureKind(
        "positive_likelihood_ratio",
        "Likelihood ratio +",
        False,
        "What a flag multiplies the odds by; 1 says nothing.",
    ),
    FigureKind(
        "negative_likelihood_ratio",
        "Likelihood ratio −",
        False,
        "What a clearance multiplies the odds by; 1 says nothing.",
    ),
    FigureKind("f1_score", "F1", False, "Harmonic mean of sensitivity and PPV."),
    FigureKind("matthews_correlation", "MCC", False, "Correlation of call and label; 0 is chance."),
    FigureKind(
        "net_benefit",
        "Net benefit",
        False,
        "True flags per case, less false ones weighed by the odds of the threshold.",
    ),
    FigureKind("accuracy", "Accuracy", True, "Share of right calls; never read it alone."),
)


def format_number(value: float, *, percent: bool = False) -> str:
    """Return a share as `93.3%` or `0.933`; never rounds up to certainty or down to never.

    Args:
        value: a share in [0, 1], or any other finite figure.
        percent: print in per cent with one decimal.
    """
    scaled, places, top = (value * 100, 1, 100.0) if percent else (value, 3, 1.0)
    text = f"{scaled:.{places}f}"
    smallest = 10.0**-places
    if 0 < scaled < top - 1e-9 and float(text) >= top:  # 1e-9: rounding error of a 1
        text = f">{top - smallest:.{places}f}"
    elif scaled > 0 and float(text) == 0:
        text = f"<{smallest:.{places}f}"
    elif float(text) == 0:
        text = text.removeprefix("-")
    return f"{text}%" if percent else text


def format_interval(estimate: Mapping[str, Any], *, percent: bool = False) -> str:
    """Return `0.910–0.980`, `-0.020 to 0.310`, or nothing where the estimate has no interval."""
    low, high = estimate.get("low"), estimate.get("high")
    if low is None or high is None:
        return ""
    first = format_number(low, percent=percent).rstrip("%")
    between = " to " if low < 0 else "–"
    return f"{first}{between}{format_number(high, percent=percent)}"


def format_estimate(estimate: Mapping[str, Any] | None, *, percent: bool = False) -> str:
    """Return `0.950 (0.910–0.980)`, or `undefined (no positive patients)` with the reason."""
    if not estimate:
        return "not computed"
    if estimate.get("value") is None:
        return f"undefined ({estimate.get('undefined') or 'no reason recorded'})"
    interval = format_interval(estimate, percent=percent)
    value = format_number(estimate["value"], percent=percent)
    return f"{value} ({interval})" if interval else value


def interval_name(evaluation: Mapping[str, Any]) -> str:
    """Return `95% interval`, the heading of a column; without the level where levels differ."""
    levels = {
        estimate.get("level") or 0.95
        for finding in evaluation["findings"].values()
        for _, estimate in list_figures(finding)
    }
    return f"{100 * levels.pop():.4g}% interval" if len(levels) == 1 else "interval"


def list_figures(finding: Mapping[str, Any]) -> tuple[tuple[FigureKind, Mapping[str, Any]], ...]:
    """Return the estimates of one finding, the known ones first in reading order.

    Estimates that this version has no words for follow under their own key: nothing that was
    measured is left out of the report.
    """
    known = [(kind, finding[kind.key]) for kind in FIGURE_KINDS if finding.get(kind.key)]
    names = {kind.key for kind in FIGURE_KINDS} | {"threshold"}
    others = [
        (FigureKind(key, key.replace("_", " ").capitalize(), False, ""), value)
        for key, value in finding.items()
        if key not in names and isinstance(value, Mapping) and {"value", "method"} <= value.keys()
    ]
    return (*known, *others)
