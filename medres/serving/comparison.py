"""Runs beside each other: where their configurations differ, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medres.reports.figure_kinds import FIGURE_KINDS, format_estimate
from medres.serving.folders import Entry

SHOWN = ("auroc", "average_precision", "sensitivity", "specificity", "ppv", "npv", "brier_score")


@dataclass(frozen=True)
class ComparedRow:
    """One line of a comparison.

    Attributes:
        name: what is compared.
        cells: a text for each entry; "–" where it has none.
        differs: whether the cells differ.
    """

    name: str
    cells: tuple[str, ...]
    differs: bool


def compare_figures(entries: Sequence[Entry]) -> list[ComparedRow]:
    """The main figures, a row a finding and figure, those that any of the entries has."""
    findings = dict.fromkeys(name for e in entries for name in e.evaluation.get("findings", {}))
    kinds = {kind.key: kind for kind in FIGURE_KINDS}
    rows = []
    for name in findings:
        ours = [e.evaluation.get("findings", {}).get(name, {}) for e in entries]
        sizes = [f"{f['n_positive']} of {f['n']}" if "n" in f else "–" for f in ours]
        rows.append(_row(f"{name}: positive", sizes))
        for key in SHOWN:
            if any(finding.get(key) for finding in ours):
                percent = kinds[key].percent
                cells = [
                    format_estimate(f[key], percent=percent) if f.get(key) else "–" for f in ours
                ]
                rows.append(_row(f"{name}: {kinds[key].name}", cells))
    return rows


def compare_settings(entries: Sequence[Entry]) -> list[ComparedRow]:
    """Every key of the resolved configurations, in the order in which they hold them."""
    settings = [flatten(read_settings(entry.folder)) for entry in entries]
    keys = dict.fromkeys(key for values in settings for key in values)
    return [_row(key, [values.get(key, "–") for values in settings]) for key in keys]


def read_settings(folder: Path) -> Mapping[str, Any]:
    """A run's `config.yaml`; empty where there is none, or it is damaged."""
    import yaml

    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return values if isinstance(values, Mapping) else {}


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys with printed values; folders by their last name alone."""
    flat = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        elif name in ("out", "data.manifest", "model.weights") and value is not None:
            flat[name] = Path(str(value)).name
        else:
            flat[name] = "none" if value is None else str(value)
    return flat


def _row(name: str, cells: Sequence[str]) -> ComparedRow:
    return ComparedRow(name, tuple(cells), len(set(cells)) > 1)
