from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from medres.serving.site import Site, may_open


@pytest.mark.parametrize(
    "path",
    [
        "a/training.html",
        "a/report/evaluation.html",
        "a/report/figures/roc.pdf",
        "a/report/tables/figures.tex",
        "archive/summary.json",
    ],
)
def test_what_is_meant_to_be_looked_at_may_be_opened(path: str) -> None:
    assert may_open(PurePosixPath(path))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a/manifest.csv",
        "a/predictions/test.csv",
        "a/predictions/cases.csv",
        "archive/keys.parquet",
        "archive/site_secret",
        "archive/journal.jsonl",
        "a/checkpoints/best.pt",
        "../evaluation.html",
        "a/../../evaluation.html",
        "/etc/evaluation.html",
        ".ssh/config.yaml",
        "a/figures/roc.html",
        "a\\..\\evaluation.html",
        "a\0/evaluation.html",
    ],
)
def test_nothing_that_leads_to_a_patient_or_out_may_be_opened(path: str, tmp_path: Path) -> None:
    assert not may_open(PurePosixPath(path))
    assert Site(tmp_path).answer(f"/files/{path.replace(chr(0), '%00')}").status == 404


@pytest.mark.parametrize(
    "quoted", ["..%2F..%2Fevaluation.html", "%2e%2e/evaluation.html", "%2Fetc%2Fconfig.yaml"]
)
def test_escaped_ways_out_are_closed_too(served: Path, quoted: str) -> None:
    (served.parent / "evaluation.html").write_text("outside")
    assert Site(served).answer(f"/files/{quoted}").status == 404


def test_links_out_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "evaluation.html").write_text("outside")
    (tmp_path / "served" / "a").mkdir(parents=True)
    (tmp_path / "served" / "a" / "evaluation.html").symlink_to(tmp_path / "evaluation.html")
    (tmp_path / "served" / "b").symlink_to(tmp_path)
    site = Site(tmp_path / "served")
    assert site.answer("/files/a/evaluation.html").status == 404
    assert site.answer("/files/b/evaluation.html").status == 404


def test_files_run_in_an_origin_of_their_own(served: Path) -> None:
    answer = Site(served).answer("/files/a/report/evaluation.html")
    assert answer.status == 200
    assert answer.policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in answer.policy
    assert "connect-src" not in answer.policy  # default-src 'none' holds for it


def text(site: Site, target: str) -> str:
    return site.answer(target).body.decode()


def test_list_shows_runs_with_figures_and_archives(served: Path) -> None:
    page = text(Site(served), "/")
    for words in ("0.920 (0.870–0.970)", "site_a.csv", "40 patients", "3 of 10 epochs", "silent"):
        assert words in page
    assert 'href="/files/deep/b/report/evaluation.html"' in page
    assert 'href="/worklist?name=archive"' in page


def test_comparison_needs_two(served: Path) -> None:
    for query in ("", "?run=a", "?run=a&run=a", "?run=a&run=nowhere"):
        assert Site(served).answer(f"/compare{query}").status == 400
    page = text(Site(served), "/compare?run=a&run=deep/b")
    assert "2 runs beside each other" in page
    assert "training.learning_rate" in page
    assert "1 settings that are the same" in page


def test_worklist_links_keep_what_was_asked(served: Path) -> None:
    page = text(Site(served), "/worklist?name=archive&sort=opacity&order=up&page=2&flagged=without")
    assert 'aria-sort="ascending"' in page
    assert "108 studies" in page
    assert 'title="with the model\'s band">indeterminate</b>' in page
    assert "sort=opacity&amp;order=down&amp;page=1&amp;flagged=without" in page  # turns the order
    assert "sort=opacity&amp;order=up&amp;page=3&amp;flagged=without" in page  # the next page


def test_study_says_why_it_shows_no_pixels(served: Path) -> None:
    page = text(Site(served), "/study?name=archive&key=k0003")
    assert "Pixels are not allowed: start with --images" in page
    assert "ik0003" in page
    assert "positive with the model&#39;s band, at or above the threshold" in page
    assert "<img" not in page


@pytest.mark.parametrize(
    "target",
    [
        "/nowhere",
        "/worklist?name=a",
        "/study?name=archive&key=none",
        "/study?name=none",
        "/picture?name=archive&image=ik0003&finding=opacity",
        "/picture?name=archive&image=ik0003&frame=-1",
        "/files/",
    ],
)
def test_what_is_not_there_is_not_found(served: Path, target: str) -> None:
    assert Site(served).answer(target).status == 404


def test_damaged_archive_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "studies.parquet").write_text("no table")
    answer = Site(tmp_path).answer("/worklist?name=x")
    assert answer.status == 500
    assert "not a table that can be read" in answer.body.decode()


def test_names_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "<script>alert(1)</script>" / "x&y"
    folder.mkdir(parents=True)
    (folder / "epochs.jsonl").touch()
    page = text(Site(tmp_path), "/")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
