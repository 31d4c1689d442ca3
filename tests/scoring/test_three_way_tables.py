"""Three-way decisions in the tables and the summary, where the model has a band."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scored_tables import score, table

from medres.bundle.directory import Model
from medres.data.table import read_table
from medres.metrics.operating_point import Threshold
from medres.metrics.three_way import Band
from medres.reports.score_page import write_score_page


@pytest.fixture(scope="module")
def banded(
    whole: Path, archive_template: Path, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, float, float]:
    """Results of a model whose band holds the middle third of the studies, and its ends."""
    p = sorted(row["opacity"] for row in table(whole, "studies").values())
    lower, upper = ((p[k - 1] + p[k]) / 2 for k in (len(p) // 3, 2 * len(p) // 3))
    band = Band(Threshold(lower, "low", 9), Threshold(upper, "high", 9), (0.95, 0.9))
    out = tmp_path_factory.mktemp("banded")
    record = replace(model.record, bands={"opacity": band})
    score(archive_template, out, replace(model, record=record))
    return out, lower, upper


def test_every_study_has_its_decision(banded: tuple[Path, float, float], whole: Path) -> None:
    out, lower, upper = banded
    rows = table(out, "studies").values()
    called = [row["opacity_decision"] for row in rows]
    assert called == [
        "positive" if p >= upper else "indeterminate" if p >= lower else "negative"
        for p in (row["opacity"] for row in rows)
    ]
    assert {called.count(word) for word in ("negative", "indeterminate", "positive")} == {4}
    columns = read_table(out / "studies.csv").columns
    before = read_table(whole / "studies.csv").columns
    place = before.index("opacity_positive") + 1
    assert columns == (*before[:place], "opacity_decision", *before[place:])
    assert read_table(out / "images.csv").columns == read_table(whole / "images.csv").columns
    parquet = read_table(out / "studies.parquet").rows
    assert [row["opacity_decision"] for row in parquet] == called


def test_summary_and_page_count_the_decisions(
    banded: tuple[Path, float, float], whole: Path
) -> None:
    out, lower, upper = banded
    summary = json.loads((out / "summary.json").read_text())
    assert summary["studies_decided"] == {
        "opacity": {"negative": 4, "indeterminate": 4, "positive": 4}
    }
    assert summary["bands"]["opacity"]["lower"] == {"value": lower, "rule": "low", "n": 9}
    page = write_score_page(out).read_text()
    third = "4 (33.3%)"
    assert (
        f"With the band from {lower:.3g} to {upper:.3g}: {third} negative, {third} indeterminate, "
        f"{third} positive."
    ) in page
    plain = json.loads((whole / "summary.json").read_text())
    assert (plain["bands"], plain["studies_decided"]) == ({}, {})
    assert plain["model_digest"] != summary["model_digest"]
