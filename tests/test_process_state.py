"""Tests that would change others of their process: they are named, and nobody else fails."""

import logging
import os
import random
import resource
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from inner_pytest import run_pytest
from process_state import changes, read_state, reset_state


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def set_and_undo(undo: ExitStack, put: Callable[..., object], now: object, before: object) -> None:
    undo.callback(put, before)
    put(now)


def test_nothing_has_changed_where_nothing_was_done() -> None:
    assert changes(read_state(), read_state()) == []


def test_each_change_is_named_with_what_was_and_is(undo: ExitStack, tmp_path: Path) -> None:
    before = read_state()
    undo.callback(os.environ.pop, "MEDRES_LEFT_BEHIND")
    os.environ["MEDRES_LEFT_BEHIND"] = "1"
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    undo.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[0] - 1, limit[1]))
    undo.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    undo.callback(sys.path.pop)
    sys.path.append("here")
    undo.callback(np.seterr, **np.geterr())
    np.seterr(over="raise")
    for put, now, was in (
        (os.chdir, tmp_path, Path.cwd()),
        (os.umask, 0o077, 0o022),
        (socket.setdefaulttimeout, 7.0, None),
        (logging.disable, logging.ERROR, logging.NOTSET),
        (sys.setrecursionlimit, 5000, sys.getrecursionlimit()),
        (torch.set_num_threads, 3, torch.get_num_threads()),
        (torch.set_default_dtype, torch.float64, torch.float32),
        (torch.set_grad_enabled, False, True),
        (torch.set_float32_matmul_precision, "medium", "highest"),
        (torch.use_deterministic_algorithms, True, False),
    ):
        set_and_undo(undo, put, now, was)
    found = changes(before, read_state())
    assert [line.partition(" was ")[0] for line in found] == [
        "RLIMIT_NOFILE",
        "environment MEDRES_LEFT_BEHIND",
        "handler of SIGINT",
        "logging",
        "numpy's errors",
        "recursion limit",
        "socket timeout",
        "sys.path",
        "torch's algorithms",
        "torch's dtype",
        "torch's gradients",
        "torch's matrix products",
        "torch's threads",
        "umask",
        "working directory",
    ]
    assert found[1] == "environment MEDRES_LEFT_BEHIND was None, is '1'"


def test_random_numbers_and_proxies_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw() -> list[float]:
        reset_state()
        return [random.random(), np.random.random(), torch.rand(1).item()]  # noqa: NPY002

    assert draw() == draw()
    urllib.request.build_opener()
    monkeypatch.setattr("urllib.request._opener", "asks a proxy that another test has named")
    reset_state()
    assert urllib.request._opener is None  # type: ignore[attr-defined]


def test_who_leaves_a_change_fails_and_the_next_does_not(tmp_path: Path) -> None:
    body = """
import os, pytest, random
drawn = []
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    os.umask(0o077)
def test_culprit(): os.environ["LEFT"] = random.random() and "1"
def test_next(): drawn.append(random.random())
def test_last(): assert drawn == [random.random()]
def test_of_a_fixture(folder): pass
"""
    done = run_pytest(tmp_path, body)
    assert done.returncode == 1
    assert "left to the tests after it: environment LEFT was None, is '1'" in done.stdout
    assert "left to the tests after it: environment LEFT was None, is '1'; umask was" in done.stdout
    assert "4 passed, 2 errors" in done.stdout
