"""The gate through which a test may be skipped."""

from pathlib import Path

from inner_pytest import run_pytest


def test_skip_for_absent_data_or_program_is_a_skip_and_says_so(tmp_path: Path) -> None:
    body = """
def test_data(test_data): assert False
def test_program(program): program("no-such-program")
"""
    done = run_pytest(tmp_path, body.replace("test_data(test", "test_real_data(test"))
    assert done.returncode == 0, done.stdout
    assert "2 skipped" in done.stdout


def test_any_other_skip_is_a_failure(tmp_path: Path) -> None:
    body = "import pytest\ndef test_lazy(): pytest.skip('not today')\n"
    done = run_pytest(tmp_path, body)
    assert done.returncode == 1
    assert "skipped without need: " in done.stdout
