"""The local page's server: the loopback alone, reading alone.

A page of another site in the same browser cannot use it: the Host must be the loopback's own name
(against DNS rebinding), no other origin is let in (no CORS, `Cross-Origin-Resource-Policy`), and
what a browser marks as another site's request for a part is refused.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from medres.errors import ConfigError
from medres.serving.site import Answer, Site

LOOPBACK = "127.0.0.1"
SECONDS = 30
"""A connection that says nothing for so long is closed."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def open_server(site: Site, port: int) -> ThreadingHTTPServer:
    """Bind the loopback; `serve_forever` begins to answer.

    Args:
        site: what to answer.
        port: 0 takes a free one.

    Raises:
        ConfigError: the port is taken, or none that may be had.
    """
    handler = type("Handler", (SiteHandler,), {"site": site})
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--port {port}: cannot be had on {LOOPBACK}; give another, or 0 for a free one"
        ) from error


class SiteHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; everything else is refused."""

    site: Site
    timeout = SECONDS
    server_version, sys_version = "medres", ""

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with headers alone."""
        self._answer(with_body=False)

    def log_message(self, *_: Any) -> None:
        """Log nothing: addresses hold keys of studies."""

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        """Refuse, in a word and without repeating what was asked."""
        self._send(Answer(code, f"{code}: refused\n".encode(), "text/plain"), with_body=True)
        self.close_connection = True

    def _answer(self, *, with_body: bool) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        if self.headers.get("Host", "") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            self.send_error(421)
        elif (
            self.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
            and self.headers.get("Sec-Fetch-Mode") != "navigate"
        ):
            self.send_error(403)
        else:
            self._send(self.site.answer(self.path), with_body=with_body)

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Content-Security-Policy", answer.policy)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)
