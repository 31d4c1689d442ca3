"""The checklist: all items, each with a place on the page or for its author."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser_pages import opened

from medres.reports.claim import ITEMS, PLACES, claim_parts
from medres.reports.page import render_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_claim_has_the_44_items_in_order() -> None:
    assert [item.number for item in ITEMS] == list(range(1, 45))
    assert {place for item in ITEMS for place in item.places} <= set(PLACES)
    parts = [part for part, _ in claim_parts(())]
    assert len(parts) == len(set(parts)) == 8


def test_claim_without_a_page_is_all_the_authors() -> None:
    rows = [row for _, of in claim_parts(()) for row in of]
    assert {row.author for row in rows} == {"all of it"}


def test_claim_links_what_is_there_and_leaves_the_rest() -> None:
    rows = {row.item.number: row for _, of in claim_parts({"patients", "cases"}) for row in of}
    assert rows[35].links == (("patients", "who was in"),)
    assert rows[35].author == ""
    assert rows[8].author == "the criteria by which the sources were drawn"
    assert rows[39].links == (("cases", "cases"),)
    assert rows[33].links == ()
    assert rows[33].author == "all of it"


def test_claim_links_lead_to_ids_of_the_page(evaluation: dict[str, Any]) -> None:
    evaluation["intended_use"] = "To sort a reading list, beside a radiologist."
    text = render_page(evaluation)
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    table = text[text.index('class="claim"') :]
    links = set(re.findall(r'href="#([^"]+)"', table[: table.index("</table>")]))
    assert {
        "intended-use",
        "patients",
        "splits",
        "leakage",
        "training",
        "provenance",
        "use",
    } <= links
    assert links <= ids


def test_page_states_the_intended_use_or_that_there_is_none(evaluation: dict[str, Any]) -> None:
    assert "its authors have stated none" in render_page(evaluation)
    evaluation["intended_use"] = "To sort <lists>."
    assert "To sort &lt;lists&gt;." in render_page(evaluation)


def test_link_to_a_folded_part_opens_it(
    evaluation: dict[str, Any], tmp_path: Path, browser: Browser
) -> None:
    path = tmp_path / "page.html"
    path.write_text(render_page(evaluation), encoding="utf-8")
    with opened(browser, path) as page:
        assert page.get_attribute("details#training", "open") is None
        page.click(".claim a[href='#training'] >> nth=0")
        assert page.get_attribute("details#training", "open") == ""
