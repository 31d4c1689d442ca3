"""The plots of the evidence page, as SVG text to stand inside an HTML page.

Each function takes one finding of `evaluation.json` and returns an `<svg>` element, or an empty
text where its curve is undefined. The same input gives the same bytes: no dates, no random ids.
No text from the user reaches matplotlib (a `$` in a finding's name would be taken for mathematics);
names stand in the title and description only, escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeGuard

from medres.reports.summary import describe_threshold, format_estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe & Ito's palette (jfly.uni-koeln.de/color, 2008): told apart with every colour blindness.
BLUE, VERMILLION, INK, QUIET = "#0072b2", "#c04a00", "#1f2933", "#8a949e"
# Points nearer than this to the last one drawn are left out: under half a pixel on a desktop.
RESOLUTION = 1 / 500
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, small, in the page's own font
    "svg.hashsalt": "medres",
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


def draw_roc(finding: Mapping[str, Any], *, name: str, anchor: str) -> str:
    """Sensitivity against 1 − specificity, with the locked threshold's point and its intervals.

    Args:
        finding: one finding of `evaluation.json`.
        name: of the finding, for the description.
        anchor: prefix of every id in the drawing; unique within the page.
    """
    curve = _curve(finding, "roc", "false_positive_rate", "sensitivity")
    if curve is None:
        return ""
    with _style():
        figure, axes = _square_figure("1 − specificity", "Sensitivity")
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (3, 3)))
        axes.plot(*thin_curve(*curve), color=BLUE)
        sensitivity, specificity = finding.get("sensitivity"), finding.get("specificity")
        if _defined(sensitivity) and _defined(specificity):
            _mark_operating_point(axes, sensitivity, specificity)
        _label(axes, 0.97, 0.06, f"AUROC {format_estimate(finding.get('auroc'))}")
        text = f"ROC curve. AUROC {format_estimate(finding.get('auroc'))}. {_at_threshold(finding)}"
        return _as_svg(figure, f"ROC curve, {name}", text, anchor)


def draw_precision_recall(finding: Mapping[str, Any], *, name: str, anchor: str) -> str:
    """Precision (PPV) against sensitivity, in steps, with the prevalence as the level of chance.

    Straight lines between points would promise precisions that no threshold reaches (Davis &
    Goadrich, ICML 2006).
    """
    curve = _curve(finding, "precision_recall", "recall", "precision")
    if curve is None:
        return ""
    recall, precision = curve
    if recall[0] > recall[-1]:
        recall, precision = recall[::-1], precision[::-1]
    # Average precision counts the first step from recall 0; so does the drawing.
    recall, precision = [0.0, *recall], [precision[0], *precision]
    with _style():
        figure, axes = _square_figure("Sensitivity (recall)", "PPV (precision)")
        if _defined(finding.get("prevalence")):
            level = finding["prevalence"]["value"]
            axes.axhline(level, color=QUIET, linewidth=1, linestyle=(0, (3, 3)))
        axes.plot(*thin_curve(recall, precision), color=BLUE, drawstyle="steps-pre")
        if _defined(finding.get("sensitivity")) and _defined(finding.get("ppv")):
            _dot(axes, finding["sensitivity"]["value"], finding["ppv"]["value"])
        average = format_estimate(finding.get("average_precision"))
        _label(axes, 0.03, 0.06, f"Average precision {average}", align="left")
        text = f"Precision-recall curve. Average precision {average}. {_at_threshold(finding)}"
        return _as_svg(figure, f"Precision-recall curve, {name}", text, anchor)


def draw_reliability(finding: Mapping[str, Any], *, name: str, anchor: str) -> str:
    """Observed frequency against mean predicted probability in bins, with intervals as bars.

    The area of a point follows the number of cases in its bin.
    """
    points = reliability_points(finding)
    if not points:
        return ""
    with _style():
        figure, axes = _square_figure("Mean predicted probability", "Observed frequency")
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (3, 3)))
        largest = max(point[4] for point in points) or 1
        for score, observed, low, high, n in points:
            axes.plot([score, score], [low, high], color=BLUE, linewidth=1.2)
            size = 3 + 6 * (n / largest) ** 0.5
            axes.plot([score], [observed], "o", color=BLUE, markersize=size, clip_on=False)
        error = format_estimate(finding.get("expected_calibration_error"))
        text = (
            f"Reliability in {len(points)} bins; expected calibration error {error}. "
            + " ".join(
                f"Predicted {score:.2f}, observed {observed:.2f}, n = {n}."
                for score, observed, _, _, n in points
            )
        )
        return _as_svg(figure, f"Reliability, {name}", text, anchor)


def draw_scores(finding: Mapping[str, Any], *, name: str, anchor: str) -> str:
    """Share of each class by score: positives upwards, negatives downwards, threshold marked.

    Shares, since counts would hide the positives of a rare finding.
    """
    scores = (finding.get("curves") or {}).get("scores") or {}
    edges: Sequence[float] = scores.get("edges") or ()
    counts: list[Sequence[int]] = []
    for key in ("positive", "negative"):
        values = scores.get(key) or ()
        if len(edges) != len(values) + 1 or not values:
            return ""
        counts.append(values)
    with _style():
        figure, axes = _figure("Predicted probability", "Share of class")
        tallest = _draw_halves(axes, edges, *counts)
        threshold = (finding.get("threshold") or {}).get("value")
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (3, 3)))
        if edges[0] >= 0 and edges[-1] <= 1:
            _unit_ticks(axes.xaxis)
            axes.set_xlim(0, 1)
        axes.set_ylim(-1.25 * tallest, 1.25 * tallest)
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
        _label(axes, 0.98, 0.95, f"positive, n = {sum(counts[0]):,}", color=VERMILLION)
        _label(axes, 0.98, 0.05, f"negative, n = {sum(counts[1]):,}", color=BLUE)
        text = f"Scores of {sum(counts[0])} positives above and {sum(counts[1])} negatives below."
        return _as_svg(figure, f"Score distribution, {name}", text, anchor)


def draw_training(history: Sequence[Mapping[str, Any]], *, anchor: str) -> str:
    """Training and validation loss, and validation AUROC, by epoch.

    Args:
        history: one mapping an epoch: `epoch`, and any of `train_loss`, `validation_loss`,
            `validation_auroc`.
        anchor: prefix of every id in the drawing.
    """
    from matplotlib.ticker import MaxNLocator

    losses = (("train_loss", "training", BLUE), ("validation_loss", "validation", VERMILLION))
    keys = {key for row in history for key, value in row.items() if value is not None}
    if len(history) < 2 or not keys & {"train_loss", "validation_loss"}:
        return ""
    with _style():
        figure, axes = _figure("Epoch", "Loss", width=6.4, height=2.7)
        for key, label, color in losses:
            axes.plot(*_series(history, key), color=color, label=label)
        axes.set_ylim(bottom=0)
        if "validation_auroc" in keys:
            axes.plot([], [], color=INK, linestyle=(0, (4, 2)), label="validation AUROC")
            other = axes.twinx()
            other.plot(*_series(history, "validation_auroc"), color=INK, linestyle=(0, (4, 2)))
            other.set_ylabel("AUROC")
            other.spines["right"].set_visible(True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8.5)
        text = f"Loss over {len(history)} epochs of training."
        return _as_svg(figure, "Course of the training", text, anchor)


def thin_curve(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Leave out points that no eye can tell apart, so that 100,000 cases fit a page.

    Args:
        x: abscissae in [0, 1], in drawing order.
        y: ordinates in [0, 1], the same length.

    Returns:
        x and y of the kept points: first, last, and each one at least `RESOLUTION` from the last
        kept one on either axis.
    """
    kept = [0]
    for index in range(1, len(x)):
        last = kept[-1]
        if max(abs(x[index] - x[last]), abs(y[index] - y[last])) >= RESOLUTION:
            kept.append(index)
    if kept[-1] != len(x) - 1:
        kept.append(len(x) - 1)
    return [x[index] for index in kept], [y[index] for index in kept]


def reliability_points(finding: Mapping[str, Any]) -> list[tuple[float, float, float, float, int]]:
    """Bins that hold cases: mean score, observed frequency, low, high, n."""
    curve = (finding.get("curves") or {}).get("reliability") or {}
    keys = ("mean_score", "observed", "low", "high", "n")
    columns: list[Sequence[Any]] = [curve.get(key) or () for key in keys]
    rows = list(zip(*columns, strict=True))
    return [row for row in rows if None not in row and row[4]]


def _curve(
    finding: Mapping[str, Any], name: str, x: str, y: str
) -> tuple[Sequence[float], Sequence[float]] | None:
    curve = (finding.get("curves") or {}).get(name) or {}
    first, second = curve.get(x) or (), curve.get(y) or ()
    pairs = [pair for pair in zip(first, second, strict=True) if None not in pair]
    return ([a for a, _ in pairs], [b for _, b in pairs]) if len(pairs) > 1 else None


def _defined(estimate: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return estimate is not None and estimate.get("value") is not None


def _at_threshold(finding: Mapping[str, Any]) -> str:
    threshold = finding.get("threshold") or {}
    if threshold.get("value") is None:
        return "No threshold."
    rates = (
        format_estimate(finding.get(key), percent=True) for key in ("sensitivity", "specificity")
    )
    return "At the threshold {}: sensitivity {}, specificity {}.".format(
        describe_threshold(threshold), *rates
    )


def _mark_operating_point(
    axes: Axes, sensitivity: Mapping[str, Any], specificity: Mapping[str, Any]
) -> None:
    x, y = 1 - specificity["value"], sensitivity["value"]
    if specificity.get("low") is not None and specificity.get("high") is not None:
        ends = [1 - specificity["high"], 1 - specificity["low"]]
        axes.plot(ends, [y, y], color=VERMILLION, linewidth=1.2)
    if sensitivity.get("low") is not None and sensitivity.get("high") is not None:
        axes.plot(
            [x, x], [sensitivity["low"], sensitivity["high"]], color=VERMILLION, linewidth=1.2
        )
    _dot(axes, x, y)


def _dot(axes: Axes, x: float, y: float) -> None:
    axes.plot([x], [y], "o", color=VERMILLION, markersize=6, markeredgecolor="white", clip_on=False)


def _draw_halves(
    axes: Axes, edges: Sequence[float], positive: Sequence[int], negative: Sequence[int]
) -> float:
    widths = [right - left for left, right in pairwise(edges)]
    tallest = 0.0
    for values, sign, color in ((positive, 1, VERMILLION), (negative, -1, BLUE)):
        shares = [value / (sum(values) or 1) for value in values]
        heights = [sign * share for share in shares]
        axes.bar(edges[:-1], heights, widths, align="edge", color=color, edgecolor="white", lw=0.4)
        tallest = max(tallest, *shares)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    return tallest or 1.0


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    rows = [
        (row.get("epoch", index + 1), row[key])
        for index, row in enumerate(history)
        if row.get(key) is not None
    ]
    return [epoch for epoch, _ in rows], [value for _, value in rows]


def _style() -> Any:
    from matplotlib import rc_context

    settings: Any = STYLE  # the keys are literals to matplotlib's types, from 3.11 on
    return rc_context(settings)


def _figure(x: str, y: str, *, width: float = 3.9, height: float = 3.5) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    return figure, axes


def _square_figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure, axes = _figure(x, y)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    _unit_ticks(axes.xaxis)
    _unit_ticks(axes.yaxis)
    axes.set_box_aspect(0.86)
    return figure, axes


def _unit_ticks(axis: Axis) -> None:
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])


def _label(
    axes: Axes, x: float, y: float, text: str, *, color: str = INK, align: str = "right"
) -> None:
    box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
    vertical = "top" if y > 0.5 else "bottom"
    place: dict[str, Any] = {"ha": align, "va": vertical, "transform": axes.transAxes}
    axes.text(x, y, text, color=color, fontsize=8.5, bbox=box, parse_math=False, **place)


def _as_svg(figure: Figure, title: str, description: str, anchor: str) -> str:
    """Write the figure and make it fit to stand inside a page.

    The prologue, the licence metadata and the style rule go (the rule would hold for the whole
    page), ids get the page's prefix, and title and description come in.
    """
    from markupsafe import escape

    stream = StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', text)
    assert view_box is not None  # matplotlib always writes one
    body = text[text.index(">", view_box.end()) + 1 : text.rindex("</svg>")]
    body = _compact(re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S))
    body = re.sub(r'\bid="', f'id="{anchor}-', body)
    body = body.replace("url(#", f"url(#{anchor}-").replace('href="#', f'href="#{anchor}-')
    return (
        f'<svg viewBox="{view_box[1]}" role="img" aria-labelledby="{anchor}-title {anchor}-desc">'
        f'<title id="{anchor}-title">{escape(title)}</title>'
        f'<desc id="{anchor}-desc">{escape(description)}</desc>\n{body}\n</svg>'
    )


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
