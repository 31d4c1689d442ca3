from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from browser_pages import DESKTOP, PHONE, opened

from medres.reports.cases import ShownCase
from medres.reports.cases_section import CasePicture, cases_section
from medres.reports.evidence import write_evidence

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

CASES = {
    "<i>opacity</i>": [
        ShownCase("missed", 0, 0.0312, True),
        ShownCase("false_alarm", 6, 0.987, False),
    ]
}
GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="


def test_section_lists_cases_by_key_score_and_label() -> None:
    section = cases_section(CASES, whose="Row 1 is < row 2.")
    assert (section.anchor, section.title) == ("cases", "Worst mistakes and borderline cases")
    assert "<b>case-1</b> score 0.031, positive" in section.body
    assert "<b>case-7</b> score 0.987, negative" in section.body
    assert "Without a threshold no case is borderline." in section.body
    assert "Row 1 is &lt; row 2." in section.body
    assert "No pixels are shown" in section.body
    assert "<img" not in section.body


def test_section_shows_the_pictures_that_it_is_given() -> None:
    picture = CasePicture(GIF, 448, 224, "the highest of 3 images")
    key = ("<i>opacity</i>", 6)
    body = cases_section(CASES, whose="", pictures={key: picture}).body
    assert body.count("<img") == 1
    assert f'src="{GIF}" width="448" height="224"' in body
    assert 'alt="case-7, negative for &lt;i&gt;opacity&lt;/i&gt;, score 0.987: the image' in body
    assert "negative; the highest of 3 images" in body
    assert "Grad-CAM" in body


def test_section_names_findings_only_where_there_are_several() -> None:
    assert "<h4" not in cases_section(CASES, whose="").body
    several = cases_section({**CASES, "b": []}, whose="").body
    assert '<h4 id="cases-1">&lt;i&gt;opacity&lt;/i&gt;</h4>' in several


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_section_stands_on_the_page(
    browser: Browser, evaluation: dict[str, Any], tmp_path: Path, size: tuple[int, int]
) -> None:
    picture = CasePicture(GIF, 448, 224, "")
    section = cases_section(CASES, whose="", pictures={("<i>opacity</i>", 0): picture})
    with opened(browser, write_evidence(evaluation, tmp_path, sections=[section]), size) as page:
        image = page.locator("#cases img")
        assert image.count() == 1
        assert image.evaluate("image => image.complete && image.naturalWidth") == 1
        box = image.bounding_box()
        assert box is not None
        assert 200 < box["width"] < size[0]
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
