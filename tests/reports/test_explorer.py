"""The explorer before its script runs, and the counts that the script is given."""

from __future__ import annotations

from typing import Any

import pytest

from medres.reports.explorer import of_thousand, view_explorer


def test_explorer_shows_the_locked_threshold_first(evaluation: dict[str, Any]) -> None:
    view = view_explorer(evaluation)
    assert view is not None
    assert view.names == ("opacity",)
    assert view.threshold == "0.5000"
    assert view.prevalence == "40.0%"
    assert view.figures["sensitivity"].value == "75.0%"
    assert view.figures["sensitivity"].interval == "30.1–95.4%"
    assert view.figures["benefit"].value == ""
    assert view.counts["tp"] == "3"
    assert view.counts["without"] == "6"
    assert [view.people[key] for key in ("tp", "fn", "fp", "tn")] == ["300", "100", "100", "500"]
    assert view.people["called"] == "400"
    assert view.icons.count("fn") == 100
    assert view.icons[300] == "fn"


def test_explorer_data_hold_counts_as_differences(evaluation: dict[str, Any]) -> None:
    view = view_explorer(evaluation)
    assert view is not None
    (data,) = view.data["findings"]
    assert data["at"] == [0, 1001, 1000, 1000, 1000, 2000, 1000, 1000, 1000]
    assert data["tp"] == [4, 0, -1, 0, 0, 0, -1, -1, -1]
    assert data["locked"] == {"value": 0.5, "text": "0.5000", "counts": [3, 1]}
    assert data["z"] == pytest.approx(1.959964, abs=1e-6)
    assert data["ridge"]["positive"].startswith("M20 30v-")
    assert data["ridge"]["negative"].startswith("M10 30v")


def test_explorer_begins_at_the_target_prevalence(
    evaluation: dict[str, Any], finding: dict[str, Any]
) -> None:
    ppv = {"value": 0.2, "low": 0.1, "high": 0.4, "level": 0.95, "method": "logit"}
    finding["at_prevalence"] = {"prevalence": 0.05, "ppv": ppv, "npv": ppv}
    view = view_explorer(evaluation)
    assert view is not None
    assert view.prevalence == "5.0%"
    assert view.figures["ppv"].interval == "10.0–40.0%"
    assert view.data["findings"][0]["target"] == 0.05


def test_explorer_needs_counts_by_threshold(
    evaluation: dict[str, Any], finding: dict[str, Any]
) -> None:
    finding["curves"]["thresholds"] = None
    assert view_explorer(evaluation) is None


def test_explorer_of_a_finding_without_threshold_has_no_figures_yet(
    evaluation: dict[str, Any], finding: dict[str, Any]
) -> None:
    finding["threshold"], finding["confusion"] = None, None
    view = view_explorer(evaluation)
    assert view is not None
    assert view.data["findings"][0]["locked"] is None
    assert set(view.people.values()) == {""}
    assert len(view.icons) == 1000


@pytest.mark.parametrize(
    ("shares", "people"),
    [
        ((0.05, 0.9, 0.1, 0.2, 0.8), (45, 0, 5, 190, 0, 760)),
        ((0.001, 0.7, 0.3, 0.015, 0.985), (1, 0, 0, 15, 0, 984)),
        ((0.005, 0.5, 0.5, 0.5, 0.5), (3, 0, 2, 498, 0, 497)),  # halves go up, the sum stays
        ((0.1, 0.6, 0.2, 0.1, 0.7), (60, 20, 20, 90, 180, 630)),
    ],
)
def test_of_thousand_adds_up_in_whole_people(
    shares: tuple[float, ...], people: tuple[int, ...]
) -> None:
    found = of_thousand(*shares)
    assert tuple(found.values()) == people
    assert sum(people) == 1000
