from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from medres.metrics.evaluation import evaluate
from medres.metrics.operating_point import Threshold
from medres.reports.evidence import finite
from medres.reports.page import render_page

VOID = {"meta", "br", "link", "img", "input", "hr"}
# SVG written with a slash closes itself; the parser reports it through handle_startendtag.


class Page(HTMLParser):
    """What the page consists of; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def data_of(page: Page) -> str:
    """The data of the page's script, as text."""
    return next(text for text in page.text if text.startswith('{"reasons"'))


@pytest.fixture(params=["evaluation", "several"])
def page(request: pytest.FixtureRequest) -> Page:
    return Page(render_page(request.getfixturevalue(request.param)))


def test_page_links_the_training_s_own_page_and_nothing_else(evaluation: dict[str, Any]) -> None:
    link = "The training's own page"
    assert link not in render_page(evaluation)
    evaluation["training"]["page"] = "../training.html"
    assert f'<a href="../training.html">{link}</a>' in render_page(evaluation)
    evaluation["training"]["page"] = "javascript:alert(1)//training.html"
    assert link not in render_page(evaluation)


def test_page_refers_to_nothing_outside(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object"}
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith("#")
        assert "http://" not in str(attributes)
        assert "https://" not in str(attributes)
    text = "".join(page.text)
    assert "@import" not in text
    assert "url(http" not in text


def test_page_forbids_every_request(page: Page) -> None:
    policy = {attributes.get("http-equiv"): attributes for _, attributes in page.tags}
    rules = policy["Content-Security-Policy"]["content"] or ""
    assert "default-src 'none'" in rules
    assert re.search(r"script-src 'sha256-[\w+/]{43}='; ", rules)


def test_page_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    links = {a["href"] for _, a in page.tags if "href" in a}
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} >= links
    labels = {name for _, a in page.tags for name in (a.get("aria-labelledby") or "").split()}
    assert labels <= set(ids)


def test_page_headings_skip_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.tags[0] == ("html", {"lang": "en"})


def test_page_shows_figures_methods_and_notes(evaluation: dict[str, Any]) -> None:
    text = " ".join(" ".join(Page(render_page(evaluation)).text).split())
    for part in (
        "Evaluation for opacity",
        "For research use only.",
        "0.500–0.970",
        "DeLong",
        "<0.001",
        "3 true positive",
        "Youden index on validation",
        "The preset resolved to full.",
        "Patients in two splits",
        "opacity 8",
        "0.5, 99.5",
        "ten phantoms",
    ):
        assert part in text


def test_page_says_undefined_with_its_reason(several: dict[str, Any]) -> None:
    text = "".join(Page(render_page(several)).text)
    assert text.count("undefined (no positive patients)") >= 5
    assert text.count("Not drawn: undefined for these labels.") == 4
    text = text[: text.index('{"reasons"')]
    assert "Left out of the means: pneumothorax (no positive patients)." in text
    assert not re.search(r"\b(nan|None)\b", text)


def test_page_escapes_a_hostile_finding(evaluation: dict[str, Any]) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    evaluation["findings"] = {hostile: evaluation["findings"]["opacity"]}
    evaluation["macro"]["left_out"] = [hostile]
    evaluation["notes"] = [hostile]
    evaluation["dataset"]["name"] = hostile
    evaluation["model"] = {hostile: hostile}
    evaluation["leakage"] = {hostile: [{hostile: hostile}]}
    evaluation["splits"]["test"]["positives"] = {hostile: 1}
    evaluation["findings"][hostile]["threshold"]["rule"] = hostile
    page = Page(render_page(evaluation))
    assert "img" not in {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "alert(1)</script>" not in data_of(page)
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    assert hostile in "".join(page.text)


def test_page_of_findings_alone(finding: dict[str, Any]) -> None:
    page = Page(render_page({"findings": {"opacity": finding}}))
    assert "Patients and splits" not in "".join(page.text)
    assert "How it was made" not in "".join(page.text)


def test_page_draws_every_figure_as_a_figure(evaluation: dict[str, Any]) -> None:
    page = Page(render_page(evaluation))
    assert [tag for tag, _ in page.tags].count("svg") == 6 + 8
    assert not any("<svg" in text for text in page.text)


def test_page_shows_classes_named_one_for_each_case(several: dict[str, Any]) -> None:
    several["multiclass"] = {
        "classes": ["normal", "viral"],
        "accuracy": {"value": 0.75, "low": 0.7, "high": 0.8, "method": "Wilson"},
        "confusion_matrix": [[70, 10], [15, 5]],
    }
    text = "".join(Page(render_page(several)).text)
    assert "is right in 75.0% (70.0–80.0%) of cases" in text
    assert "named viral" in text


def test_page_of_fourteen_findings_stays_under_a_megabyte(evaluation: dict[str, Any]) -> None:
    finding = evaluation["findings"]["opacity"]
    evaluation["findings"] = {f"finding {number}": finding for number in range(14)}
    assert len(render_page(evaluation).encode()) < 1_000_000


def test_page_shows_sections_it_does_not_know(evaluation: dict[str, Any]) -> None:
    evaluation["rejected_inputs"] = {"total": 12_345}
    text = "".join(Page(render_page(evaluation)).text)
    assert "Rejected inputs" in text
    assert "12,345" in text


def test_page_of_100_000_cases_takes_little() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(100_000) < 0.2).astype(float)
    score = 1 / (1 + np.exp(-rng.normal(size=len(y)) - 1.5 * y + 2))
    locked = {"x": Threshold(0.3, "given by hand", 0)}
    report = evaluate(y, score, findings=["x"], thresholds=locked, resamples=10)
    size = len(render_page(finite(report.as_json())).encode())
    # 14 findings then take 2.3 MB, of the 5 MB that a page may: all beside one is less than 0.1.
    assert size < 300_000


def test_page_says_where_a_finding_is_left_undecided(evaluation: dict[str, Any]) -> None:
    (finding,) = evaluation["findings"].values()
    counts = {"tp": 2, "fp": 1, "tn": 3, "fn": 0, "undecided_positive": 2, "undecided_negative": 2}
    undecided = {"value": 0.4, "low": 0.2, "high": 0.7, "level": 0.95, "method": "Wilson"}
    ends = {"value": None, "rule": "each fold's own band", "n": 0}
    section = {"counts": counts, "undecided": undecided}
    finding["three_way"] = {
        "lower": {"value": 0.25, "rule": "low", "n": 20},
        "upper": {"value": 0.625, "rule": "high", "n": 20},
        "targets": {"sensitivity": 0.95, "specificity": 0.9},
        **section,
    }
    page = render_page(evaluation).replace("\N{NO-BREAK SPACE}", " ")
    assert "Undecided from 0.250 (low, n = 20) to below 0.625 (high, n = 20)." in page
    assert "Undecided between 0.25 and 0.625" in page
    assert "Targets" not in page
    finding["three_way"] = {"lower": ends, "upper": ends, **section}
    page = render_page(evaluation)
    assert "Undecided by several models" in page
    assert "Undecided by each fold&#39;s own band." in page
