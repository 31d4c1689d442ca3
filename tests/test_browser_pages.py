"""The watch over our pages sees what it is there for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HEAD = "<!DOCTYPE html><html lang=en><title>x</title>"


def test_opened_gives_a_quiet_page(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "quiet.html"
    path.write_text(f"{HEAD}<h1>Calm</h1>")
    with opened(browser, path, (390, 844)) as page:
        assert page.inner_text("h1") == "Calm"
        assert page.evaluate("innerWidth") == 390


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("<script>console.warn('careful')</script>", "console: careful"),
        ("<script>throw new Error('broken')</script>", "error: broken"),
        ("<img src='http://127.0.0.1:9/x.png' alt=''>", "request: http://127.0.0.1:9/x.png"),
    ],
)
def test_opened_fails_on_noise_errors_and_requests(
    browser: Browser, tmp_path: Path, body: str, found: str
) -> None:
    path = tmp_path / "loud.html"
    path.write_text(HEAD + body)
    with pytest.raises(AssertionError, match=found), opened(browser, path) as page:
        page.wait_for_load_state("networkidle")
