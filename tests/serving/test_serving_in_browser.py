from __future__ import annotations

from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from browser_pages import DESKTOP, PHONE, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def address(server: ThreadingHTTPServer, path: str = "/") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize(
    "path",
    ["/", "/compare?run=a&run=deep/b", "/worklist?name=archive", "/study?name=archive&key=k0003"],
)
def test_pages_are_calm_and_never_scroll_sideways(
    browser: Browser, server: ThreadingHTTPServer, path: str, size: tuple[int, int]
) -> None:
    with opened(browser, address(server, path), size) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("h1").count() == 1


def test_runs_are_chosen_and_compared_by_keyboard(
    browser: Browser, server: ThreadingHTTPServer
) -> None:
    with opened(browser, address(server)) as page:
        page.get_by_label("Compare a", exact=True).focus()
        page.keyboard.press("Space")
        page.get_by_label("Compare deep/b", exact=True).focus()
        page.keyboard.press("Space")
        page.get_by_role("button", name="Compare the chosen ones").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="2 runs beside each other").wait_for()
        assert "0.920 (0.870–0.970)" in page.inner_text("main")


def test_worklist_is_sorted_and_paged_by_keyboard(
    browser: Browser, server: ThreadingHTTPServer
) -> None:
    with opened(browser, address(server, "/worklist?name=archive")) as page:
        assert page.locator("tbody th").first.inner_text() == "k0107"  # 119 of 120
        page.get_by_role("link", name="study key").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**sort=study_key**")
        assert page.locator("tbody th").first.inner_text() == "k0000"
        assert page.locator("th[aria-sort=ascending]").inner_text().startswith("study key")
        page.get_by_role("link", name="Next").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**page=2**")
        assert page.locator("tbody th").first.inner_text() == "k0050"
        page.locator("tbody th a").first.focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="k0050").wait_for()


def test_training_page_is_opened_from_the_list(
    browser: Browser, server: ThreadingHTTPServer
) -> None:
    with opened(browser, address(server)) as page:
        page.get_by_role("link", name="Training of deep/b").click()
        page.get_by_role("heading", name="b", exact=True).wait_for()
        page.get_by_role("link", name="Open the evidence").click()
        page.get_by_role("heading", name="E").wait_for()
