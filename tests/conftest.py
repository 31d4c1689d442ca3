"""Shared fixtures, and the one gate through which a test may be skipped.

Real data and external programs are not part of the project. A test asks for them with the
fixtures `test_data` and `program`; where they are absent the test is skipped and says so. Any
other skip is a failure: a test that silently does not run protects nothing.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from process_state import changes, read_state, reset_state
from real_data import real_data_root

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ABSENT = "not on this machine: "

settings.register_profile("medres", deadline=None)  # no test measures time
settings.load_profile("medres")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Root of the real data: holds `data/` and `golden/`. Set by MEDRES_TEST_DATA."""
    root = real_data_root()
    if root is None:
        pytest.skip(f"{ABSENT}the real test data; set MEDRES_TEST_DATA to its folder")
    return root


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Path of an external program, such as a DICOM validator."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{ABSENT}the program {name}")
        return path

    return find


@pytest.fixture(scope="session")
def browser(program: Callable[[str], str]) -> Generator[Browser]:
    """The system's own Chromium, started once; pages are opened by `browser_pages.opened`."""
    path = program("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn every skip that did not pass the gate above into a failure."""
    report = yield
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and ABSENT not in reason and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped without need: {reason}"
    return report


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of a tiny labelled data set of pictures."""
    from pictures import write_pictures

    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Random numbers, and what else is used up, begin alike whichever tests ran before."""
    reset_state()


@pytest.fixture(autouse=True, scope="module")
def module_leaves_all_as_it_was() -> Generator[None]:
    """As below, of the fixtures of a module."""
    yield from _refuse_changes()


@pytest.fixture(autouse=True)
def test_leaves_all_as_it_was() -> Generator[None]:
    """A test that changes what others of the process meet fails itself, in whatever order."""
    yield from _refuse_changes()


def _refuse_changes() -> Generator[None]:
    before = read_state()
    yield
    changed = changes(before, read_state())
    assert not changed, f"left to the tests after it: {'; '.join(changed)}"


@pytest.fixture
def freed() -> Generator[None]:
    """Frees networks that cycles of handlers or hooks hold: gigabytes over a module."""
    yield
    gc.collect()
