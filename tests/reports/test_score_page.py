from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import DESKTOP, PHONE, opened
from score_summaries import summary

from medres.reports.score_page import (
    describe_results,
    render_score_page,
    view_finding,
    write_score_page,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_finding_says_how_many_studies_reach_the_threshold() -> None:
    view = view_finding(summary(), "opacity")
    assert view.sentence == "29 of 162 studies (17.9%) reach the threshold 0.42."
    assert view.rows[0] == ("0.00", "0.05", 120, 60)
    assert len(view.rows) == 20
    bare = view_finding(summary(), "<b>effusion</b>")
    assert bare.sentence == "No threshold is locked for this finding."
    assert bare.rows == (("0.00", "0.05", 324, 162),)


def test_what_has_to_be_known_first_comes_first() -> None:
    rejected, decoder, guard, shard = describe_results(summary(shard={"number": 2, "of": 8}))
    assert rejected == (
        "35 inputs could not be scored; each stands in rejected.jsonl with its reason."
    )
    assert decoder.startswith("For some of them a decoder is missing")
    assert guard == (
        "The guard flagged 11 of 324 images (3.4%) in 6 studies as of another kind than the model "
        "was trained on."
    )
    assert shard == "This is shard 2 of 8: others hold the rest."


def test_clean_results_have_no_notes_and_a_missing_guard_is_one() -> None:
    clean = {"rejected": 0, "rejected_by_reason": {}, "missing_decoders": {}}
    guard = {"images": 324, "flagged_images": 0, "flagged_studies": 0, "by_reason": {}}
    assert describe_results(summary(**clean, guard=guard)) == []
    assert describe_results(summary(**clean, guard=None)) == [
        "No guard was asked: images of another kind were scored like any other."
    ]
    page = render_score_page(summary(**clean, guard=None))
    assert "Nothing was rejected." in page
    assert "The guard was not asked." in page


def test_what_is_passed_by_is_so_for_other_reasons_than_headers_too() -> None:
    page = render_score_page(summary(not_chosen_by_reason={"hidden": 12}))
    assert "Not chosen, and why" in page
    assert "by rule, copies, hidden files" in page
    assert "headers say" not in page


def test_page_holds_the_reasons_scanners_and_settings() -> None:
    page = render_score_page(summary(), beside=["studies.csv"])
    for text in (
        "162 studies scored",
        "324 images",
        "no decoder",
        "modality US",
        "JPEG 2000: install medres[codecs]",
        "DX, SIEMENS",
        "not stated",
        "view position",
        "modalities: CR, DX; body parts: CHEST; leave out: LOCALIZER",
        "359 images in 70 min, after 2.25 s for headers",
        '<a href="studies.csv">',
    ):
        assert text in page, text


def test_page_escapes_names_and_asks_for_nothing() -> None:
    page = render_score_page(summary())
    assert "<b>effusion" not in page
    assert "&lt;b&gt;effusion&lt;/b&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


def test_archive_of_which_nothing_was_scored_has_a_page() -> None:
    nothing = {"images": [0] * 20, "studies": [0] * 20}
    histograms = {"opacity": nothing, "<b>effusion</b>": nothing}
    throughput = {
        "images": 0,
        "seconds": 0.0,
        "images_per_second": None,
        "looking_seconds": 0.0,
    }
    page = render_score_page(
        summary(
            studies_scored=0,
            images_scored=0,
            histograms=histograms,
            studies_positive={"opacity": 0},
            scanners=[],
            throughput=throughput,
        )
    )
    assert "Nothing was scored." in page
    assert "0 of 0 studies reach the threshold" in page
    assert "Images a second" not in page


def test_page_is_written_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    (tmp_path / "studies.csv").touch()
    page = write_score_page(tmp_path)
    assert page == tmp_path / "summary.html"
    text = page.read_text(encoding="utf-8")
    assert '<a href="studies.csv">' in text
    assert "images.csv" not in text  # it is not there
    assert len(text) < 60_000


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_page_is_calm_in_a_browser(browser: Browser, tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    with opened(browser, write_score_page(tmp_path), size) as page:
        assert page.inner_text("h1") == "162 studies scored"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("svg.chart").count() == 2
        page.get_by_text("The counts").click()
        assert page.get_by_role("cell", name="120").is_visible()
