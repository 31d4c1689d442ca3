"""Do 95 % intervals cover 95 %? By simulation, into docs/coverage.md.

    python -m benchmarks.coverage                             # prints the tables; about 10 minutes
    python -m benchmarks.coverage --out docs/coverage.md

AUROC: binormal scores with a known AUROC, stratified draws of m positives and n negatives. Each
interval is that of medres.metrics, in tensors. Patient bootstrap of the AUROC: two images a
patient, correlated; of other figures: one row a patient.
Proportions: exact, by summing binomial probabilities, with no simulation at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

DRAWS = 2000
AREAS = (0.7, 0.8, 0.9, 0.95)
BOOTSTRAP_AREAS = (0.7, 0.9, 0.95)
PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
POSITIVES = (5, 10, 25, 50)
BOOTSTRAP_PATIENTS = (25, 50, 100)
BOOTSTRAP_PREVALENCES = (0.1, 0.5)
BOOTSTRAP_RESAMPLES = 500
BOOTSTRAP_SEED = 20_000  # of draws on which nothing was chosen
PARTIAL = (0.0, 0.1)
FIGURES = ("average precision", "partial AUROC", "paired difference", "macro AUROC")
ROWS_AT_ONCE = 1 << 20
TRIALS = (10, 20, 50, 100, 500)


def binormal_rows(
    m: int, n: int, area: float, draws: int, generator: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of labels and scores, (D, m + n), whose AUROC is `area` in truth."""
    import torch

    shift = 2**0.5 * NormalDist().inv_cdf(area)
    label = (torch.arange(m + n) < m).to(torch.float64)
    block = max(1, ROWS_AT_ONCE // (m + n))
    for start in range(0, draws, block):
        size = (min(block, draws - start), m + n)
        noise = torch.randn(size, dtype=torch.float64, generator=generator)
        yield label.expand(size), noise + shift * label


def auroc_coverage(m: int, n: int, area: float, draws: int, seed: int = 0) -> dict[str, float]:
    """Share of draws in which each interval holds the truth, and each mean width."""
    import torch

    from medres.metrics.auroc_intervals import METHODS, auroc_bounds
    from medres.metrics.placements import delong_area

    generator = torch.Generator().manual_seed(seed)
    found = dict.fromkeys([*METHODS, *(f"{name} width" for name in METHODS)], 0.0)
    for label, score in binormal_rows(m, n, area, draws, generator):
        rows = delong_area(label, score)
        for method in METHODS:
            low, high = auroc_bounds(
                rows.area, rows.variance, rows.positives, rows.negatives, method
            )
            found[method] += float(((low <= area) & (area <= high)).sum()) / draws
            found[f"{method} width"] += float((high - low).sum()) / draws
    return found


def bootstrap_coverage(
    positives: int, prevalence: float, area: float, draws: int, seed: int = 0
) -> float:
    """Share of draws whose patient bootstrap interval holds the truth; two images a patient.

    The two scores of a patient correlate by one half, so that rows as such would pretend twice the
    data. The truth for a random positive and a random negative image is the same binormal area.
    """
    import torch

    from medres.metrics.auroc_intervals import clustered_auroc_estimate
    from medres.metrics.intervals import PatientGroups
    from medres.metrics.placements import delong_area
    from medres.metrics.runs import resampled_areas

    n_patients = round(positives / prevalence)
    patients = PatientGroups(torch.arange(n_patients).repeat(2), n_patients)
    label = (torch.arange(n_patients) < positives).to(torch.float64).repeat(2)
    shift = 2**0.5 * NormalDist().inv_cdf(area)
    generator = torch.Generator().manual_seed(seed)
    held = 0
    for draw in range(draws):
        own, noise = (
            torch.randn(k * n_patients, dtype=torch.float64, generator=generator) for k in (1, 2)
        )
        score = shift * label + 0.5**0.5 * (own.repeat(2) + noise)
        samples = resampled_areas(label, score, patients, BOOTSTRAP_RESAMPLES, seed + draw)
        value = float(delong_area(label, score, with_variance=False).area)
        counts = positives, n_patients - positives
        estimate = clustered_auroc_estimate(value, samples, *counts)
        held += estimate.low <= area <= estimate.high
    return held / draws


def true_figures(prevalence: float) -> list[float]:
    """Of binormal scores with an AUROC of .9: average precision and the partial AUROC, integrated.

    Then the difference to an AUROC of .8, and the mean of .9, .8 and .7.
    """
    from scipy.integrate import quad
    from scipy.stats import norm

    shift = 2**0.5 * NormalDist().inv_cdf(0.9)

    def precision(cut: float) -> float:
        called = prevalence * norm.sf(cut - shift)
        return float(norm.pdf(cut - shift) * called / (called + (1 - prevalence) * norm.sf(cut)))

    low, high = PARTIAL
    chance, best = (high**2 - low**2) / 2, high - low
    area = quad(lambda rate: norm.sf(norm.isf(rate) - shift), low, high, limit=400)[0]
    standardised = (1 + (area - chance) / (best - chance)) / 2
    return [quad(precision, -10, 14, limit=400)[0], standardised, 0.1, 0.8]


def figures_of_weights(
    labels: Sequence[Tensor], scores: Sequence[Tensor], other: Tensor
) -> Callable[[Tensor], Tensor]:
    """From weights of rows, (B, N), to `FIGURES`, (B, 4): of the first finding, and the mean."""
    import torch

    from medres.metrics.partial_auroc import partial_area
    from medres.metrics.sorted_scores import cumulative_counts, mean_precision, rank_scores
    from medres.metrics.weighted import weighted_auroc

    ranked = rank_scores(labels[0], scores[0]).drop_repeats()
    areas = [weighted_auroc(*rows) for rows in zip(labels, scores, strict=True)]
    other_area = weighted_auroc(labels[0], other)

    def figures(weights: Tensor) -> Tensor:
        counts = cumulative_counts(ranked, weights.index_select(1, ranked.order))
        drawn = torch.stack([area(weights) for area in areas], dim=1)
        columns = (
            mean_precision(*counts),
            partial_area(*counts, *PARTIAL, standardised=True),
            drawn[:, 0] - other_area(weights),
            drawn.mean(1),
        )
        return torch.stack(columns, dim=1)

    return figures


def figures_coverage(positives: int, prevalence: float, draws: int, seed: int = 0) -> list[float]:
    """Share of draws whose interval holds the truth, for each of `FIGURES`; one row a patient.

    The two models' scores correlate by one half; the findings of the macro mean have as many
    positives each, in other patients.
    """
    import torch

    from medres.metrics.intervals import patient_bootstrap, patient_groups, percentile_intervals
    from medres.metrics.partial_auroc import partial_auroc_estimate

    n = round(positives / prevalence)
    label = (torch.arange(n) < positives).to(torch.float64)
    labels = [label, label.roll(n // 3), label.roll(2 * n // 3)]
    patients = patient_groups(None, n, label.device)
    shifts = [2**0.5 * NormalDist().inv_cdf(area) for area in (0.9, 0.8, 0.7)]
    generator, held = torch.Generator().manual_seed(seed), [0] * len(FIGURES)
    truth = true_figures(prevalence)
    for draw in range(draws):
        noise = torch.randn((4, n), dtype=torch.float64, generator=generator)
        scores = [shift * y + z for shift, y, z in zip(shifts, labels, noise, strict=False)]
        other = shifts[1] * label + 0.5 * noise[0] + 0.75**0.5 * noise[3]
        figures = figures_of_weights(labels, scores, other)
        samples = patient_bootstrap(
            figures, patients, resamples=BOOTSTRAP_RESAMPLES, seed=seed + draw
        )
        limits = [(i.low or 0.0, i.high or 0.0) for i in percentile_intervals(samples)]
        partial = float(figures(torch.ones((1, n)))[0, 1])
        estimate = partial_auroc_estimate(partial, samples[:, 1], 1.0, positives, n - positives)
        limits[1] = estimate.low, estimate.high
        for k, (low, high) in enumerate(limits):
            held[k] += low <= truth[k] <= high
    return [count / draws for count in held]


def proportion_coverage(trials: int) -> tuple[float, float, float, float]:
    """Coverage over p from .01 to .99: Wilson's mean and least, then Clopper-Pearson's."""
    import torch
    from scipy.stats import binom

    from medres.metrics.intervals import clopper_pearson, wilson_bounds

    k = torch.arange(trials + 1)
    low, high = wilson_bounds(k, torch.tensor(trials))
    exact = [clopper_pearson(int(count), trials) for count in k]
    table = []
    for p in torch.linspace(0.01, 0.99, 981).tolist():
        chance = torch.from_numpy(binom.pmf(k.numpy(), trials, p))
        wilson_holds = (low <= p) & (p <= high)
        exact_holds = torch.tensor([e.low <= p <= e.high for e in exact])
        table.append([float(chance[wilson_holds].sum()), float(chance[exact_holds].sum())])
    wilson, clopper = torch.tensor(table).unbind(1)
    return float(wilson.mean()), float(wilson.min()), float(clopper.mean()), float(clopper.min())


def auroc_section(draws: int) -> list[str]:
    """Coverage of each AUROC interval, one line for m and prevalence."""
    rows = []
    for m in POSITIVES:
        for prevalence in PREVALENCES:
            n = round(m / prevalence) - m
            cells = []
            for k, area in enumerate(AREAS):
                found = auroc_coverage(m, n, area, draws, seed=1000 * m + k)
                covered = " / ".join(
                    f"{found[name]:.3f}".lstrip("0")
                    for name in ("Newcombe", "DeLong", "logit-DeLong")
                )
                wider = found["Newcombe width"] / found["DeLong width"] - 1
                cells.append(f"{covered} ({wider:+.0%})")
            rows.append(f"| {m} | {n} | {prevalence:g} | {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    return [
        "## AUROC",
        "",
        "    python -m benchmarks.coverage --out docs/coverage.md",
        "",
        f"{draws:,} draws a cell, binormal scores, one row a patient. Newcombe's method 5 (the",
        "default) / DeLong / logit-DeLong, and in brackets how much wider Newcombe's is than",
        f"DeLong's on average. A share of {draws:,} draws has a standard error of .005.",
        "",
        f"| positives | negatives | prevalence | {' | '.join(f'AUROC {a:g}' for a in AREAS)} |",
        f"|--:|--:|--:|{'---|' * len(AREAS)}",
        *rows,
        "",
    ]


def bootstrap_section(draws: int) -> list[str]:
    """Coverage of the patient bootstrap of the AUROC."""
    rows, areas = [], " | ".join(f"AUROC {area:g}" for area in BOOTSTRAP_AREAS)
    for positives in BOOTSTRAP_PATIENTS:
        for prevalence in BOOTSTRAP_PREVALENCES:
            shares = [
                bootstrap_coverage(positives, prevalence, area, draws, BOOTSTRAP_SEED)
                for area in BOOTSTRAP_AREAS
            ]
            cells = " | ".join(f"{share:.3f}".lstrip("0") for share in shares)
            rows.append(f"| {positives} | {prevalence:g} | {cells} |")
            print(rows[-1], flush=True)
    return [
        "## Patient bootstrap",
        "",
        "AUROC over images, two of each patient, whose scores correlate by one half;",
        f"{BOOTSTRAP_RESAMPLES} resamples, {draws:,} draws a cell.",
        "",
        f"| patients with the finding | prevalence | {areas} |",
        f"|--:|--:|{'--:|' * len(BOOTSTRAP_AREAS)}",
        *rows,
        "",
    ]


def figures_section(draws: int) -> list[str]:
    """Coverage of the patient bootstrap of other figures."""
    rows = []
    for positives in BOOTSTRAP_PATIENTS:
        for prevalence in BOOTSTRAP_PREVALENCES:
            shares = figures_coverage(positives, prevalence, draws, BOOTSTRAP_SEED)
            cells = " | ".join(f"{share:.3f}".lstrip("0") for share in shares)
            rows.append(f"| {positives} | {prevalence:g} | {cells} |")
            print(rows[-1], flush=True)
    return [
        "## Patient bootstrap of other figures",
        "",
        f"One row a patient, {BOOTSTRAP_RESAMPLES} resamples, {draws:,} draws a cell. Average",
        f"precision and the partial AUROC (false-positive rates {PARTIAL[0]:g} to {PARTIAL[1]:g},",
        "McClish's scale) at an AUROC of .9; the paired difference of AUROCs of .9 and .8 whose",
        "scores correlate by one half; the mean AUROC of three findings (.9, .8, .7).",
        "",
        f"| patients with the finding | prevalence | {' | '.join(FIGURES)} |",
        f"|--:|--:|{'--:|' * len(FIGURES)}",
        *rows,
        "",
    ]


def proportion_section() -> list[str]:
    """Coverage of the intervals of proportions."""
    rows = []
    for trials in TRIALS:
        cells = " | ".join(f"{share:.3f}".lstrip("0") for share in proportion_coverage(trials))
        rows.append(f"| {trials} | {cells} |")
        print(rows[-1], flush=True)
    return [
        "## Proportions",
        "",
        "Sensitivity, specificity, predictive values. Exact: binomial probabilities summed, at 981",
        "values of p from .01 to .99.",
        "",
        "| rows | Wilson, mean | Wilson, least | Clopper-Pearson, mean | Clopper-Pearson, least |",
        "|--:|--:|--:|--:|--:|",
        *rows,
        "",
    ]


INTRODUCTION = """# Coverage of the intervals

How often a 95 % interval holds the truth, where the truth is known. Where an interval rests on
fewer positives or negatives than it was shown to cover for, its `note` says "too few positives for
this interval": fewer than 10 for Newcombe's interval of the AUROC, fewer than 50 patients of either
class for the patient bootstrap. The tables show the true coverage on both sides of these limits.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, print, and write the page where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, help="write the page into this file")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"a cell (default {DRAWS})")
    arguments = parser.parse_args(argv)
    lines = proportion_section() + auroc_section(arguments.draws)
    lines += bootstrap_section(arguments.draws) + figures_section(arguments.draws)
    if arguments.out:
        text = "\n".join([INTRODUCTION, *lines]).strip() + "\n"
        arguments.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
