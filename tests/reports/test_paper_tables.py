from __future__ import annotations

import csv
import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medres.reports.paper_tables import escape_latex, figures_as_csv, figures_as_latex


def rows(evaluation: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(figures_as_csv(evaluation))))


def test_csv_holds_figures_in_full(evaluation: dict[str, Any]) -> None:
    table = {(row["finding"], row["figure"]): row for row in rows(evaluation)}
    auroc = table["opacity", "auroc"]
    assert float(auroc["value"]) == 20 / 24
    assert [auroc[key] for key in ("low", "high", "level", "method", "n", "n_positive")] == [
        "0.5", "0.97", "0.95", "DeLong", "10", "4",
    ]  # fmt: skip
    assert table["(macro)", "auroc"]["method"] == "patient bootstrap"


def test_csv_says_why_a_figure_is_undefined(several: dict[str, Any]) -> None:
    found = [r for r in rows(several) if (r["finding"], r["figure"]) == ("pneumothorax", "auroc")]
    assert [(r["value"], r["low"], r["undefined"]) for r in found] == [
        ("", "", "no positive patients")
    ]


def test_csv_holds_subgroups_and_the_target_population(
    evaluation: dict[str, Any], finding: dict[str, Any]
) -> None:
    ppv = {"ppv": finding["ppv"], "npv": finding["npv"]}
    finding["at_prevalence"] = {"prevalence": 0.05, **ppv}
    finding["subgroups"] = {"sex": {"groups": {"F": {"n": 6, "auroc": finding["auroc"]}}}}
    found = [(r["group"], r["figure"], r["n"]) for r in rows(evaluation) if r["group"]]
    assert found == [
        ("prevalence 0.05", "ppv", ""), ("prevalence 0.05", "npv", ""), ("sex = F", "auroc", "6"),
    ]  # fmt: skip


def test_latex_of_one_finding_lists_its_figures(evaluation: dict[str, Any]) -> None:
    text = figures_as_latex(evaluation)
    assert r"AUROC & 0.833 & 0.500--0.970 \\" in text
    assert r"Sensitivity & 75.0\% & 30.1--95.4\% \\" in text
    assert r"Figure & Value & 95\% interval \\" in text
    assert "opacity: 4 of 10 patients positive." in text
    assert "Threshold 0.500 (Youden index on validation, n~=~20)." in text


def test_latex_of_several_findings_has_a_row_each(several: dict[str, Any]) -> None:
    text = figures_as_latex(several)
    assert text.count(r"\begin{tabular}") == 2
    assert r"opacity & 4/10 & 0.833 (0.500--0.970) & 0.875 (0.500--1.000)" in text
    assert r"pneumothorax & 0/10 & undefined & undefined & 0.169" in text
    assert r"Macro mean &  & 0.833 (0.500--0.970)" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & more_$#", r"50 \% \& more\_\$\#"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("≤", "≤"),
        ("< 5 >", r"\textless{} 5 \textgreater{}"),
        ("a\nb%\r", r"a b\% "),
    ],
)
def test_latex_prints_text_as_it_stands(text: str, expected: str) -> None:
    assert escape_latex(text) == expected


HOSTILE = "\\end{tabular}\\input{x} % & $\\frac$ #1 ~^_{} <é>\n\\"


def test_latex_stays_a_table_whatever_the_names(several: dict[str, Any]) -> None:
    first, second = several["findings"].values()
    several["findings"] = {HOSTILE: first, "b": second}
    text = figures_as_latex(several)
    commands = set(re.findall(r"\\([A-Za-z]+)", text))
    assert commands == {
        *("begin", "end", "toprule", "midrule", "bottomrule", "multicolumn", "footnotesize"),
        *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"),
        *("usepackage", "input"),  # of the comment on top
    }
    comment, _, body = text.partition("\n")
    assert comment.startswith("%")
    assert not re.search(r"(?<!\\)[%$#_~^]", body.replace("n~=~20", ""))
    for table in body.split("\n\n"):
        columns = len(re.search(r"\{@\{\}(l+)@", table)[1])
        lines = [line for line in table.splitlines() if re.search(r"(?<!\\)&", line)]
        assert lines
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns - 1}
        depth = table.count("{") - table.count(r"\{") - table.count("}") + table.count(r"\}")
        assert depth == 0


def test_latex_compiles(
    several: dict[str, Any], tmp_path: Path, program: Callable[[str], str]
) -> None:
    first, second = several["findings"].values()
    several["findings"] = {HOSTILE: first, "b": second}
    (tmp_path / "figures.tex").write_text(figures_as_latex(several), encoding="utf-8")
    frame = (
        r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{figures}\end{document}"
    )
    (tmp_path / "paper.tex").write_text(frame)
    argv = [program("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    subprocess.run(argv, cwd=tmp_path, check=True, timeout=60, capture_output=True)


def test_table_of_one_finding_notes_its_band(evaluation: dict[str, Any]) -> None:
    (finding,) = evaluation["findings"].values()
    ends = {"value": None, "rule": "each fold's own band", "n": 0}
    finding["three_way"] = {
        "lower": ends,
        "upper": ends,
        "undecided": {"value": 0.4, "low": 0.2, "high": 0.7, "level": 0.95, "method": "Wilson"},
    }
    text = figures_as_latex(evaluation)
    assert "Undecided by each fold's own band." in text
    assert r"Undecided: 40.0\%" in text
