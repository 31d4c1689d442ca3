"""The page for everybody: contrast computed, controls named, keyboard, phone, paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser_pages import DESKTOP, PHONE, opened

from medres.metrics.evaluation import evaluate
from medres.metrics.finding_details import AskedDetails
from medres.metrics.operating_point import Threshold
from medres.reports.drawing import BLUE, VERMILLION
from medres.reports.evidence import write_evidence

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CONTRASTS = """() => {
  const parse = text => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
      .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
      .reduce((sum, c, k) => sum + c * [.2126, .7152, .0722][k], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const text = walk.currentNode.textContent.trim();
    const unread = element.closest('script, style, title, desc, :disabled');
    if (!text || unread || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    const big = parseFloat(style.fontSize) >= (style.fontWeight >= 700 ? 18.66 : 24);
    found.push([(a + .05) / (b + .05), big ? 3 : 4.5, text.slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two findings with subgroups, a comparison and everything else that a page can hold."""
    rng = np.random.default_rng(1)
    y = (rng.random((300, 2)) < 0.3).astype(float)
    s = 1 / (1 + np.exp(-rng.normal(size=(300, 2)) - 1.5 * y + 1.5))
    names = ["nodule", "effusion"]
    asked = AskedDetails(
        prevalence=0.1, subgroups={"sex": rng.choice(["F", "M"], 300)}, specificities=(0.9,)
    )
    report = evaluate(
        y,
        s,
        findings=names,
        thresholds=dict.fromkeys(names, Threshold(0.3, "given by hand", 0)),
        asked=asked,
        resamples=50,
    )
    evaluation: dict[str, Any] = report.as_json(
        dataset={"name": "two findings"}, model={"depth": 18}, provenance={"seed": 0}
    )
    auroc = {"first": 0.8, "second": 0.7, "p_value": 0.01, "p_holm": 0.02, "test": "DeLong, paired"}
    auroc["difference"] = {"value": 0.1, "low": 0.02, "high": 0.18}
    beside = json.loads(json.dumps(evaluation["findings"]))
    evaluation |= {
        "intended_use": "To sort a list.",
        "flow": {
            "found": {"n": 90, "excluded": [{"why": "refused: unsupported_photometric", "n": 6}]},
            "start": "images of the manifest, in 84 files",
            "n": 1120,
            "excluded": [{"why": "of patients that the model was fitted on", "n": 820}],
        },
        "splits": {"test": {"patients": 300, "studies": None, "images": 300, "positives": {}}},
        "leakage": {"equal images in two splits": 0},
        "training": {"preset": "full", "schedule": [{"stage": "all", "rate": 0.1}]},
        "beside": [{"name": "north", "unit": "patient", "findings": beside}],
        "comparison": {"first": "a", "second": "b", "findings": {"nodule": {"auroc": auroc}}},
    }
    return write_evidence(evaluation, tmp_path_factory.mktemp("accessible"))


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.check("#explore-band")


def test_every_text_has_the_contrast_of_wcag_aa(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        open_all(page)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 500
        assert [entry for entry in found if entry[0] < entry[1]] == []


def test_every_control_and_picture_has_a_name(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        nameless = page.evaluate(
            """() => [...document.querySelectorAll(
                      'input, select, button, [role=img], [role=region], figure[tabindex]')]
                 .filter(e => !(e.ariaLabel || e.labels?.length || e.textContent.trim()
                                || e.getAttribute('aria-labelledby')))
                 .map(e => e.outerHTML.slice(0, 80))"""
        )
        assert nameless == []
        pictures = page.evaluate(
            """() => [...document.querySelectorAll('svg')].filter(s => s.role !== 'img'
                 && s.ariaHidden !== 'true').length"""
        )
        assert pictures == 0
        assert page.get_attribute("html", "lang") == "en"
        assert page.locator("[role=status]").count() == 1


def test_text_of_the_flow_stays_in_its_boxes(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        ends = page.evaluate(
            """() => [...document.querySelectorAll('svg.flow text')].map(text => {
                 let box = text;
                 while (box.tagName !== 'rect') box = box.previousElementSibling;
                 return [text, box].map(e => e.getBoundingClientRect().right); })"""
        )
        assert len(ends) > 5
        assert all(text < box for text, box in ends)


def test_every_stop_of_the_keyboard_is_visible(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        reached = []
        for _ in range(80):
            page.keyboard.press("Tab")
            place = page.evaluate(
                """() => { const e = document.activeElement;
                     const { outlineStyle, outlineWidth } = getComputedStyle(e);
                     return [e.id || e.tagName, outlineStyle, parseFloat(outlineWidth)]; }"""
            )
            if place[0] == "BODY":
                break
            reached.append(place)
        assert {
            "explore-finding", "explore-threshold", "explore-threshold-number", "explore-band",
            "explore-prevalence", "explore-prevalence-number",
        } <= {name for name, _, _ in reached}  # fmt: skip
        assert [place for place in reached if place[1] == "none" or place[2] < 2] == []


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_page_never_scrolls_sideways(browser: Browser, path: Path, size: tuple[int, int]) -> None:
    with opened(browser, path, size) as page:
        open_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_page_prints_on_a4_with_everything_unfolded(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        page.emulate_media(media="print")
        hidden = page.evaluate(
            """() => [...document.querySelectorAll('details *')]
                 .filter(e => !e.checkVisibility()).length"""
        )
        assert hidden == 0
        assert not page.is_visible("nav")
        printed = page.pdf(prefer_css_page_size=True)
        assert b"/MediaBox [0 0 594.9" in printed or b"/MediaBox [0 0 595" in printed


def test_page_moves_only_for_those_who_want_it(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(np.eye(3), id="usual sight"),
        # Machado, Oliveira & Fernandes, IEEE TVCG 15 (2009) 1291-1298, severity 1.
        pytest.param([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                      [-0.003882, -0.048116, 1.051998]], id="protanopia"),
        pytest.param([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                      [-0.011820, 0.042940, 0.968881]], id="deuteranopia"),
        pytest.param([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                      [0.004733, 0.691367, 0.303900]], id="tritanopia"),
    ],
)  # fmt: skip
def test_the_two_colours_differ_for_every_eye(seen: Any) -> None:
    from skimage.color import rgb2lab

    rgb = np.array(
        [[int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)] for color in (BLUE, VERMILLION)]
    )
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    shown = np.clip(linear @ np.array(seen).T, 0, 1)
    coded = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    blue, vermillion = rgb2lab(coded)
    assert np.linalg.norm(blue - vermillion) > 40  # ΔE; 2 is just noticeable
