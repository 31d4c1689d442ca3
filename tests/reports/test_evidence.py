from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_pages import DESKTOP, PHONE, opened

from medres.errors import ConfigError
from medres.reports import paper
from medres.reports.evidence import write_evidence
from medres.reports.section import Section

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def _one_plot_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which plots there are is the business of test_paper; here one stands for all."""
    whole = paper.list_drawings
    monkeypatch.setattr(paper, "list_drawings", lambda evaluation: islice(whole(evaluation), 1))


def test_evidence_is_a_page_and_strict_json(evaluation: dict[str, Any], tmp_path: Path) -> None:
    page = write_evidence(evaluation, tmp_path / "run" / "report")
    assert page == tmp_path / "run" / "report" / "evaluation.html"
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "evaluation.html",
        "evaluation.json",
        "figures",
        "tables",
    ]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (page.parent / "evaluation.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert content["findings"]["opacity"]["auroc"] == evaluation["findings"]["opacity"]["auroc"]
    assert content["findings"]["opacity"]["curves"]["roc"]["threshold"][:2] == [None, 0.7]
    assert '"edges": [0, 0.25, 0.5, 0.75, 1]' in text


def test_evidence_is_the_same_bytes_each_time(evaluation: dict[str, Any], tmp_path: Path) -> None:
    folders = [write_evidence(evaluation, tmp_path / name).parent for name in "ab"]
    first, second = (contents(folder) for folder in folders)
    assert first == second


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_evidence_puts_the_models_card_beside(evaluation: dict[str, Any], tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("# opacity\n", encoding="utf-8")
    write_evidence(evaluation, tmp_path / "report", model_card=card)
    assert (tmp_path / "report" / "model_card.md").read_text(encoding="utf-8") == "# opacity\n"
    write_evidence(evaluation, tmp_path / "report")  # of scores whose model is not known
    assert not (tmp_path / "report" / "model_card.md").exists()


def test_evidence_refuses_a_card_that_is_not_there(
    evaluation: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"card\.md: no such model card; give a Markdown file"):
        write_evidence(evaluation, tmp_path / "report", model_card=tmp_path / "card.md")
    assert not list(tmp_path.iterdir())


def test_evidence_takes_the_plots_of_an_earlier_report_away(
    evaluation: dict[str, Any], several: dict[str, Any], tmp_path: Path
) -> None:
    write_evidence(several, tmp_path)
    (tmp_path / "figures" / "mine.pdf").write_text("kept")
    assert (tmp_path / "figures" / "roc-1-opacity.pdf").exists()
    write_evidence(evaluation, tmp_path)
    names = {path.name for path in (tmp_path / "figures").glob("*.pdf")}
    assert names == {"mine.pdf", "roc.pdf"}


def test_evidence_leaves_the_old_pair_where_writing_fails(
    evaluation: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = write_evidence(evaluation, tmp_path)
    before = contents(tmp_path)
    written = Path.write_bytes

    def fail(path: Path, data: bytes) -> int:
        if path.suffix == ".tex":
            raise OSError("disk full")
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    evaluation["notes"] = ["another"]
    with pytest.raises(OSError, match="disk full"):
        write_evidence(evaluation, tmp_path)
    assert contents(tmp_path) == before
    assert page.exists()


def test_evidence_refuses_another_schema(evaluation: dict[str, Any], tmp_path: Path) -> None:
    evaluation["schema"] = "medres.evaluation/9"
    with pytest.raises(ConfigError, match=r"found 'medres\.evaluation/9', but this medres reports"):
        write_evidence(evaluation, tmp_path)
    assert not list(tmp_path.iterdir())


def test_evidence_refuses_an_evaluation_without_findings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key findings: no finding to report"):
        write_evidence({"schema": "medres.evaluation/1", "findings": {}}, tmp_path)


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_evidence_opens_in_a_browser_without_a_complaint(
    several: dict[str, Any], tmp_path: Path, browser: Browser, size: tuple[int, int]
) -> None:
    write_evidence(several, tmp_path)
    with opened(browser, tmp_path / "evaluation.html", size) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.inner_text("h1") == "Evaluation for 2 findings"
        assert page.locator("figure svg").count() == 9


def test_evidence_takes_in_a_section_made_elsewhere(
    evaluation: dict[str, Any], tmp_path: Path, browser: Browser
) -> None:
    dot = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    section = Section(
        "cases",
        "Worst <mistakes>",
        f'<h4>Case 1</h4><img id="cases-1" src="{dot}" alt="an image">',
        "#cases h4 { color: rgb(1, 2, 3); }",
    )
    write_evidence(evaluation, tmp_path, sections=[section])
    with opened(browser, tmp_path / "evaluation.html") as page:
        assert page.inner_text("nav a[href='#cases']") == "Worst <mistakes>"
        assert page.evaluate("document.getElementById('cases-1').naturalWidth") == 1
        color = "getComputedStyle(document.querySelector('#cases h4')).color"
        assert page.evaluate(color) == "rgb(1, 2, 3)"
