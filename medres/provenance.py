"""What a result was made with: versions, machine, seed, inputs. Never whose images."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import medres

PACKAGES = ("torch", "torchvision", "monai", "pytorch-ignite", "numpy", "pydicom", "nibabel")


def collect_provenance(*, device: str, seed: int | None = None) -> dict[str, Any]:
    """Versions, machine, seed and time as plain JSON values.

    Args:
        device: the device that computed, such as `cpu` or the name of a GPU.
        seed: of the run, where it had one.
    """
    return {
        "medres": medres.__version__,
        "commit": _commit(),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "seed": seed,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of medres' own checkout, with `+changes` where files differ; else None."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=10,
    )
    return done.stdout.strip()
