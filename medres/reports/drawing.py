"""How every drawing looks, and its two ways out: into a page, and into a vector file for a paper.

The same input gives the same bytes: no dates, no random ids. Text of the user's is never typeset (a
`$` in a finding's name would be taken for mathematics).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe & Ito's palette (jfly.uni-koeln.de/color, 2008): told apart with every colour blindness.
BLUE, VERMILLION, INK, QUIET = "#0072b2", "#c04a00", "#1f2933", "#7a8792"
BAND = "#d3e5f0"
"""Of intervals around a line: blue on white, without the transparency that some printers lack."""
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, small, in the page's own font
    "svg.hashsalt": "medres",
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's own Type 3
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 9.0,
    "axes.unicode_minus": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
}
VECTOR_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": "medres", "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
"""What a vector file says of its making: no date, so that equal figures are equal bytes."""


@dataclass(frozen=True)
class Drawing:
    """A figure with the words for those who do not see it.

    Attributes:
        figure: laid out, not yet rendered.
        title: of the drawing.
        description: what it shows, in figures.
    """

    figure: Figure
    title: str
    description: str


def styled() -> Any:
    """Return a context in which matplotlib draws in the project's style; undone at its end."""
    from matplotlib import rc_context

    settings: Any = STYLE  # the keys are literals to matplotlib's types, from 3.11 on
    return rc_context(settings)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that depends on no display."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def new_axes(x: str, y: str, *, width: float = 3.9, height: float = 3.5) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes over a quiet grid."""
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    return figure, axes


def unit_axes(x: str, y: str, *, height: float = 3.5) -> tuple[Figure, Axes]:
    """Return axes from 0 to 1 both ways; a larger height leaves room below them."""
    figure, axes = new_axes(x, y, height=height)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    unit_ticks(axes.xaxis)
    unit_ticks(axes.yaxis)
    axes.set_box_aspect(0.86)
    return figure, axes


def unit_ticks(axis: Axis) -> None:
    """Tick an axis at every fifth of 1."""
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])


def write_label(
    axes: Axes, x: float, y: float, text: str, *, color: str = INK, align: str = "right"
) -> None:
    """Write a line of text at a place given in shares of the axes, 0 to 1."""
    box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
    vertical = "top" if y > 0.5 else "bottom"
    place: dict[str, Any] = {"ha": align, "va": vertical, "transform": axes.transAxes}
    axes.text(x, y, text, color=color, fontsize=8.5, bbox=box, parse_math=False, **place)


def as_vector(drawing: Drawing, kind: str) -> bytes:
    """Return a drawing as a whole file of its own, `pdf` or `svg`."""
    stream = BytesIO()
    metadata = {**VECTOR_METADATA[kind], "Title": drawing.title}
    with styled():
        drawing.figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def as_svg(drawing: Drawing | None, anchor: str) -> str:
    """Return a drawing as an `<svg>` element for an HTML page; empty for none.

    The prologue, the licence metadata and the style rule go (the rule would hold for the whole
    page), ids get the page's prefix, and title and description come in. `data-frame` holds where
    the data's (0, 0) and (1, 1) lie in the drawing, for a script that marks a place on it.

    Args:
        drawing: to render.
        anchor: prefix of every id in the drawing; unique within the page.
    """
    from markupsafe import escape

    if drawing is None:
        return ""
    stream = StringIO()
    with styled():
        drawing.figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', text)
    assert view_box is not None  # matplotlib always writes one
    body = text[text.index(">", view_box.end()) + 1 : text.rindex("</svg>")]
    body = _compact(re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S))
    body = re.sub(r'\bid="', f'id="{anchor}-', body)
    body = body.replace("url(#", f"url(#{anchor}-").replace('href="#', f'href="#{anchor}-')
    return (
        f'<svg viewBox="{view_box[1]}" data-frame="{_frame(drawing.figure)}" role="img" '
        f'aria-labelledby="{anchor}-title {anchor}-desc">'
        f'<title id="{anchor}-title">{escape(drawing.title)}</title>'
        f'<desc id="{anchor}-desc">{escape(drawing.description)}</desc>\n{body}\n</svg>'
    )


def _frame(figure: Figure) -> str:
    """Where the data's (0, 0) and (1, 1) lie: x0 y0 x1 y1 in points, from the upper left corner."""
    scale, height = 72 / figure.dpi, 72 * figure.get_figheight()
    ends = figure.axes[0].transData.transform([(0, 0), (1, 1)]) * scale
    return " ".join(f"{x:.2f} {height - y:.2f}" for x, y in ends)


def _compact(body: str) -> str:
    """Drop what the page does without: a third of matplotlib's text is left.

    Two decimals of a point are a 7,000th of an inch; the font is the page's own; an id that nothing
    refers to is only noise.
    """
    body = re.sub(r"<!--.*?-->|<defs>\s*</defs>", "", body, flags=re.S)
    body = body.replace("xlink:href", "href")
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', body))
    names = {name for pair in used for name in pair}
    body = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in names else "", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body)
    body = re.sub(r"<[^>]+>", _round_coordinates, body)  # in tags alone: text keeps its figures
    return re.sub(r"\s+", " ", re.sub(r">\s+<", "><", body)).strip()


def _round_coordinates(tag: re.Match[str]) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])
