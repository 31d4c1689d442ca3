"""The gate through which a test may be skipped."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_pytest(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    for name in ("conftest.py", "real_data.py", "pictures.py"):
        shutil.copy(HERE / name, folder / name)
    (folder / "test_it.py").write_text(body)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={"MEDRES_TEST_DATA": str(folder / "nowhere"), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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
