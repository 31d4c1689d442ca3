"""Pages of ours in a real browser, watched for what they must never do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESKTOP, PHONE = (1280, 900), (390, 844)


@contextmanager
def opened(browser: Browser, page: Path | str, size: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """Open a file, or an address on the loopback; on leaving, fail on whatever must not happen.

    That is: anything in the console, an error of a script, a request to another place than the
    page's own (`data:` and `blob:` leave no machine).

    Args:
        browser: of the session's fixture.
        page: the file, or an address such as `http://127.0.0.1:8080/`.
        size: of the window, width and height in CSS pixels.
    """
    address = page.resolve().as_uri() if isinstance(page, Path) else page
    home = address if isinstance(page, Path) else address[: address.index("/", len("http://")) + 1]
    wrongs: list[str] = []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    watched = context.new_page()
    watched.on("console", lambda message: wrongs.append(f"console: {message.text}"))
    watched.on("pageerror", lambda error: wrongs.append(f"error: {error}"))
    watched.on("request", lambda request: wrongs.extend(_strange(request.url, home)))
    try:
        watched.goto(address)
        yield watched
    finally:
        context.close()
    assert not wrongs, "; ".join(wrongs)


def _strange(url: str, home: str) -> list[str]:
    own = url.startswith((home, "data:", "blob:"))
    return [] if own else [f"request: {url}"]
