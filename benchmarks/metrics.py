"""How fast figures with intervals are: medres.metrics against scikit-learn and torchmetrics.

    python -m benchmarks.metrics                  # prints the table; about 5 minutes
    python -m benchmarks.metrics --out benchmarks/RESULTS.md

The programs take turns on the same scores, in one process. A loop of 2,000 scikit-learn resamples
takes minutes, so that each turn runs 20 of them and counts their time 100 times; ours runs all.
CPU time of the process stands beside wall time: on a busy machine it alone is steady.
Needs torchmetrics (`pip install medres[dev]`). Expect ratios of at least 60, 300, 2 and 4.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import seen_on, show_section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGES = ("medres", "torch", "numpy", "scikit-learn", "torchmetrics")
RESAMPLES = 2000
SHARE = 100  # scikit-learn's loop runs 1 in so many resamples
FINDINGS = 14
MEMORY_ROWS = 1_000_000
MEMORY_LIMIT_GIB = 4.0

Seconds = tuple[float, float]
"""Wall time and CPU time of the process."""

Labelled = tuple["NDArray[np.int64]", "NDArray[np.float64]"]


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        task: what is computed.
        ours: median seconds of medres.
        theirs: median seconds of each other program, by name.
        ratio: median, over the turns, of the fastest other program's time to medres'.
        cpu_ratio: the same of CPU time.
        target: least ratio that is asked for.
    """

    task: str
    ours: float
    theirs: dict[str, float]
    ratio: float
    cpu_ratio: float
    target: float


def draw_scores(n: int, findings: int | None = None, prevalence: float = 0.1) -> Labelled:
    """Labels and binormal scores with an AUROC of about .86; float64, few ties."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = n if findings is None else (n, findings)
    label = (rng.random(shape) < prevalence).astype(np.int64)
    return label, 1.5 * label + rng.normal(size=shape)


def time_turns(
    task: str,
    target: float,
    ours: Callable[[], object],
    turns: int,
    **theirs: Callable[[], Seconds],
) -> Result:
    """Let the programs take turns; `theirs` return the seconds that they count.

    A first turn of each does not count.
    """
    own, others = [], []
    for _ in range(turns + 1):
        own.append(timed(ours)())
        others.append({name: run() for name, run in theirs.items()})
    own, others = own[1:], others[1:]
    medians = {name: statistics.median(turn[name][0] for turn in others) for name in theirs}
    ratios = []
    for clock in (0, 1):  # wall, CPU
        of_all = {name: statistics.median(turn[name][clock] for turn in others) for name in theirs}
        fastest = min(of_all, key=lambda name: of_all[name])
        pairs = zip(others, own, strict=True)
        ratios.append(statistics.median(turn[fastest][clock] / mine[clock] for turn, mine in pairs))
    seconds = statistics.median(mine[0] for mine in own)
    return Result(task, seconds, medians, ratios[0], ratios[1], target)


def timed(call: Callable[[], object], times: float = 1) -> Callable[[], Seconds]:
    """A call that returns its own seconds, wall and CPU, multiplied by what they stand for."""

    def run() -> Seconds:
        start, start_cpu = time.perf_counter(), time.process_time()
        call()
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        return wall * times, cpu * times

    return run


def bootstrap_result(n: int, turns: int, target: float, prevalence: float = 0.1) -> Result:
    """AUROC with 2,000 patient resamples, against scikit-learn in a loop."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from medres.metrics.ranking import auroc

    label, score = draw_scores(n, prevalence=prevalence)
    rng = np.random.default_rng(1)

    def loop() -> None:
        for _ in range(RESAMPLES // SHARE):
            drawn = rng.integers(0, n, n)
            roc_auc_score(label[drawn], score[drawn])

    return time_turns(
        f"AUROC, {RESAMPLES:,} patient resamples, N = {n:,}, prevalence {prevalence:g}",
        target,
        lambda: auroc(label, score, method="patient bootstrap", resamples=RESAMPLES),
        turns,
        scikit_learn=timed(loop, SHARE),
    )


def delong_result(n: int, turns: int) -> Result:
    """AUROC with DeLong's interval, against scikit-learn's without one."""
    from sklearn.metrics import roc_auc_score

    from medres.metrics.ranking import auroc

    label, score = draw_scores(n)
    return time_turns(
        f"AUROC with DeLong's interval against a bare one, N = {n:,}",
        2,
        lambda: auroc(label, score, method="DeLong"),
        turns,
        scikit_learn=timed(lambda: roc_auc_score(label, score)),
    )


def findings_result(n: int, turns: int) -> Result:
    """14 findings with Newcombe's intervals, against the others without."""
    import torch
    from sklearn.metrics import roc_auc_score
    from torchmetrics.functional.classification import multilabel_auroc

    from medres.metrics.ranking import auroc

    label, score = draw_scores(n, FINDINGS)
    probability, target = torch.sigmoid(torch.from_numpy(score)), torch.from_numpy(label)
    return time_turns(
        f"AUROC of {FINDINGS} findings with intervals against bare ones, N = {n:,}",
        4,
        lambda: auroc(label, score),
        turns,
        scikit_learn=timed(lambda: roc_auc_score(label, score, average=None)),
        torchmetrics=timed(
            lambda: multilabel_auroc(probability, target, num_labels=FINDINGS, average=None)
        ),
    )


def measure_memory(rows: int, resamples: int) -> float:
    """Peak GiB of this process after AUROCs of 14 findings with patient resamples."""
    from medres.metrics.ranking import auroc

    label, score = draw_scores(rows, FINDINGS)
    auroc(label, score, method="patient bootstrap", resamples=resamples)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def memory_apart(rows: int, resamples: int) -> tuple[float, float]:
    """`measure_memory` in a process of its own: peak GiB, and seconds."""
    code = f"from benchmarks.metrics import *; print(measure_memory({rows}, {resamples}))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout), time.perf_counter() - start


def report(results: Sequence[Result], memory: tuple[float, float] | None, threads: int) -> str:
    """A section of RESULTS.md."""
    rows = [
        f"| {r.task} | {1e3 * r.ours:.1f} | "
        f"{', '.join(f'{name} {1e3 * s:,.0f}' for name, s in r.theirs.items())} | "
        f"{r.ratio:.1f} | {r.cpu_ratio:.1f} | at least {r.target:g} |"
        for r in results
    ]
    lines = [
        "## Metrics",
        "",
        "    python -m benchmarks.metrics --out benchmarks/RESULTS.md",
        "",
        f"Binormal float64 scores in numpy arrays, prevalence .1 unless said; threads: {threads}.",
        f"Programs take turns in one process; {RESAMPLES // SHARE} scikit-learn resamples count as",
        f"{RESAMPLES:,}. Ratio: the fastest other's time to medres' in the same turn, median; of",
        "wall time, and of the process's CPU time, which a busy machine changes less.",
        "",
        "| task | medres, ms | others, ms | ratio | of CPU time | target |",
        "|---|--:|--:|--:|--:|--:|",
        *rows,
        "",
    ]
    if memory:
        lines += [
            f"{MEMORY_ROWS:,} scores, {FINDINGS} findings, {RESAMPLES:,} patient resamples:",
            f"a peak of {memory[0]:.2f} GiB, Python included (limit {MEMORY_LIMIT_GIB:g}), after",
            f"{memory[1]:.0f} s.",
            "",
        ]
    lines += ["Not run on a GPU: none was at hand.", "", seen_on(PACKAGES, threads=threads)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="write the section into this file too")
    parser.add_argument("--turns", type=int, default=7, help="of each task (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--no-memory", action="store_true", help="leave out the slow memory run")
    arguments = parser.parse_args(argv)

    import torch

    torch.set_num_threads(arguments.threads)
    turns = arguments.turns
    results = [
        bootstrap_result(100_000, turns, 60),
        bootstrap_result(1_000, 3 * turns, 300),
        bootstrap_result(1_000, 3 * turns, 300, prevalence=0.5),
        delong_result(100_000, 3 * turns),
        findings_result(100_000, turns),
    ]
    memory = None if arguments.no_memory else memory_apart(MEMORY_ROWS, RESAMPLES)
    text = report(results, memory, arguments.threads)
    show_section(text, arguments.out)
    missed = any(r.ratio < r.target for r in results)
    return int(missed or (memory is not None and memory[0] > MEMORY_LIMIT_GIB))


if __name__ == "__main__":
    sys.exit(main())
