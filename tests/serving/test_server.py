from __future__ import annotations

import socket
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from medres.errors import ConfigError
from medres.serving.server import open_server
from medres.serving.site import Site


def ask(server: ThreadingHTTPServer, target: str = "/", method: str = "GET", **headers: str):
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, target, skip_host=True)
    values = {"Host": f"127.0.0.1:{server.server_port}", **headers}
    for name, value in values.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def test_server_listens_on_the_loopback_alone(server: ThreadingHTTPServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_answers_carry_what_keeps_others_out(server: ThreadingHTTPServer) -> None:
    status, body, headers = ask(server)
    assert status == 200
    assert b"Runs and evaluations" in body
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example:1", ""]
)
def test_another_host_is_refused(server: ThreadingHTTPServer, host: str) -> None:
    status, body, _ = ask(server, Host=host)
    assert status == 421
    assert b"Runs" not in body


def test_localhost_is_the_loopback_s_other_name(server: ThreadingHTTPServer) -> None:
    assert ask(server, Host=f"localhost:{server.server_port}")[0] == 200


def test_head_has_no_body(server: ThreadingHTTPServer) -> None:
    status, body, headers = ask(server, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_reading_alone_is_answered(server: ThreadingHTTPServer, method: str) -> None:
    assert ask(server, method=method)[0] == 501


def test_parts_asked_for_by_another_site_are_refused(server: ThreadingHTTPServer) -> None:
    assert ask(server, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(server, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(server, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="no-cors")[0] == 200


@pytest.mark.parametrize("target", ["/files/../../etc/passwd", "/files/a/../../config.yaml", "//x"])
def test_ways_out_are_not_found(server: ThreadingHTTPServer, target: str) -> None:
    assert ask(server, target)[0] == 404


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: cannot be had on 127.0.0.1; give"):
            open_server(Site(tmp_path), port)
    with pytest.raises(ConfigError, match="--port 99999: cannot be had"):
        open_server(Site(tmp_path), 99999)
