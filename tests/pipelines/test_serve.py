from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipelines.__main__ import main


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children heed SIGINT, which a shell's background jobs and theirs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_server_answers_until_it_is_interrupted(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pipelines", "serve", str(tmp_path), "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            # Not by urlopen, which asks a proxy where the environment names one.
            connection = HTTPConnection(urlsplit(address).netloc, timeout=20)
            connection.request("GET", "/")
            assert b"There are none below this folder." in connection.getresponse().read()
            connection.close()
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
        finally:
            server.kill()


def test_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tmp_path / "none")]) == 2
    assert "no such folder; give one with runs or archives" in capsys.readouterr().err
