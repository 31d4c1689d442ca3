from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_pages import DESKTOP, PHONE, opened

from medres.reports.drift_page import drift_tables, format_drift, render_drift_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def rates(value: float) -> dict[str, Any]:
    figures = [{"value": 0.02, "low": 0.01, "high": 0.05}, {"value": 0.02 + value}]
    difference = {"value": value, "low": value - 0.05, "high": value + 0.05}
    return {"counts": [[4, 200], [40, 200]], "rates": figures, "difference": difference}


def drift(**changes: Any) -> dict[str, Any]:
    archive = {"inputs": 371, "images_scored": 324, "studies_scored": 162}
    values = {
        "archives": [archive, archive],
        "findings": {
            "<b>opacity</b>": {
                "studies": [150, 160],
                "mean": [0.2, 0.4],
                "median": [0.15, None],
                "ks": {"statistic": 0.312, "p_value": 1e-9, "p_value_holm": 2e-9},
                "psi": 0.61,
                "threshold": 0.42,
                "positive": rates(0.2),
                "histograms": [[30, 10], [20, 20]],
            }
        },
        "guard": {
            "flagged_images": rates(0.18),
            "by_reason": {"counts": {"view_position": [4, 40]}, "test": None},
        },
        "rejected": {"rate": None, "by_reason": {"counts": {}, "test": None}},
        "scanners": {
            "counts": {"DX, SIEMENS": [220, 320], "CR": [100, 0]},
            "test": {"p_value": 0.02, "cramers_v": 0.4},
        },
        "notes": ["A note."],
    }
    return {**values, **changes}


def test_indeterminate_share_stands_below_the_positive_one() -> None:
    changed = drift()
    finding = changed["findings"]["<b>opacity</b>"]
    finding |= {"band": [0.3, 0.62], "indeterminate": rates(0.1)}
    rows = drift_tables(changed)["Scores of <b>opacity</b>"]
    assert rows[4] == (
        "Indeterminate, 0.3 to 0.62", "2.0%", "12.0%", "+10.0 points (+5.0 to +15.0)",
    )  # fmt: skip


def test_tables_say_the_difference_with_its_interval() -> None:
    tables = drift_tables(drift())
    assert tables["Inputs"][0] == ("Inputs", "371", "371", "")
    assert tables["Scores of <b>opacity</b>"][1:] == [
        ("Mean", "0.200", "0.400", ""),
        ("Median", "0.150", "undefined", ""),
        ("At or above 0.42", "2.0%", "22.0%", "+20.0 points (+15.0 to +25.0)"),
        ("Kolmogorov-Smirnov", "", "", "D = 0.312, p < 0.001 (Holm over findings)"),
        ("Population stability index", "", "", "0.610: changed"),
    ]
    assert tables["Images of another kind"][1] == ("view position", "4 (100.0%)", "40 (100.0%)", "")
    assert tables["Rejected"] == [("Inputs rejected", "undefined", "undefined", "")]
    assert tables["Scanners"][-1] == (
        *("Mix (chi-squared, Cramér's V)", "", ""),
        "V = 0.400, p = 0.020",
    )
    assert "Images of another kind" not in drift_tables(drift(guard=None))


def test_terminal_aligns_the_columns() -> None:
    lines = format_drift(drift(), ("first", "second")).splitlines()
    assert lines[0] == "Inputs          first  second  difference"
    assert lines[1] == "Inputs          371    371"
    assert lines[-1] == "A note."


def test_page_escapes_names() -> None:
    page = render_drift_page(drift(), ("<i>a</i>", "b"))
    assert "<b>opacity" not in page
    assert "<i>a" not in page
    assert page.count('<svg class="chart"') == 2


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_page_is_calm_in_a_browser(browser: Browser, tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "drift.html"
    file.write_text(render_drift_page(drift(), ("last year", "this year")), encoding="utf-8")
    with opened(browser, file, size) as page:
        assert page.inner_text("h1") == "this year against last year"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("svg.chart").count() == 2
