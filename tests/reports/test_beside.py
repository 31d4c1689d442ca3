"""Other evaluations beside this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medres.errors import ConfigError
from medres.reports.beside import beside_rows, beside_tables, read_beside
from medres.reports.page import render_page


@pytest.fixture
def other(evaluation: dict[str, Any], tmp_path: Path) -> Path:
    """A report of the same finding whose sensitivity is lower."""
    content = json.loads(json.dumps(evaluation).replace("Infinity", "null"))
    finding = content["findings"]["opacity"]
    finding |= {"sensitivity": {**finding["sensitivity"], "value": 0.5, "low": 0.2, "high": 0.8}}
    folder = tmp_path / "north"
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def test_beside_reads_a_folder_or_a_file_with_its_name(other: Path) -> None:
    for text in (str(other), str(other / "evaluation.json")):
        (section,) = read_beside([text], ["opacity"])
        assert section["name"] == "north"
    (section,) = read_beside([f"North hospital={other}"], ["opacity", "nodule"])
    assert section["name"] == "North hospital"
    assert section["unit"] == "patient"
    assert section["findings"]["opacity"]["sensitivity"]["value"] == 0.5
    assert list(section["findings"]["opacity"]["curves"]) == ["roc"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such file; give an evaluation\.json, or the folder of a report"),
        ("{", r"no JSON; give an evaluation\.json"),
        ("[1]", r"no evaluation; give an evaluation\.json"),
        (
            '{"findings": {"nodule": {}}}',
            "holds nodule, none of opacity; give an evaluation of the",
        ),
    ],
)
def test_beside_refuses_what_is_none(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "evaluation.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_beside([str(path)], ["opacity"])


def test_beside_table_gives_differences_in_points(evaluation: dict[str, Any], other: Path) -> None:
    evaluation["beside"] = read_beside([f"north={other}"], ["opacity"])
    (table,) = beside_tables(evaluation)
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.caption.startswith("Both at the threshold 0.500")
    assert rows["Sensitivity"] == (
        "75.0% (30.1–95.4%)",
        "50.0% (20.0–80.0%)",
        "+25.0 points (-29.0 to +61.3)",
    )
    assert rows["AUROC"][2] == "0.000 (-0.360 to +0.360)"
    assert [row.name for row in beside_rows(evaluation)] == ["opacity", "this evaluation", "north"]


def test_beside_says_where_thresholds_differ_or_lack(
    evaluation: dict[str, Any], finding: dict[str, Any], other: Path
) -> None:
    evaluation["beside"] = read_beside([f"north={other}"], ["opacity"])
    finding["threshold"] = {"value": 0.25, "rule": "given by hand", "n": 0}
    (table,) = beside_tables(evaluation)
    assert table.caption.startswith("Thresholds differ: 0.25 (given by hand) here, 0.5 (Youden")
    finding["threshold"] = None
    (table,) = beside_tables(evaluation)
    assert table.caption == "One of the two has no threshold."


def test_page_shows_what_stands_beside(evaluation: dict[str, Any], other: Path) -> None:
    assert 'id="beside"' not in render_page(evaluation)
    evaluation["beside"] = read_beside([f"north <b>={other}"], ["opacity"])
    text = render_page(evaluation)
    assert 'id="beside"' in text
    assert "In north &lt;b&gt;" in text
    assert '<a href="#beside">other data</a>' in text
