"""An evaluation in words: sentences, notes, and the terminal's last table.

Pure text over the dictionary of `evaluation.json`; imports nothing heavy. The HTML page takes its
words from here, so that terminal and page never disagree.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from medres.reports.figure_kinds import (
    format_estimate,
    format_interval,
    format_number,
    interval_name,
    list_figures,
)

RESEARCH_USE = (
    "For research use only. Not a medical device, and not for diagnosis or treatment decisions."
)
WIDTH = 98
# The parts of an evaluation whose own `notes` a reader must see first.
NOTED_SECTIONS = ("dataset", "training", "model", "preprocessing", "splits", "leakage")


def count(number: int, noun: str) -> str:
    """Return `1 patient`, `2 patients`, `3 studies`."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return `patients`, `studies`, `images`."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def unit_of(evaluation: Mapping[str, Any]) -> str:
    """Return what one case is: `patient` unless the evaluation says otherwise."""
    return str(evaluation.get("unit") or "patient")


def collect_notes(evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a reader must know before believing a figure, each once.

    The notes of the evaluation and of its sections; and that the weights were random, should no
    note say it.
    """
    notes = [str(note) for note in evaluation.get("notes") or ()]
    for name in NOTED_SECTIONS:
        section = evaluation.get(name)
        if isinstance(section, Mapping):
            notes += [str(note) for note in section.get("notes") or ()]
    said = " ".join(notes).lower()
    if (evaluation.get("model") or {}).get("weights") == "none" and "random weights" not in said:
        notes.append("The model was trained from random weights, without pretraining.")
    return tuple(dict.fromkeys(notes))


def describe_evaluation(evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the result in plain sentences: what was evaluated, on whom, and what came out."""
    findings = evaluation["findings"]
    first = [_describe_cases(evaluation)]
    if len(findings) == 1:
        ((_, finding),) = findings.items()
        unit = unit_of(evaluation)
        section = finding.get("three_way")
        undecided = _describe_undecided(section, unit) if section else ()
        decisions = _describe_decisions(finding, unit)
        return (*first, *_describe_ranking(finding, unit), *decisions, *undecided)
    return (*first, *_describe_macro(evaluation))


def _describe_cases(evaluation: Mapping[str, Any]) -> str:
    numbers, findings, unit = evaluation.get("n") or {}, evaluation["findings"], unit_of(evaluation)
    nouns = (("patients", "patient"), ("studies", "study"), ("images", "image"))
    parts = [count(numbers[key], noun) for key, noun in nouns if numbers.get(key) is not None]
    who = parts[0] if parts else "a test set of unrecorded size"
    if parts[1:]:
        who += f" ({', '.join(parts[1:])})"
    what = next(iter(findings)) if len(findings) == 1 else f"{len(findings)} findings"
    dataset = (evaluation.get("dataset") or {}).get("name")
    text = f"The model was evaluated for {what} on {who}{f' of {dataset}' if dataset else ''}"
    if len(findings) > 1:
        return f"{text}; one case is one {unit}."
    ((_, finding),) = findings.items()
    share = format_estimate(finding.get("prevalence"), percent=True)
    return (
        f"{text}; {finding['n_positive']:,} of {count(finding['n'], unit)} are positive: {share}."
    )


def _describe_ranking(finding: Mapping[str, Any], unit: str) -> Iterator[str]:
    auroc = finding.get("auroc") or {}
    if auroc.get("value") is None:
        yield f"The AUROC is {format_estimate(auroc)}."
        return
    level = f"{auroc.get('level', 0.95):.0%}"
    yield (
        f"AUROC {auroc['value']:.3f} ({level} interval {format_interval(auroc) or 'not known'}): "
        f"of one positive and one negative {unit} drawn at random, the model gives the positive "
        f"one the higher score {_times_in_100(auroc['value'])}."
    )
    low, high = auroc.get("low"), auroc.get("high")
    if low is not None and low <= 0.5 and (high is None or high >= 0.5):
        yield "The interval contains 0.5: this test does not show that the model beats chance."
    elif high is not None and high < 0.5:
        yield "The interval lies below 0.5, worse than chance: check which label is the positive."


def _times_in_100(share: float) -> str:
    if share == 1:
        return "every time in this test"
    return "more than 99 times in 100" if share > 0.99 else f"about {share * 100:.0f} times in 100"


def _describe_decisions(finding: Mapping[str, Any], unit: str) -> Iterator[str]:
    threshold = finding.get("threshold") or {}
    if threshold.get("value") is not None:
        where = f"the threshold {describe_threshold(threshold)}"
    elif finding.get("confusion"):
        where = str(threshold.get("rule"))  # of several models, each with a threshold of its own
    else:
        yield "No threshold was given, so there is no sensitivity, specificity, PPV or NPV."
        return
    yield f"At {where}, the model " + "; ".join(_describe_rates(finding, unit))
    if finding.get("ppv") or finding.get("npv"):
        ppv, npv = (format_estimate(finding.get(key), percent=True) for key in ("ppv", "npv"))
        yield f"At the prevalence of this test set, PPV is {ppv} and NPV is {npv}."


def _describe_rates(finding: Mapping[str, Any], unit: str) -> Iterator[str]:
    table = finding.get("confusion") or {}
    sensitivity = format_estimate(finding.get("sensitivity"), percent=True)
    specificity = format_estimate(finding.get("specificity"), percent=True)
    if not {"tp", "fn", "tn", "fp"} <= table.keys():
        yield f"has sensitivity {sensitivity} and specificity {specificity}."
        return
    positives, negatives = table["tp"] + table["fn"], table["tn"] + table["fp"]
    flagged = f"flags {table['tp']:,} of {count(positives, f'positive {unit}')}"
    cleared = f"clears {table['tn']:,} of {count(negatives, f'negative {unit}')}"
    yield f"{flagged}, sensitivity {sensitivity}"
    yield f"{cleared}, specificity {specificity}."


def describe_threshold(threshold: Mapping[str, Any]) -> str:
    """Return `0.400 (Youden index on validation, n = 40)`: the value and who chose it."""
    rule = threshold.get("rule") or "rule not recorded"
    size = (
        f", n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{threshold['n']:,}" if threshold.get("n") else ""
    )
    return f"{threshold['value']:.3f} ({rule}{size})"


def describe_band(section: Mapping[str, Any]) -> str:
    """Return where a band lies and who chose it, as a sentence.

    Args:
        section: `three_way` of a finding in `evaluation.json`.
    """
    lower, upper = section["lower"], section["upper"]
    if lower["value"] is None:  # of several models, each with a band of its own
        return f"Undecided by {lower['rule']}."
    if lower["value"] == upper["value"]:
        return f"No score is undecided: the band is empty, at {describe_threshold(lower)}."
    return f"Undecided from {describe_threshold(lower)} to below {describe_threshold(upper)}."


def _describe_undecided(section: Mapping[str, Any], unit: str) -> Iterator[str]:
    counts, share = section["counts"], format_estimate(section["undecided"], percent=True)
    undecided = counts["undecided_positive"] + counts["undecided_negative"]
    missed = count(counts["fn"], f"positive {unit}")
    alarms = count(counts["fp"], f"negative {unit}")
    cases = count(sum(counts.values()), unit)
    yield describe_band(section)
    yield (
        f"With that band {undecided:,} of {cases} are left to a person: {share}; {missed} "
        f"{'is' if counts['fn'] == 1 else 'are'} cleared, and {alarms} "
        f"{'is' if counts['fp'] == 1 else 'are'} flagged."
    )


def _describe_macro(evaluation: Mapping[str, Any]) -> Iterator[str]:
    findings, macro = evaluation["findings"], evaluation.get("macro") or {}
    values = {
        name: finding["auroc"]["value"]
        for name, finding in findings.items()
        if (finding.get("auroc") or {}).get("value") is not None
    }
    if not values:
        yield "The AUROC is undefined for every finding."
        return
    yield from _describe_prevalences(findings)
    if macro.get("auroc"):
        named = len(macro.get("findings") or values)
        mean = format_estimate(macro["auroc"])
        yield f"Macro AUROC, the plain mean over {count(named, 'finding')}: {mean}."
    worst, best = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if len(values) > 1:
        yield (
            f"By finding, AUROC lies between {values[worst]:.3f} ({worst}) and "
            f"{values[best]:.3f} ({best})."
        )
    if left_out := describe_left_out(evaluation):
        yield f"Left out of the mean: {left_out}."


def _describe_prevalences(findings: Mapping[str, Any]) -> Iterator[str]:
    shares = {
        name: finding["prevalence"]["value"]
        for name, finding in findings.items()
        if (finding.get("prevalence") or {}).get("value") is not None
    }
    if len(shares) > 1:
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        low, high = (format_number(shares[name], percent=True) for name in (least, most))
        yield f"Prevalence lies between {low} ({least}) and {high} ({most})."


def describe_left_out(evaluation: Mapping[str, Any]) -> str:
    """Return the findings that the macro mean leaves out, each with its reason."""
    findings = evaluation["findings"]
    parts = []
    for name in (evaluation.get("macro") or {}).get("left_out") or ():
        auroc = (findings.get(str(name)) or {}).get("auroc") or {}
        parts.append(f"{name} ({auroc.get('undefined') or 'no reason recorded'})")
    return ", ".join(parts)


def format_summary(evaluation: Mapping[str, Any]) -> str:
    """Return the result as plain text for a terminal, at most about 100 columns wide.

    Args:
        evaluation: as in `evaluation.json`; sections beside `findings` may be absent.

    Returns:
        Sentences, a table (one row a figure for one finding, one row a finding for several),
        the notes, and the research-use line. No colours, no control characters.
    """
    sentences = [_wrap(sentence) for sentence in describe_evaluation(evaluation)]
    findings = evaluation["findings"]
    table = _figure_table(evaluation) if len(findings) == 1 else _finding_table(evaluation)
    notes = [_wrap(note, "  - ", "    ") for note in collect_notes(evaluation)]
    blocks = ["\n".join(sentences), "\n".join(table)]
    if notes:
        blocks.append("\n".join(["Notes", *notes]))
    return "\n\n".join([*blocks, _wrap(RESEARCH_USE)]) + "\n"


def _wrap(text: str, first: str = "", later: str = "") -> str:
    return textwrap.fill(
        _printable(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
    )


def _printable(text: str) -> str:
    """Replace control characters: a column name must not move the cursor."""
    return "".join(char if char.isprintable() else " " for char in text)


def _figure_table(evaluation: Mapping[str, Any]) -> Iterator[str]:
    ((name, finding),) = evaluation["findings"].items()
    yield _printable(f"{name[:28]:<28}{'value':>10}   {interval_name(evaluation):<15}  method")
    yield "-" * 76
    for kind, estimate in list_figures(finding):
        if estimate.get("value") is None:
            yield f"{kind.name[:28]:<28}{'':>4}{format_estimate(estimate)}"
            continue
        value = format_number(estimate["value"], percent=kind.percent)
        interval = format_interval(estimate, percent=kind.percent)
        line = f"{kind.name[:28]:<28}{value:>10}   {interval:<15}  "
        yield _wrap(str(estimate.get("method") or "-"), line, " " * len(line))
    if confusion := finding.get("confusion"):
        counts = ", ".join(f"{key.upper()} {number:,}" for key, number in confusion.items())
        yield f"{'Confusion':<28}{'':>4}{counts}"


def _finding_table(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'finding':<20}{'positive':>13}   {'AUROC':<20} {'sensitivity':<20}{'specificity'}"
    yield "-" * WIDTH
    footnotes: dict[str, list[str]] = {}
    for name, finding in evaluation["findings"].items():
        cells = []
        for key, percent in (("auroc", False), ("sensitivity", True), ("specificity", True)):
            cell = format_estimate(finding.get(key), percent=percent)
            if cell.startswith("undefined ("):
                footnotes.setdefault(f"{name}: {cell}", []).append(key)
                cell = "undefined"
            cells.append(cell)
        size = f"{finding.get('n_positive', '?')} of {finding.get('n', '?')}"
        yield _printable(f"{name[:19]:<20}{size:>13}   {cells[0]:<20} {cells[1]:<20}{cells[2]}")
    macro = evaluation.get("macro") or {}
    if macro.get("auroc"):
        over = f"{len(macro.get('findings') or ())} of {len(evaluation['findings'])}"
        yield f"{'macro mean':<20}{over:>13}   {format_estimate(macro['auroc'])}"
    for note, keys in footnotes.items():
        yield _wrap(f"{note}: {', '.join(keys)}", "  ", "    ")
