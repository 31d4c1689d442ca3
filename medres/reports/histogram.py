"""Histograms of probabilities as SVG text, in the page's own colours and without a script."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from medres.reports.line_charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, round_ticks

GAP = 1.5
PLACES = (0, 0.25, 0.5, 0.75, 1)


def draw_histogram(counts: Sequence[int], *, title: str, mark: float | None = None) -> Markup:
    """Return a chart of counts over equal bins of [0, 1]; an empty text where all are 0.

    Bars at and above the mark are in the second colour; a bin that the mark divides is in the
    first, since the counts do not say how it is divided.

    Args:
        counts: (N) of the bins, from 0 on.
        title: what is counted, for those who do not see it.
        mark: a probability to mark, such as a threshold.
    """
    if not any(counts):
        return Markup()
    ticks = [tick for tick in round_ticks(0.0, float(max(counts))) if tick == int(tick)]
    top = max(*ticks, *counts)
    body = [
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(_describe(counts))}</desc>",
        *(_grid(tick, top) for tick in ticks),
        *(_bar(k, counts, top, mark) for k in range(len(counts))),
        *(_text(_x(place), HEIGHT - 22, f"{place:g}") for place in PLACES),
        _text(_x(0.5), HEIGHT - 4, "probability"),
    ]
    if mark is not None and 0 <= mark <= 1:
        body.append(f'<path class="mark" d="M{_x(mark):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return Markup(f"{head}{''.join(body)}</svg>")


def _x(place: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * place


def _height(count: float, top: float) -> float:
    return (HEIGHT - BOTTOM - TOP) * count / top


def _grid(tick: float, top: float) -> str:
    y = HEIGHT - BOTTOM - _height(tick, top)
    label = f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,.0f}</text>'
    return f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>{label}'


def _bar(k: int, counts: Sequence[int], top: float, mark: float | None) -> str:
    n, tall = len(counts), _height(counts[k], top)
    side = "above" if mark is not None and k / n >= mark else "below"
    place = f'x="{_x(k / n) + GAP / 2:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}"'
    size = f'width="{_x(1 / n) - LEFT - GAP:.1f}" height="{tall:.1f}"'
    words = f"{k / n:.2f} to {(k + 1) / n:.2f}: {counts[k]:,}"
    return f'<rect class="{side}" {place} {size}><title>{words}</title></rect>'


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{words}</text>'


def _describe(counts: Sequence[int]) -> str:
    n = len(counts)
    most = max(range(n), key=lambda k: counts[k])
    return (
        f"{sum(counts):,} in {n} equal bins from 0 to 1; most, {counts[most]:,}, from "
        f"{most / n:.2f} to {(most + 1) / n:.2f}"
    )
