"""What a finding's page shows below its figures: elsewhere, undecided, utility, subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from medres.reports.figure_kinds import FIGURE_KINDS, format_estimate, format_number
from medres.reports.summary import describe_band

SHOWN_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Threshold probabilities of the net-benefit table; evaluation.json holds every hundredth."""


@dataclass(frozen=True)
class ExtraTable:
    """A table of text.

    Attributes:
        title: heading.
        caption: what a reader must know to read it.
        header: names of the columns.
        rows: cells, the first of each row its name.
    """

    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def extra_tables(finding: Mapping[str, Any]) -> tuple[ExtraTable, ...]:
    """Tables of one finding of `evaluation.json`; those without content are left out."""
    return (
        *_elsewhere(finding),
        *_fixed_rates(finding),
        *_three_way(finding),
        *_brier(finding),
        *_net_benefit(finding),
        *_subgroups(finding),
    )


def _share(estimate: Mapping[str, Any] | None) -> str:
    return format_estimate(estimate, percent=True)


def _elsewhere(finding: Mapping[str, Any]) -> Iterator[ExtraTable]:
    section = finding.get("at_prevalence")
    if section:
        where = format_number(section["prevalence"], percent=True)
        rows = tuple((name.upper(), _share(section[name])) for name in ("ppv", "npv"))
        yield ExtraTable(
            f"At a prevalence of {where}",
            "From sensitivity and specificity, presuming that they carry over to that population.",
            ("Figure", "Value (interval)"),
            rows,
        )


def _fixed_rates(finding: Mapping[str, Any]) -> Iterator[ExtraTable]:
    rows = []
    for key, name in (
        ("sensitivity_at_specificity", "Sensitivity where specificity is at least"),
        ("specificity_at_sensitivity", "Specificity where sensitivity is at least"),
    ):
        for rate, estimate in (finding.get(key) or {}).items():
            held = format_number(float(rate), percent=True)
            rows.append((f"{name} {held}", _share(estimate)))
    if rows:
        caption = "The threshold that holds the rate is found on these cases; none is locked here."
        yield ExtraTable("At a fixed rate", caption, ("Figure", "Value (interval)"), tuple(rows))


def _three_way(finding: Mapping[str, Any]) -> Iterator[ExtraTable]:
    section = finding.get("three_way")
    if section:
        figures = [
            (key.replace("_", " ").capitalize(), _share(value))
            for key, value in section.items()
            if key not in ("lower", "upper", "targets", "counts")
        ]
        counts = [(key.replace("_", " "), f"{n:,}") for key, n in section["counts"].items()]
        yield ExtraTable(
            f"Undecided {_where_undecided(section)}",
            f"{describe_band(section)} Undecided cases are counted as positive and as negative, "
            "never left out.",
            ("Figure", "Value (interval)"),
            (*figures, *((f"Cases: {name}", number) for name, number in counts)),
        )


def _where_undecided(section: Mapping[str, Any]) -> str:
    low, high = (section[end]["value"] for end in ("lower", "upper"))
    return "by several models" if low is None else f"between {low:.3g} and {high:.3g}"


def _brier(finding: Mapping[str, Any]) -> Iterator[ExtraTable]:
    parts = finding.get("brier_parts")
    if parts:
        meaning = {
            "reliability": "distance of scores from frequencies; 0 is best",
            "resolution": "distance of frequencies from the prevalence; more is better",
            "uncertainty": "prevalence × (1 − prevalence)",
            "within_bin": "what ten bins hide",
        }
        rows = tuple(
            (key.replace("_", " ").capitalize(), format_number(parts[key]), words)
            for key, words in meaning.items()
        )
        caption = "Brier score = reliability − resolution + uncertainty + within bin."
        yield ExtraTable("Parts of the Brier score", caption, ("Part", "Value", "Meaning"), rows)


def _net_benefit(finding: Mapping[str, Any]) -> Iterator[ExtraTable]:
    curve = finding.get("decision_curve")
    if not curve:
        return
    rows = []
    for k, threshold in enumerate(curve["threshold"]):
        if threshold in SHOWN_THRESHOLDS:
            cells = [
                _signed({name: curve[key][name][k] for name in ("value", "low", "high")}, scale)
                for key, scale in (("model", 1), ("all", 1), ("avoided", 100))
            ]
            rows.append((format_number(threshold, percent=True), *cells))
    yield ExtraTable(
        "Net benefit",
        "Found findings per case, less false alarms weighed by the odds of the threshold; nobody "
        "treated is 0. Avoided: interventions per 100 cases, against treating everybody.",
        ("Threshold probability", "Model", "Everybody", "Avoided per 100"),
        tuple(rows),
    )


def _signed(estimate: Mapping[str, float], scale: int) -> str:
    places = 3 if scale == 1 else 1
    value, low, high = (f"{estimate[k] * scale:.{places}f}" for k in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _subgroups(finding: Mapping[str, Any]) -> Iterator[ExtraTable]:
    for column, section in (finding.get("subgroups") or {}).items():
        rows = []
        for name, group in section["groups"].items():
            gap = group["gaps"]["auroc"]
            shown = gap.get("value") is not None
            rows.append(
                (
                    name,
                    f"{group['n_positive']} of {group['n']}",
                    format_estimate(group["auroc"]),
                    _signed(gap, 1) if shown else "–",
                    _share(group["sensitivity"]),
                    _share(group["specificity"]),
                )
            )
        yield ExtraTable(
            f"By {column}",
            f"Gap: AUROC less that of the other groups. {_interaction(section)}",
            ("Group", "Positive", "AUROC", "Gap", "Sensitivity", "Specificity"),
            tuple(rows),
        )


def _interaction(section: Mapping[str, Any]) -> str:
    names = {kind.key: kind.name for kind in FIGURE_KINDS}
    parts = [
        f"{names[key]} {_p_value(test)}" for key, test in (section.get("interaction") or {}).items()
    ]
    text = f"Test of a difference between groups: {'; '.join(parts)}." if parts else ""
    missing = section.get("n_not_stated") or 0
    return f"{text} Not stated: {missing:,}." if missing else text


def _p_value(test: Mapping[str, Any]) -> str:
    p = test.get("p_value")
    if p is None:
        return f"undefined ({test['method']})"
    adjusted = test.get("p_holm")
    holm = "" if adjusted is None or adjusted == p else f", {_p_of(adjusted)} by Holm"
    return f"{_p_of(p)}{holm} ({test['method']})"


def comparison_table(evaluation: Mapping[str, Any]) -> ExtraTable | None:
    """Differences of two models, a row a finding and figure; None where none were compared."""
    section = evaluation.get("comparison")
    if not section:
        return None
    names = {kind.key: kind.name for kind in FIGURE_KINDS}
    rows = []
    for finding, figures in section["findings"].items():
        for key, result in figures.items():
            what = f"{finding}: {names[key]}"
            if "undefined" in result:
                rows.append((what, f"undefined ({result['undefined']})", "", "", "", ""))
                continue
            first, second = (format_number(result[side]) for side in ("first", "second"))
            difference, p = _signed(result["difference"], 1), _p_of(result["p_value"])
            tested = f"{p} ({result['test']})"
            rows.append((what, first, second, difference, tested, _p_of(result["p_holm"])))
    return ExtraTable(
        f"{section['first']} against {section['second']}",
        "On the same cases. Difference: first less second. Holm: adjusted over the findings.",
        ("Figure", "First", "Second", "Difference (interval)", "p (test)", "p, Holm"),
        tuple(rows),
    )


def _p_of(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
