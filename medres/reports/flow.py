"""The way of the cases from the table to the figures, as a diagram: STARD's, in one SVG.

Boxes down the left are those who stayed, boxes beside them those who left and why; at the end they
part by their label, and by what the model said: with its band where it has one, else at the locked
threshold.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from medres.reports import summary

WIDTH, MAIN, SIDE = 460, 214, 214
MIDDLE = 1 + MAIN / 2
LINE_HEIGHT, PADDING, GAP = 17, 9, 24
CHARACTERS = 29
"""Of a line of text in a box: 13 px type is 6 to 7 px wide a character, m and w more."""


@dataclass(frozen=True)
class Box:
    """A box of the diagram.

    Attributes:
        lines: of text.
        x: left edge.
        y: upper edge.
        width: of the box.
    """

    lines: tuple[str, ...]
    x: float
    y: float
    width: float

    @property
    def height(self) -> float:
        """It takes its lines."""
        return len(self.lines) * LINE_HEIGHT + 2 * PADDING

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height


@dataclass(frozen=True)
class FlowStep:
    """Those who are there, and those who leave after.

    Attributes:
        text: what they are.
        n: how many; None where it was not counted.
        leaving: reason and number of those who go no further.
    """

    text: str
    n: int | None
    leaving: tuple[tuple[str, int], ...] = ()


def flow_steps(evaluation: Mapping[str, Any]) -> tuple[FlowStep, ...]:
    """The steps up to those who are judged, from `flow` and `splits` of the evaluation.

    Args:
        evaluation: as in `evaluation.json`; without `flow` there is no step.
    """
    flow = evaluation.get("flow")
    if not flow:
        return ()
    excluded = tuple((row["why"], row["n"]) for row in flow["excluded"] if row["n"])
    steps = [FlowStep(flow["start"], flow["n"], excluded)]
    if found := flow.get("found"):
        missing = tuple((row["why"], row["n"]) for row in found["excluded"])
        steps.insert(0, FlowStep("files found", found["n"], missing))
    splits = evaluation.get("splits") or {}
    fitted = tuple(
        (purpose, splits[name]["images"])
        for name, purpose in (("train", "to train on"), ("validation", "to validate on"))
        if isinstance(splits.get(name), Mapping)
    )
    if fitted:
        left = flow["n"] - sum(n for _, n in excluded)
        steps.append(FlowStep("images fit for use", left, fitted))
    images = (evaluation.get("n") or {}).get("images")
    if images is not None and summary.unit_of(evaluation) != "image":
        steps.append(FlowStep("images to judge", images))
    return tuple(steps)


def draw_flow(evaluation: Mapping[str, Any], *, anchor: str) -> str:
    """Return the diagram as an `<svg>` element; with several findings it ends before the labels.

    Args:
        evaluation: as in `evaluation.json`.
        anchor: prefix of the ids in the drawing.
    """
    unit, findings = summary.unit_of(evaluation), evaluation["findings"]
    steps = [*flow_steps(evaluation), _judged(evaluation)]
    parts: list[str] = []
    words: list[str] = []
    y = 2.0
    for step in steps:
        box = Box(_lines(step.text, step.n), 1, y, MAIN)
        parts += _boxed(box)
        words.append(f"{step.n} {step.text}.")
        bottom = box.bottom
        if step.leaving:
            side = _side_box(step.leaving, y)
            parts += [*_boxed(side, "side"), _line(MAIN + 1, y + 18, side.x, y + 18)]
            words += [f"Leaving: {n} {why}." for why, n in step.leaving]
            bottom = max(bottom, side.bottom)
        if step is not steps[-1] or len(findings) == 1:
            parts.append(_line(MIDDLE, box.bottom, MIDDLE, bottom + GAP))
            bottom += GAP
        y = bottom
    if len(findings) == 1:
        last, said, y = _by_label(next(iter(findings.values())), y)
        parts, words = [*parts, *last], [*words, *said]
    title = f"Flow of the {summary.plural(unit)}"
    return Markup(
        f'<svg class="flow" viewBox="0 0 {WIDTH} {y + 2:g}" role="img" '
        f'aria-labelledby="{anchor}-title {anchor}-desc">'
        f'<title id="{anchor}-title">{title}</title>'
        f'<desc id="{anchor}-desc">{escape(" ".join(words))}</desc>{"".join(parts)}</svg>'
    )


def _judged(evaluation: Mapping[str, Any]) -> FlowStep:
    """Those who have a score; for one finding, those without its label leave."""
    units, findings = summary.plural(summary.unit_of(evaluation)), evaluation["findings"]
    first = next(iter(findings.values()))
    missing = first.get("n_missing") or 0
    without = (("without a label", missing),) if missing and len(findings) == 1 else ()
    return FlowStep(f"{units} judged", first["n"] + missing, without)


def _by_label(finding: Mapping[str, Any], y: float) -> tuple[list[str], list[str], float]:
    """The boxes by label and below them by decision; their words; the lower edge."""
    positive = finding["n_positive"]
    table = (finding.get("three_way") or {}).get("counts") or finding.get("confusion")
    halves = (
        (
            *("with the finding", positive),
            {"tp": "flagged", "undecided_positive": "undecided", "fn": "missed"},
        ),
        (
            *("without it", finding["n"] - positive),
            {"fp": "flagged", "undecided_negative": "undecided", "tn": "cleared"},
        ),
    )
    parts: list[str] = []
    words: list[str] = []
    bottom = y
    for k, (what, n, outcomes) in enumerate(halves):
        box = Box(_lines(what, n), 1 + k * (WIDTH - SIDE - 2), y + GAP / 2, SIDE)
        centre = box.x + SIDE / 2
        parts += [_line(MIDDLE, y, centre, y), _line(centre, y, centre, box.y), *_boxed(box)]
        words.append(f"{n} {what}.")
        bottom = box.bottom
        if table:
            lines = tuple(
                f"{table[key]:,} {word}" for key, word in outcomes.items() if key in table
            )
            below = Box(lines, box.x, box.bottom + GAP, SIDE)
            parts += [_line(centre, box.bottom, centre, below.y), *_boxed(below)]
            words += [f"{line}." for line in lines]
            bottom = below.bottom
    return parts, words, bottom


def _lines(text: str, n: int | None) -> tuple[str, ...]:
    number = "" if n is None else f"{n:,} "
    return tuple(textwrap.wrap(f"{number}{text}", CHARACTERS)) or ("",)


def _side_box(leaving: Sequence[tuple[str, int]], y: float) -> Box:
    lines = [line for why, n in leaving for line in _lines(why, n)]
    return Box(tuple(lines), WIDTH - SIDE - 1, y, SIDE)


def _boxed(box: Box, kind: str = "main") -> Iterator[str]:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
    yield f'<rect class="{kind}" {place} rx="4"/>'
    for k, line in enumerate(box.lines):
        baseline = box.y + PADDING + LINE_HEIGHT * (k + 0.75)
        yield f'<text x="{box.x + 10:g}" y="{baseline:g}">{escape(line)}</text>'


def _line(x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}"/>'
