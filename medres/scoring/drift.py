"""What has changed between two scored archives: scores, guard, scanners, rejects.

Scores are compared study by study, by Kolmogorov and Smirnov's test and by the population stability
index; rates by their difference with Newcombe's interval. A change of scores is no loss of
accuracy: other patients score differently too. It says where labels are worth their price.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from medres.data.table import read_table
from medres.errors import ManifestError, ResultsError
from medres.metrics.comparison import holm
from medres.metrics.estimate import Estimate
from medres.metrics.independent_difference import independent_difference
from medres.metrics.intervals import wilson
from medres.scoring.summary import read_summary
from medres.scoring.tables import column_of

SCHEMA = "medres.drift/1"
BINS = 10
"""Of the stability index: deciles of the first archive."""
FEWEST = 20
"""Studies in each archive, below which no test is made of their scores."""
SAME = ("weights_sha256", "preprocessing_digest", "model_digest", "combine")
"""Of the summaries. The model's digest holds its temperature: recalibrated, it scores otherwise."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Results:
    """A results folder, read.

    Attributes:
        folder: where it is.
        summary: `summary.json`.
        scores: (N) probabilities of the studies by finding, withheld ones left out.
    """

    folder: Path
    summary: Mapping[str, Any]
    scores: Mapping[str, Values]


def read_results(folder: Path) -> Results:
    """Read what `medres score` has left.

    Raises:
        ManifestError: no such folder, or nothing finished in it.
    """
    path = folder / "summary.json"
    if not path.is_file():
        raise ManifestError(
            f"{folder}: lacks summary.json; give a folder that `medres score` has finished writing"
        )
    summary = read_summary(folder)
    if not summary["studies_scored"]:
        raise ManifestError(f"{folder}: holds no scored study; there is nothing to compare")
    rows = read_table(folder / "studies.csv").rows
    scores = {
        finding: np.array([float(r[c]) for r in rows if r[c := column_of(finding)]])
        for finding in summary["findings"]
    }
    return Results(folder, summary, scores)


def compare_results(first: Results, second: Results) -> dict[str, Any]:
    """Everything that `drift.json` holds.

    Raises:
        ResultsError: scores of different models, or combined by different rules.
    """
    check_comparable(first, second)
    pair = (first.summary, second.summary)
    findings = {name: compare_scores(first, second, name) for name in first.summary["findings"]}
    tested = [name for name, values in findings.items() if values["ks"] is not None]
    adjusted = holm([findings[name]["ks"]["p_value"] for name in tested])
    for name, p_value in zip(tested, adjusted, strict=True):
        findings[name]["ks"]["p_value_holm"] = p_value
    return {
        "schema": SCHEMA,
        "archives": [
            {
                name: summary[name]
                for name in ("inputs", "images_scored", "studies_scored", "rejected", "not_chosen")
            }
            for summary in pair
        ],
        "findings": findings,
        "guard": _compare_guard(*pair),
        "rejected": {
            "rate": _rates([(s["rejected"], s["inputs"]) for s in pair]),
            "by_reason": _mix([s["rejected_by_reason"] for s in pair]),
        },
        "scanners": _mix([_scanners(summary) for summary in pair]),
        "notes": _notes(first, second),
    }


def check_comparable(first: Results, second: Results) -> None:
    """Refuse results whose scores do not mean the same.

    Raises:
        ResultsError: naming what differs.
    """
    for name in SAME:
        found = first.summary[name], second.summary[name]
        if found[0] != found[1]:
            raise ResultsError(
                f"{second.folder}: another {name} than {first.folder} "
                f"({str(found[1])[:12]}, not {str(found[0])[:12]}); score both archives with one "
                "model and one rule"
            )


def compare_scores(first: Results, second: Results, finding: str) -> dict[str, Any]:
    """One finding: distributions, their distance, and the shares of the model's decisions."""
    a, b = first.scores[finding], second.scores[finding]
    enough = min(len(a), len(b)) >= FEWEST
    values: dict[str, Any] = {
        "studies": [len(a), len(b)],
        "mean": [_mean(a), _mean(b)],
        "median": [_median(a), _median(b)],
        "ks": None,
        "psi": stability_index(a, b) if enough else None,
        "histograms": [s.summary["histograms"][finding]["studies"] for s in (first, second)],
        "threshold": None,
        "positive": None,
        "band": None,
        "indeterminate": None,
    }
    if enough:
        test = ks_2samp(a, b)
        values["ks"] = {"statistic": float(test.statistic), "p_value": float(test.pvalue)}
    threshold = first.summary["thresholds"].get(finding)
    if threshold is not None:
        values["threshold"] = float(threshold["value"])
        counts = [int((x >= values["threshold"]).sum()) for x in (a, b)]
        values["positive"] = _rates([(counts[0], len(a)), (counts[1], len(b))])
    band = (first.summary.get("bands") or {}).get(finding)
    if band is not None:
        low, high = values["band"] = [float(band[end]["value"]) for end in ("lower", "upper")]
        counts = [int(((x >= low) & (x < high)).sum()) for x in (a, b)]
        values["indeterminate"] = _rates([(counts[0], len(a)), (counts[1], len(b))])
    return values


def stability_index(first: Values, second: Values) -> float:
    """Population stability index: the symmetric divergence over the first's deciles.

    Half an image is added to each bin, so that an empty one does not make it infinite. By the rule
    of thumb below .1 is stable, above .25 has changed (Siddiqi, Credit Risk Scorecards, 2006).

    Args:
        first: (N) scores.
        second: (M) scores.
    """
    edges = np.unique(np.quantile(first, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = []
    for scores in (first, second):
        counts = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)
        shares.append((counts + 0.5) / (len(scores) + 0.5 * len(counts)))
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _mean(values: Values) -> float | None:
    return float(values.mean()) if len(values) else None


def _median(values: Values) -> float | None:
    return float(np.median(values)) if len(values) else None


def _rates(pairs: Sequence[tuple[int, int]]) -> dict[str, Any] | None:
    """Two shares, and the second's less the first's; None where one has no denominator."""
    if any(total == 0 for _, total in pairs):
        return None
    shares = [wilson(count, total) for count, total in pairs]
    difference = independent_difference(shares[1], shares[0], second_name="the first archive")
    assert isinstance(difference, Estimate)
    return {
        "counts": [list(pair) for pair in pairs],
        "rates": [share.as_json() for share in shares],
        "difference": difference.as_json(),
    }


def _compare_guard(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any] | None:
    guards = [guard for guard in (first.get("guard"), second.get("guard")) if guard is not None]
    if len(guards) < 2:
        return None
    return {
        "flagged_images": _rates([(g["flagged_images"], g["images"]) for g in guards]),
        "by_reason": _mix([g["by_reason"] for g in guards]),
    }


def _mix(counts: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """Counts by name in both archives, with the chi-squared test that the mix is one.

    The test's effect size is Cramér's V, from 0 (one mix) to 1 (nothing in common).
    """
    names = sorted({*counts[0], *counts[1]}, key=lambda name: -sum(c.get(name, 0) for c in counts))
    table = np.array([[c.get(name, 0) for name in names] for c in counts])
    test = None
    if len(names) > 1 and table.sum(axis=1).min() > 0:
        found = chi2_contingency(table, correction=False)
        effect = math.sqrt(found.statistic / table.sum())
        test = {"p_value": float(found.pvalue), "cramers_v": effect}
    return {"counts": {n: [int(c.get(n, 0)) for c in counts] for n in names}, "test": test}


def _scanners(summary: Mapping[str, Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in summary["scanners"]:
        name = ", ".join(filter(None, (row["modality"], row["manufacturer"]))) or "not stated"
        counts[name] += row["images"]
    return counts


def _notes(first: Results, second: Results) -> list[str]:
    notes = []
    if first.summary["precision"] != second.summary["precision"]:
        notes.append("The archives were scored in different precision; small shifts may be its.")
    for results, word in ((first, "first"), (second, "second")):
        scored = results.summary["studies_scored"]
        shown = min(len(values) for values in results.scores.values())
        if shown < scored:
            notes.append(f"Of the {word} archive {scored - shown} studies are withheld: left out.")
        if shown < FEWEST:
            notes.append(f"The {word} archive has fewer than {FEWEST} studies: no test is made.")
    guards = [first.summary.get("guard"), second.summary.get("guard")]
    if None in guards:
        notes.append("The guard was not asked of both: its rates are not compared.")
    elif first.summary.get("guard_digest") != second.summary.get("guard_digest"):
        notes.append("The guards differ: so may what they flag.")
    return notes
