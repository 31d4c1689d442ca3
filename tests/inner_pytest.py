"""pytest run on a file of its own, with the fixtures of this project and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_pytest(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """What pytest says of the tests in `body`."""
    for name in ("conftest.py", "process_state.py", "real_data.py", "pictures.py"):
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
