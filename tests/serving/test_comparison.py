from __future__ import annotations

from pathlib import Path

from medres.serving.comparison import compare_figures, compare_settings, flatten
from medres.serving.folders import find_entries


def entries(served: Path, *names: str) -> list:
    by_name = {entry.name: entry for entry in find_entries(served)}
    return [by_name[name] for name in names]


def test_figures_stand_beside_each_other_with_intervals(served: Path) -> None:
    rows = compare_figures(entries(served, "a", "deep/b", "silent"))
    assert [(row.name, row.cells, row.differs) for row in rows] == [
        ("opacity: positive", ("9 of 40", "9 of 40", "–"), True),
        ("opacity: AUROC", ("0.810 (0.760–0.860)", "0.920 (0.870–0.970)", "–"), True),
        ("opacity: Sensitivity", ("80.0% (75.0–85.0%)", "80.0% (75.0–85.0%)", "–"), True),
    ]


def test_settings_say_where_runs_differ_and_no_folder(served: Path) -> None:
    rows = compare_settings(entries(served, "a", "deep/b"))
    assert [(row.name, row.cells, row.differs) for row in rows] == [
        ("training.learning_rate", ("0.001", "0.01"), True),
        ("training.epochs", ("10", "10"), False),
        ("out", ("a", "b"), True),
    ]


def test_settings_of_what_is_no_run_are_absent(served: Path) -> None:
    rows = compare_settings(entries(served, "a", "elsewhere"))
    assert {row.cells[1] for row in rows} == {"–"}


def test_nested_settings_become_dotted_keys() -> None:
    assert flatten({"a": {"b": None, "c": [1, 2]}, "d": True}) == {
        "a.b": "none", "a.c": "[1, 2]", "d": "True",
    }  # fmt: skip
