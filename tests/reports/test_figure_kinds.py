from __future__ import annotations

from typing import Any

import pytest

from medres.reports.figure_kinds import format_estimate, format_number, interval_name, list_figures


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        (0.5, False, "0.500"),
        (0.9996, False, ">0.999"),
        (0.0004, False, "<0.001"),
        (1.0, False, "1.000"),
        (1 - 1e-16, True, "100.0%"),
        (0.0, False, "0.000"),
        (0.92857, True, "92.9%"),
        (0.9999, True, ">99.9%"),
        (0.0001, True, "<0.1%"),
        (-0.25, False, "-0.250"),
        (1.7, False, "1.700"),
    ],
)
def test_number_never_rounds_to_certainty(value: float, percent: bool, text: str) -> None:
    assert format_number(value, percent=percent) == text


def test_estimate_shows_interval() -> None:
    estimate = {"value": 0.75, "low": 0.3006, "high": 0.9544}
    assert format_estimate(estimate) == "0.750 (0.301–0.954)"
    assert format_estimate(estimate, percent=True) == "75.0% (30.1–95.4%)"


def test_estimate_without_value_gives_the_reason() -> None:
    assert format_estimate({"value": None, "undefined": "no positive patients"}) == (
        "undefined (no positive patients)"
    )
    assert format_estimate({"value": None}) == "undefined (no reason recorded)"
    assert format_estimate(None) == "not computed"


def test_estimate_without_interval_shows_the_value_alone() -> None:
    assert format_estimate({"value": 0.5, "low": None, "high": None}) == "0.500"


def test_figures_without_words_are_listed_too(finding: dict[str, Any]) -> None:
    finding["calibration_slope"] = {"value": 1.1, "low": 0.9, "high": 1.3, "method": "logistic"}
    kind, _ = list_figures(finding)[-1]
    assert kind.name == "Calibration slope"


def test_interval_name_has_the_level_only_where_it_is_one(evaluation: dict[str, Any]) -> None:
    assert interval_name(evaluation) == "95% interval"
    evaluation["findings"]["opacity"]["auroc"]["level"] = 0.9
    assert interval_name(evaluation) == "interval"
