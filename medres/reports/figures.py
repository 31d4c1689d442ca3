"""The plots of one finding, and of a training: drawn once, for the page and for a paper.

Each takes one finding of `evaluation.json` and returns a drawing, or None where its curve is
undefined. Names stand in the title and description only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeGuard

from medres.reports.drawing import (
    BAND,
    BLUE,
    INK,
    QUIET,
    VERMILLION,
    Drawing,
    new_axes,
    styled,
    unit_axes,
    unit_ticks,
    write_label,
)
from medres.reports.figure_kinds import format_estimate
from medres.reports.summary import describe_threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Points nearer than this to the last one drawn are left out: under half a pixel on a desktop.
RESOLUTION = 1 / 500
DASHED = (0, (3, 3))


def plot_roc(finding: Mapping[str, Any], *, name: str) -> Drawing | None:
    """Sensitivity against 1 − specificity, with the locked threshold's point and its intervals.

    Args:
        finding: one finding of `evaluation.json`.
        name: of the finding, for the description.
    """
    curve = curve_points(finding, "roc", "false_positive_rate", "sensitivity")
    if curve is None:
        return None
    with styled():
        figure, axes = unit_axes("1 − specificity", "Sensitivity")
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=DASHED)
        draw_band(axes, finding, "roc")
        axes.plot(*thin_curve(*curve), color=BLUE)
        sensitivity, specificity = finding.get("sensitivity"), finding.get("specificity")
        if _defined(sensitivity) and _defined(specificity):
            _mark_operating_point(axes, sensitivity, specificity)
        write_label(axes, 0.97, 0.06, f"AUROC {format_estimate(finding.get('auroc'))}")
        text = f"ROC curve. AUROC {format_estimate(finding.get('auroc'))}. {_at_threshold(finding)}"
        return Drawing(figure, f"ROC curve, {name}", text)


def plot_precision_recall(finding: Mapping[str, Any], *, name: str) -> Drawing | None:
    """Precision (PPV) against sensitivity, in steps, with the prevalence as the level of chance.

    Straight lines between points would promise precisions that no threshold reaches (Davis &
    Goadrich, ICML 2006).
    """
    curve = curve_points(finding, "precision_recall", "recall", "precision")
    if curve is None:
        return None
    recall, precision = curve
    if recall[0] > recall[-1]:
        recall, precision = recall[::-1], precision[::-1]
    # Average precision counts the first step from recall 0; so does the drawing.
    recall, precision = [0.0, *recall], [precision[0], *precision]
    with styled():
        figure, axes = unit_axes("Sensitivity (recall)", "PPV (precision)")
        if _defined(finding.get("prevalence")):
            level = finding["prevalence"]["value"]
            axes.axhline(level, color=QUIET, linewidth=1, linestyle=DASHED)
        draw_band(axes, finding, "precision_recall")
        axes.plot(*thin_curve(recall, precision), color=BLUE, drawstyle="steps-pre")
        if _defined(finding.get("sensitivity")) and _defined(finding.get("ppv")):
            _dot(axes, finding["sensitivity"]["value"], finding["ppv"]["value"])
        average = format_estimate(finding.get("average_precision"))
        write_label(axes, 0.03, 0.06, f"Average precision {average}", align="left")
        text = f"Precision-recall curve. Average precision {average}. {_at_threshold(finding)}"
        return Drawing(figure, f"Precision-recall curve, {name}", text)


def plot_reliability(finding: Mapping[str, Any], *, name: str) -> Drawing | None:
    """Observed frequency against mean predicted probability in bins, with intervals as bars.

    The area of a point follows the number of cases in its bin.
    """
    points = reliability_points(finding)
    if not points:
        return None
    with styled():
        figure, axes = unit_axes("Mean predicted probability", "Observed frequency")
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=DASHED)
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
        return Drawing(figure, f"Reliability, {name}", text)


def plot_scores(finding: Mapping[str, Any], *, name: str) -> Drawing | None:
    """Share of each class by score: positives upwards, negatives downwards, threshold marked.

    Shares, since counts would hide the positives of a rare finding.
    """
    scores = (finding.get("curves") or {}).get("scores") or {}
    edges: Sequence[float] = scores.get("edges") or ()
    counts: list[Sequence[int]] = []
    for key in ("positive", "negative"):
        values = scores.get(key) or ()
        if len(edges) != len(values) + 1 or not values:
            return None
        counts.append(values)
    with styled():
        figure, axes = new_axes("Predicted probability", "Share of class")
        tallest = _draw_halves(axes, edges, *counts)
        threshold = (finding.get("threshold") or {}).get("value")
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=DASHED)
        if edges[0] >= 0 and edges[-1] <= 1:
            unit_ticks(axes.xaxis)
            axes.set_xlim(0, 1)
        axes.set_ylim(-1.25 * tallest, 1.25 * tallest)
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
        write_label(axes, 0.98, 0.95, f"positive, n = {sum(counts[0]):,}", color=VERMILLION)
        write_label(axes, 0.98, 0.05, f"negative, n = {sum(counts[1]):,}", color=BLUE)
        text = f"Scores of {sum(counts[0])} positives above and {sum(counts[1])} negatives below."
        return Drawing(figure, f"Score distribution, {name}", text)


def plot_decision_curve(finding: Mapping[str, Any], *, name: str) -> Drawing | None:
    """Net benefit of the model against treating everybody and nobody, with its interval.

    Drawn down to a little below nobody's 0: treating everybody falls without end.
    """
    curve = finding.get("decision_curve")
    if not curve:
        return None
    thresholds, model = curve["threshold"], curve["model"]
    with styled():
        figure, axes = new_axes("Threshold probability", "Net benefit")
        axes.fill_between(thresholds, model["low"], model["high"], color=BAND, linewidth=0)
        axes.plot(thresholds, model["value"], color=BLUE, label="model")
        axes.plot(
            thresholds, curve["all"]["value"], color=QUIET, linewidth=1.2, label="everybody treated"
        )
        axes.axhline(0, color=INK, linewidth=1, linestyle=DASHED, label="nobody treated")
        top = max(*model["high"], curve["all"]["value"][0], 0.01)
        axes.set_ylim(-0.15 * top, 1.08 * top)
        axes.set_xlim(0, 1)
        unit_ticks(axes.xaxis)
        axes.legend(frameon=False, loc="upper right", fontsize=8.5)
        useful = [t for t, low in zip(thresholds, model["low"], strict=True) if low > 0]
        reach = f" Its interval lies above 0 up to {max(useful):.2f}." if useful else ""
        text = f"Net benefit at threshold probabilities of {thresholds[0]:g} to {thresholds[-1]:g}."
        return Drawing(figure, f"Decision curve, {name}", text + reach)


def plot_training(history: Sequence[Mapping[str, Any]]) -> Drawing | None:
    """Training and validation loss, and validation AUROC, by epoch.

    Args:
        history: one mapping an epoch: `epoch`, and any of `train_loss`, `validation_loss`,
            `validation_auroc`.
    """
    from matplotlib.ticker import MaxNLocator

    losses = (("train_loss", "training", BLUE), ("validation_loss", "validation", VERMILLION))
    keys = {key for row in history for key, value in row.items() if value is not None}
    if len(history) < 2 or not keys & {"train_loss", "validation_loss"}:
        return None
    with styled():
        figure, axes = new_axes("Epoch", "Loss", width=6.4, height=2.7)
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
        return Drawing(figure, "Course of the training", text)


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


def curve_points(
    finding: Mapping[str, Any], name: str, x: str, y: str
) -> tuple[Sequence[float], Sequence[float]] | None:
    """A curve of a finding as abscissae and ordinates; None where it is undefined."""
    curve = (finding.get("curves") or {}).get(name) or {}
    first, second = curve.get(x) or (), curve.get(y) or ()
    pairs = [pair for pair in zip(first, second, strict=True) if None not in pair]
    return ([a for a, _ in pairs], [b for _, b in pairs]) if len(pairs) > 1 else None


def draw_band(axes: Axes, finding: Mapping[str, Any], name: str) -> None:
    """The band around a curve of a finding, where it has one."""
    band = ((finding.get("curves") or {}).get("bands") or {}).get(name)
    if band:
        axes.fill_between(band["at"], band["low"], band["high"], color=BAND, linewidth=0)


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
