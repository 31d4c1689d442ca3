from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from medres.reports.paper import list_drawings, paper_files

KINDS = ("precision_recall", "reliability", "roc", "scores")


def test_one_finding_has_plain_names(evaluation: dict[str, Any]) -> None:
    plots = [f"figures/{kind}.{suffix}" for kind in KINDS for suffix in ("pdf", "svg")]
    assert sorted(paper_files(evaluation)) == [*plots, "tables/figures.csv", "tables/figures.tex"]


def test_several_findings_have_numbers_and_one_forest(several: dict[str, Any]) -> None:
    first, second = several["findings"].values()
    several["findings"] = {"Opacity (left)": first, "肺": second}
    assert [name for name, _ in list_drawings(several)] == [
        *(
            f"{kind}-1-opacity-left"
            for kind in ("roc", "precision_recall", "reliability", "scores")
        ),
        *(f"{kind}-2-finding" for kind in ("reliability", "scores")),
        "findings",
    ]


def test_vector_files_are_whole_documents_with_fonts_that_journals_take(
    evaluation: dict[str, Any],
) -> None:
    files = paper_files(evaluation)
    pdf, svg = files["figures/roc.pdf"], files["figures/roc.svg"]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert set(re.findall(rb"/Subtype /(Type3|Type42|TrueType|CIDFontType2)\b", pdf)) <= {
        b"TrueType", b"CIDFontType2",
    }  # fmt: skip
    assert b"/Subtype /CIDFontType2" in pdf or b"/Subtype /TrueType" in pdf
    assert b"CreationDate" not in pdf
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"ROC curve, opacity" in svg
