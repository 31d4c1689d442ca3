"""The explorer moved in a real browser: every figure is the library's, by its own functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser_pages import PHONE, opened

from medres.errors import UndefinedMetricError
from medres.metrics import operating_point
from medres.metrics.decision_curve import decision_curve
from medres.metrics.evaluation import evaluate
from medres.metrics.finding_details import AskedDetails
from medres.metrics.intervals import wilson
from medres.metrics.operating_point import Threshold, confusion
from medres.metrics.predictive_values import predictive_values_at
from medres.metrics.three_way import Band, three_way_counts, three_way_figures
from medres.reports.evidence import write_evidence
from medres.reports.explorer import of_thousand
from medres.reports.figure_kinds import format_interval, format_number

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RATES = ("sensitivity", "specificity", "ppv", "npv")
LOCKED = 0.18137


def scores(n: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.15).astype(float)
    return y, np.round(1 / (1 + np.exp(-rng.normal(size=n) - 1.8 * y + 2.4)), 5)


def write_page(folder: Path, **options: Any) -> Path:
    y, s = scores()
    report = evaluate(
        y,
        s,
        findings=["nodule"],
        thresholds={"nodule": Threshold(LOCKED, "Youden index on validation", 300)},
        resamples=50,
        **options,
    )
    return write_evidence(report.as_json(), folder)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("explorer"))


def printed(figure: Any, *, percent: bool = True) -> tuple[str, str]:
    found = figure.as_json()
    if found["value"] is None:
        return "undefined", found["undefined"]
    value = format_number(found["value"], percent=percent)
    return value, format_interval(found, percent=percent)


def expected(threshold: float, prevalence: float | None = None) -> dict[str, tuple[str, str]]:
    y, s = scores()
    counts = confusion(y, s, threshold)
    found = {}
    for name in RATES:
        try:
            found[name] = printed(getattr(operating_point, name)(counts))
        except UndefinedMetricError:
            reason = operating_point.UNDEFINED_BECAUSE[name].format(unit="patients")
            found[name] = ("undefined", reason)
    if prevalence is not None:
        elsewhere = predictive_values_at(counts, prevalence, units="patients")
        found |= {name: printed(figure) for name, figure in elsewhere.items()}
    if not 0 < threshold < 1:
        return {**found, "benefit": ("undefined", "a threshold of 0 or 1 has no odds")}
    curve = decision_curve(y, s, thresholds=[threshold], prevalence=prevalence).model
    benefit = {"low": curve.low[0], "high": curve.high[0]}
    return {**found, "benefit": (format_number(curve.value[0]), format_interval(benefit))}


def shown(page: Page, keys: tuple[str, ...] = (*RATES, "benefit")) -> dict[str, tuple[str, str]]:
    text = {
        f"{key}-{part}": page.text_content(f"#explore-{key}-{part}")
        for key in keys
        for part in ("value", "interval")
    }
    return {key: (text[f"{key}-value"], text[f"{key}-interval"]) for key in keys}  # type: ignore[misc]


def shown_counts(page: Page) -> tuple[int, ...]:
    keys = ("tp", "fp", "tn", "fn")
    return tuple(int(page.inner_text(f"#explore-count-{key}").replace(",", "")) for key in keys)


def type_into(page: Page, field: str, value: str) -> None:
    page.fill(f"#explore-{field}", value)
    page.press(f"#explore-{field}", "Enter")


def test_script_changes_nothing_at_the_locked_threshold(browser: Browser, path: Path) -> None:
    quiet = browser.new_context(java_script_enabled=False)
    still = quiet.new_page()
    still.goto(path.as_uri())
    before = still.inner_text("#explore .results"), still.inner_text("#explore-sentence")
    still_shown = shown(still)
    icons = still.eval_on_selector_all(
        "#explore-icons circle", "all => all.map(c => c.className.baseVal)"
    )
    quiet.close()
    with opened(browser, path) as page:
        assert (
            page.inner_text("#explore .results"),
            page.inner_text("#explore-sentence"),
        ) == before
        assert shown(page) == still_shown == expected(LOCKED)
        assert (
            page.eval_on_selector_all(
                "#explore-icons circle", "all => all.map(c => c.className.baseVal)"
            )
            == icons
        )
        assert page.is_disabled("#explore-locked")


@pytest.mark.parametrize(
    "threshold", ["0.0000", "0.0314", "0.1813", "0.1814", "0.5000", "0.97", "1"]
)
def test_figures_at_a_typed_threshold_are_the_librarys(
    browser: Browser, path: Path, threshold: str
) -> None:
    y, s = scores()
    counts = confusion(y, s, float(threshold))
    with opened(browser, path) as page:
        type_into(page, "threshold-number", threshold)
        assert shown(page) == expected(float(threshold))
        assert shown_counts(page) == (counts.tp, counts.fp, counts.tn, counts.fn)


def test_slider_moves_by_keyboard(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        page.focus("#explore-threshold")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.input_value("#explore-threshold-number") == "0.1840"
        assert shown(page) == expected(0.184)
        page.keyboard.press("End")
        assert shown(page) == expected(1.0)
        said = page.locator("#explore-status", has_text="Threshold 1.0000: sensitivity 0.0%")
        said.wait_for(state="attached")
        page.keyboard.press("Home")
        assert page.get_attribute("#explore-threshold", "aria-valuetext") == "0.0000"
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the button back to the locked threshold
        assert shown(page) == expected(LOCKED)
        assert (page.get_attribute("#explore-threshold", "aria-valuetext") or "").endswith(
            ", the locked threshold"
        )


def test_slider_moves_by_pointer(browser: Browser, path: Path) -> None:
    with opened(browser, path, PHONE) as page:
        page.locator("#explore-threshold").scroll_into_view_if_needed()
        box = page.locator("#explore-threshold").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
        page.mouse.up()
        value = float(page.input_value("#explore-threshold-number"))
        assert value == pytest.approx(0.5, abs=0.02)
        assert shown(page) == expected(value)


@pytest.mark.parametrize("prevalence", [0.001, 0.034, 0.4])
def test_predictive_values_at_another_prevalence_are_the_librarys(
    browser: Browser, path: Path, prevalence: float
) -> None:
    y, s = scores()
    counts = confusion(y, s, LOCKED)
    with opened(browser, path) as page:
        type_into(page, "prevalence-number", f"{prevalence * 100:g}")
        assert shown(page) == expected(LOCKED, prevalence)
        people = of_thousand(
            prevalence,
            counts.tp / (counts.tp + counts.fn),
            counts.fn / (counts.tp + counts.fn),
            counts.fp / (counts.fp + counts.tn),
            counts.tn / (counts.fp + counts.tn),
        )
        for key, number in people.items():
            assert page.locator(f"#explore-icons .{key}").count() == number
            assert page.text_content(f"#explore-people-{key}") == str(number)
        page.click("#explore-own")
        assert shown(page) == expected(LOCKED)


def test_prevalence_slider_stops_where_the_library_agrees(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        page.focus("#explore-prevalence")
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert page.inner_text(".at-prevalence") == "0.2%"
        assert shown(page) == expected(LOCKED, 0.002)


def test_band_counts_undecided_each_way(browser: Browser, path: Path) -> None:
    y, s = scores()
    low, high = 0.08, 0.3
    counts = three_way_counts(y, s, low, high)
    figures = three_way_figures(y, s, low, high, units="patients")
    with opened(browser, path) as page:
        page.check("#explore-band")
        type_into(page, "threshold-number", str(high))
        type_into(page, "lower-number", str(low))
        found = shown(page, ("undecided", *RATES))
        assert found["undecided"] == printed(figures["undecided"])
        assert found["sensitivity"] == printed(figures["sensitivity_counted_negative"])
        assert found["specificity"] == printed(figures["specificity_counted_positive"])
        assert found["ppv"] == printed(figures["ppv"])
        assert found["npv"] == printed(figures["npv"])
        best = figures["sensitivity_counted_positive"].as_json()["value"]
        assert page.inner_text("#explore-sensitivity-best") == format_number(best, percent=True)
        assert page.inner_text("#explore-count-up") == str(counts.undecided_positive)
        assert shown_counts(page) == (counts.tp, counts.fp, counts.tn, counts.fn)
        type_into(page, "prevalence-number", "2")
        elsewhere = shown(page, ("ppv", "npv"))
        strict = predictive_values_at(counts.counted_negative, 0.02, units="patients")
        lax = predictive_values_at(counts.counted_positive, 0.02, units="patients")
        assert elsewhere == {"ppv": printed(strict["ppv"]), "npv": printed(lax["npv"])}
        type_into(page, "lower-number", "0.6")  # past the upper end, which gives way
        assert page.input_value("#explore-threshold-number") == "0.6000"


def test_band_that_was_asked_for_is_there_from_the_start(browser: Browser, tmp_path: Path) -> None:
    band = Band(Threshold(0.1, "given by hand", 0), Threshold(0.3, "given by hand", 0))
    page_path = write_page(tmp_path, asked=AskedDetails(prevalence=0.04, bands={"nodule": band}))
    with opened(browser, page_path) as page:
        assert page.is_checked("#explore-band")
        assert page.input_value("#explore-lower-number") == "0.1000"
        assert page.inner_text(".at-prevalence") == "4.0%"
        page.click("#explore-locked")
        assert shown(page) == expected(LOCKED, 0.04)


def test_patients_with_several_rows_get_intervals_where_they_are_known(
    browser: Browser, tmp_path: Path
) -> None:
    page_path = write_page(tmp_path, patient_ids=np.arange(400) // 2)
    with opened(browser, page_path) as page:
        value, interval = shown(page)["sensitivity"]
        wilsons = expected(LOCKED)["sensitivity"]
        assert value == wilsons[0]
        assert interval != wilsons[1]
        type_into(page, "threshold-number", "0.3")
        assert shown(page)["sensitivity"] == (expected(0.3)["sensitivity"][0], "")
        assert "several images here" in page.inner_text("#explore")


def test_finding_is_chosen(browser: Browser, tmp_path: Path) -> None:
    y, s = scores()
    report = evaluate(
        np.stack([1 - y, y], 1),
        np.stack([1 - s, 30 * s - 12], 1),
        findings=["one", "two"],
        thresholds={"one": Threshold(0.7, "given by hand", 0)},
        resamples=50,
    )
    with opened(browser, write_evidence(report.as_json(), tmp_path)) as page:
        assert page.input_value("#explore-threshold-number") == "0.7000"
        page.select_option("#explore-finding", label="two")
        assert page.text_content("#explore-benefit-interval") == "scores that are no probabilities"
        type_into(page, "threshold-number", "-6")
        assert page.input_value("#explore-threshold-number") == "-6.00"
        counts = confusion(y, 30 * s - 12, -6.0)
        assert shown_counts(page) == (counts.tp, counts.fp, counts.tn, counts.fn)
        assert page.inner_text("#explore-locked") == "None is locked"


def test_numbers_are_printed_as_python_prints_them(browser: Browser, path: Path) -> None:
    values = [
        0.0,
        1.0,
        0.5,
        0.0625,
        0.1875,
        0.00049,
        0.0005,
        0.9995,
        0.99949,
        1 / 3,
        0.3125,
        0.8125,
    ]
    values += [0.35, 0.0004999, 1e-9, 1 - 1e-7, 0.12345, -0.0002, -0.0625, -1.9375, 12.0625]
    values += [k / 7 for k in range(8)] + [k / 1000 + 0.0005 for k in range(0, 1000, 37)]
    with opened(browser, path) as page:
        for percent in (False, True):
            found = page.evaluate(f"({values}).map(v => Figures.number(v, {str(percent).lower()}))")
            assert found == [format_number(v, percent=percent) for v in values]


def test_wilson_is_the_same_double(browser: Browser, path: Path) -> None:
    pairs = [(0, 1), (1, 1), (3, 7), (95, 100), (99_999, 100_000), (1, 250_000), (66, 95)]
    with opened(browser, path) as page:
        for k, n in pairs:
            found = page.evaluate(f"Figures.wilson({k}, {n}, Explorer.data.findings[0].z)")
            ours = wilson(k, n)
            assert (found["value"], found["low"], found["high"]) == (
                ours.value,
                ours.low,
                ours.high,
            )


def test_rings_on_the_plots_follow_the_threshold(browser: Browser, path: Path) -> None:
    with opened(browser, path) as page:
        at_locked = page.evaluate(
            """() => [...document.querySelectorAll('#finding-1 svg .moved')].map(ring => {
                 const [x0, y0, x1, y1] = ring.closest('svg').dataset.frame.split(' ').map(Number);
                 return [(ring.getAttribute('cx') - x0) / (x1 - x0),
                         (ring.getAttribute('cy') - y0) / (y1 - y0)]; })"""
        )
        y, s = scores()
        counts = confusion(y, s, LOCKED)
        m, n = counts.tp + counts.fn, counts.fp + counts.tn
        benefit = decision_curve(y, s, thresholds=[LOCKED]).model.value[0]
        expected_places = [
            (counts.fp / n, counts.tp / m),
            (counts.tp / m, counts.tp / (counts.tp + counts.fp)),
            (LOCKED, benefit),
        ]
        assert np.array(at_locked) == pytest.approx(np.array(expected_places), abs=1e-6)
        # The ring lies on the point that matplotlib drew for the locked threshold.
        drawn, ring = page.evaluate(
            """() => { const svg = document.querySelector('svg[aria-labelledby^="finding-1-roc-"]');
                 const middle = e => { const b = e.getBoundingClientRect();
                                       return [b.x + b.width / 2, b.y + b.height / 2]; };
                 const dots = [...svg.querySelectorAll('use, path')];
                 const ring = middle(svg.querySelector('.moved'));
                 const off = e => Math.hypot(middle(e)[0] - ring[0], middle(e)[1] - ring[1]);
                 return [middle(dots.sort((a, b) => off(a) - off(b))[0]), ring]; }"""
        )
        assert drawn == pytest.approx(ring, abs=0.6)
