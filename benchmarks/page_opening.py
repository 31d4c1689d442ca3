"""Size of the evidence page, and how fast it opens and moves, with 100,000 cases.

    python -m benchmarks.page_opening --out benchmarks/RESULTS.md

Needs Chromium on the machine, and playwright. The targets: under 5 MB, open in under 2 seconds.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import seen_on, write_section
from medres.metrics.evaluation import evaluate
from medres.metrics.operating_point import Threshold
from medres.reports.evidence import finite
from medres.reports.page import render_page

CASES, OPENINGS = 100_000, 7
OPENED = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.now()))))"""
MOVED = """() => { const slider = document.getElementById('explore-threshold');
    const before = performance.now();
    for (let k = 0; k < 50; k++) {
      slider.value = 200 * k;
      slider.dispatchEvent(new Event('input', { bubbles: true }));
    }
    return (performance.now() - before) / 50; }"""


def make_page(n_findings: int) -> str:
    """A page on so many findings, each with all cases."""
    rng = np.random.default_rng(0)
    y = (rng.random(CASES) < 0.2).astype(float)
    score = 1 / (1 + np.exp(-rng.normal(size=CASES) - 1.5 * y + 2))
    locked = {"finding": Threshold(0.3, "given by hand", 0)}
    report = evaluate(y, score, findings=["finding"], thresholds=locked, resamples=100)
    evaluation: dict[str, Any] = finite(report.as_json())
    finding = evaluation["findings"]["finding"]
    evaluation["findings"] = {f"finding {k + 1}": finding for k in range(n_findings)}
    return render_page(evaluation)


def measure(browser: Any, path: Path) -> tuple[float, float]:
    """Median seconds until the page is drawn, and until a moved slider's figures are."""
    opened, moved = [], []
    for _ in range(OPENINGS):
        page = browser.new_page()
        page.goto(path.as_uri())
        opened.append(page.evaluate(OPENED) / 1000)
        moved.append(page.evaluate(MOVED) / 1000)
        page.close()
    return median(opened), median(moved)


def run(out: Path | None) -> str:
    """Measure, write the section where asked, and return it."""
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for n_findings in (1, 14):
            path = Path(folder) / f"{n_findings}.html"
            path.write_text(make_page(n_findings), encoding="utf-8")
            opened, moved = measure(browser, path)
            size = path.stat().st_size / 1e6
            rows.append(f"| {n_findings} | {size:.2f} | {opened:.2f} | {1000 * moved:.1f} |")
        browser.close()
    section = "\n".join(
        [
            "## Opening the evidence page",
            "",
            f"`python -m benchmarks.page_opening`: {CASES:,} cases; medians of {OPENINGS} openings",
            "in Chromium, from the request to the second frame drawn; a move is one step of the",
            "threshold's slider, with every figure, 1,000 icons and the rings on the plots.",
            "",
            "| findings | size, MB | opening, s | a move, ms |",
            "|---|---|---|---|",
            *rows,
            "",
            seen_on(["playwright", "matplotlib", "jinja2"]),
        ]
    )
    if out:
        write_section(out, section)
    return section


def main(argv: Sequence[str] | None = None) -> int:
    """Run from a command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="RESULTS.md, whose section is replaced")
    print(run(parser.parse_args(argv).out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
