import csv
import json
from pathlib import Path

import pytest

from medres.reports.sweep import (
    SweptFigure,
    SweptRun,
    format_sweep,
    list_swept_figures,
    summarise_seeds,
    write_sweep,
)


def run(seed: int, auroc: float | None, preset: str = "full") -> SweptRun:
    figure = SweptFigure("opacity", "auroc", auroc, None, None)
    return SweptRun({"training.preset": preset}, seed, (figure,))


def test_mean_and_standard_deviation_by_hand() -> None:
    (found,) = summarise_seeds([run(1, 0.7), run(2, 0.8), run(3, 0.9)])
    assert found.mean == pytest.approx(0.8)
    assert found.sd == pytest.approx(0.1)  # n - 1
    assert (found.n, found.low, found.high) == (3, 0.7, 0.9)


def test_settings_are_kept_apart_and_in_order() -> None:
    runs = [run(1, 0.9, "gradual"), run(1, 0.5), run(2, 0.7)]
    first, second = summarise_seeds(runs)
    assert (first.setting, first.n, first.sd) == ({"training.preset": "gradual"}, 1, None)
    assert (second.mean, second.n) == (pytest.approx(0.6), 2)
    assert format_sweep(runs).splitlines() == [
        "| training.preset | finding | seeds | auroc |",
        "| --- | --- | --- | --- |",
        "| gradual | opacity | 1 | 0.900 |",
        "| full | opacity | 2 | 0.600 ± 0.141 |",
    ]


def test_a_figure_that_a_run_does_not_define_is_counted_out_and_said() -> None:
    assert "0.600 (n = 1)" in format_sweep([run(1, None), run(2, 0.6)])
    assert "undefined" in format_sweep([run(1, None)])
    (found,) = summarise_seeds([run(1, None)])
    assert (found.n, found.mean, found.sd) == (0, None, None)


def test_the_figures_of_an_evaluation_with_the_macro_mean_of_several() -> None:
    area = {"value": 0.9, "low": 0.8, "high": 0.95, "method": "DeLong"}
    undefined = {"value": None, "undefined": "no positive patients"}
    one = {"findings": {"a": {"auroc": area, "n": 5}}, "macro": {"auroc": area}}
    assert list_swept_figures(one) == (SweptFigure("a", "auroc", 0.9, 0.8, 0.95),)
    two = {"findings": {"a": {"auroc": area}, "b": {"auroc": undefined}}, "macro": {"auroc": area}}
    assert list_swept_figures(two) == (
        SweptFigure("a", "auroc", 0.9, 0.8, 0.95),
        SweptFigure("b", "auroc", None, None, None),
        SweptFigure("macro", "auroc", 0.9, 0.8, 0.95),
    )


def test_every_table_is_written(tmp_path: Path) -> None:
    write_sweep([run(1, 0.7), run(2, 0.9)], tmp_path)
    table = json.loads((tmp_path / "sweep.json").read_text())
    assert table["schema"] == "medres.sweep/1"
    assert table["summary"][0]["mean"] == pytest.approx(0.8)
    assert [row["seed"] for row in table["runs"]] == [1, 2]
    with (tmp_path / "summary.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["training.preset"], row["figure"], row["n"]) == ("full", "auroc", "2")
    with (tmp_path / "runs.csv").open() as stream:
        assert [row["value"] for row in csv.DictReader(stream)] == ["0.7", "0.9"]
    assert "0.800 ± 0.141" in (tmp_path / "sweep.md").read_text()
