"""Small line charts as SVG text, made in a millisecond: for pages that are written again and again.

No script, no font, no colour of their own but the page's custom properties; the values stand in
tooltips that need no script, and in a table beside the chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
MARKED = 40
"""Lines of more points have no dot at each."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: for people.
        color: any CSS colour.
        points: x and y, in drawing order.
        dashed: drawn in dashes.
    """

    name: str
    color: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def draw_lines(
    lines: Sequence[Line],
    *,
    title: str,
    y_name: str,
    x_max: float,
    mark: float | None = None,
    from_zero: bool = False,
) -> Markup:
    """Return a chart over epochs, or an empty text where no line has a point.

    Args:
        lines: to draw.
        title: what the chart shows, for those who do not see it.
        y_name: of the vertical axis.
        x_max: end of the horizontal axis, which begins at 1.
        mark: an epoch to mark, such as the best.
        from_zero: let the vertical axis begin at 0.
    """
    values = [y for line in lines for _, y in line.points if math.isfinite(y)]
    if not values:
        return Markup()
    ticks = round_ticks(0.0 if from_zero else min(values), max(values))
    frame = _Frame(1.0, max(x_max, 2.0), ticks[0], ticks[-1])
    parts = [*_axes(frame, ticks, y_name)]
    if mark is not None:
        x = frame.x(mark)
        parts.append(f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    for line in lines:
        parts += _line(frame, line)
    body = "".join(parts)
    named = f'role="img" aria-label="{escape(title)}"'
    return Markup(f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" {named}>{body}</svg>')


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that enclose a range, about `count` of them, steps of 1, 2 or 5 times 10^k."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= span / count * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class _Frame:
    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _axes(frame: _Frame, ticks: Sequence[float], y_name: str) -> list[str]:
    parts = []
    for tick in ticks:
        y = frame.y(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for epoch in _epoch_ticks(frame.right):
        x = frame.x(epoch)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{epoch}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    across = f'transform="translate(12 {(HEIGHT - BOTTOM + TOP) / 2}) rotate(-90)"'
    return [*parts, f'<text {across} text-anchor="middle">{escape(y_name)}</text>']


def _epoch_ticks(last: float) -> list[int]:
    wanted = {1, *(int(t) for t in round_ticks(0, last) if t == int(t) and 1 < t <= last)}
    return sorted(wanted)


def _line(frame: _Frame, line: Line) -> list[str]:
    places = [(frame.x(x), frame.y(y)) for x, y in line.points if math.isfinite(y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    parts = [f'<polyline points="{path}" style="stroke:{escape(line.color)}"{dashes}/>']
    if len(places) <= MARKED:
        finite = [point for point in line.points if math.isfinite(point[1])]
        for (x, y), (epoch, value) in zip(places, finite, strict=True):
            words = escape(f"epoch {epoch:g}, {line.name}: {value:.4g}")
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{escape(line.color)}">'
                f"<title>{words}</title></circle>"
            )
    return parts
