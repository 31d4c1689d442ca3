"""`medres evaluate` by subgroup, and at another prevalence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipelines.evaluate import main


def test_subgroups_come_from_the_manifest(trained: Path, tmp_path: Path) -> None:
    with (trained / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = trained / "with_groups.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [*rows[0], "ward"])
        table.writeheader()
        table.writerows({**row, "ward": "ab"[k % 2]} for k, row in enumerate(rows))
    out = tmp_path / "out"
    options = ["--split", "test", "--subgroup", "ward", "--prevalence", "0.1", "--device", "cpu"]
    assert main([str(trained / "model"), str(path), "--out", str(out), *options]) == 0
    finding = json.loads((out / "evaluation.json").read_text())["findings"]["label"]
    assert set(finding["subgroups"]["ward"]["groups"]) <= {"a", "b"}
    assert finding["at_prevalence"]["prevalence"] == 0.1


def test_unknown_subgroups_end_in_a_message(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--split", "test", "--subgroup", "mood", "--device", "cpu"]
    arguments = [str(trained / "model"), str(trained / "manifest.csv"), "--out", str(tmp_path)]
    assert main([*arguments, *options]) == 2
    assert "no subgroup column 'mood': the manifest has" in capsys.readouterr().err
