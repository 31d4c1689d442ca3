"""RESULTS.md: one section a benchmark, each written by its own, and the machine it was seen on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

INTRODUCTION = """# Measured

Ratios alone mean something: the machine is shared, and its absolute times differ
from run to run. Under load the ratios fall too: chains bound by memory suffer most.
Each section says the command that gives it.
"""


def write_section(path: Path, section: str) -> None:
    """Put a section into RESULTS.md, in place of the one with the same heading, else at the end.

    Args:
        path: of the file; made where it is not there.
        section: Markdown that begins with `## HEADING`.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else INTRODUCTION
    introduction, *sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    heading = section.partition("\n")[0]
    new = section.strip() + "\n\n"
    kept = [new if own.partition("\n")[0] == heading else own for own in sections]
    if new not in kept:
        kept.append(new)
    text = introduction.strip() + "\n\n" + "".join(own.strip() + "\n\n" for own in kept)
    path.write_text(text.strip() + "\n", encoding="utf-8")


def show_section(section: str, path: Path | None) -> None:
    """Print a section, and put it into RESULTS.md where a path is given."""
    print(section)
    if path:
        write_section(path, section)


def seen_on(packages: Sequence[str], *, threads: int = 1) -> str:
    """When, on what machine and with which versions: two lines of a section.

    Args:
        packages: whose versions matter.
        threads: of the benchmark itself, to tell its load from that of others.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, Python {platform.python_version()},\n"
        f"{versions}; {other_load(threads)}."
    )


def processor() -> str:
    """The processor's name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} logical" if names else platform.machine()


def other_load(threads: int) -> str:
    """How busy the machine was: programs that share memory slow chains down by unequal factors."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    load, processors = os.getloadavg()[0], os.cpu_count()
    return f"load {load:.1f} on {processors} processors, this program being {threads}"
