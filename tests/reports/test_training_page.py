from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import DESKTOP, PHONE, opened
from training_runs import epochs, training_status, write_run

from medres.reports.training_page import (
    FollowedTraining,
    describe_state,
    format_seconds,
    judging,
    render_training_page,
    write_training_page,
)
from medres.training.status import TrainingState, read_status

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.mark.parametrize(
    ("state", "done", "best", "expected"),
    [
        ("training", 0, 0, "Epoch 1 of 10 is running."),
        ("training", 7, 7, "Epoch 8 of 10 is running."),
        ("judging", 10, 9, "Trained for 10 of 10 epochs; the network is being judged on"),
        ("finished", 10, 9, "Finished after 10 of 10 epochs."),
        ("finished", 7, 4, "Stopped early, after 7 of 10 epochs: none of the last 3 was better"),
        ("interrupted", 2, 2, "Interrupted after 2 of 10 epochs. Started again on the same"),
        ("failed", 2, 2, "Ended by an error after 2 of 10 epochs. Started again on the same"),
    ],
)
def test_page_says_where_the_run_stands(
    state: TrainingState, done: int, best: int, expected: str
) -> None:
    history = epochs(done, best) if done else []
    assert describe_state(training_status(state), history).startswith(expected)


def test_page_follows_a_run_until_it_is_over() -> None:
    following = '<meta http-equiv="refresh" content="10">'
    for state in ("training", "judging"):
        assert following in render_training_page(training_status(state), epochs(2), name="r")
    for state in ("finished", "interrupted", "failed"):
        assert "refresh" not in render_training_page(training_status(state), epochs(2), name="r")


def test_page_escapes_what_users_wrote() -> None:
    page = render_training_page(training_status(), epochs(2), name="<script>x</script>")
    assert "<script" not in page
    assert "&lt;b&gt;opacity&lt;/b&gt;" in page


def test_page_links_the_evidence_once_there_is_one(tmp_path: Path) -> None:
    folder = write_run(tmp_path, training_status("finished"), epochs(10))
    assert "evaluation.html" not in write_training_page(folder).read_text(encoding="utf-8")
    (folder / "report").mkdir()
    (folder / "report" / "evaluation.html").touch()
    page = write_training_page(folder).read_text(encoding="utf-8")
    assert '<a href="report/evaluation.html">' in page
    assert '<a href="epochs.jsonl">' in page
    assert "config.yaml" not in page  # it is not there


def test_followed_training_writes_status_and_page_at_each_event(tmp_path: Path) -> None:
    follow = FollowedTraining(tmp_path, training_status(epoch_seconds=None))
    follow("began")
    assert "Epoch 1 of 10 is running." in (tmp_path / "training.html").read_text(encoding="utf-8")
    (tmp_path / "epochs.jsonl").write_text(json.dumps(epochs(1)[0]) + "\n")
    follow("epoch")
    assert read_status(tmp_path).epoch_seconds is not None
    assert "Epoch 2 of 10 is running." in (tmp_path / "training.html").read_text(encoding="utf-8")
    follow("interrupted")
    assert read_status(tmp_path).state == "interrupted"
    assert "Interrupted after 1" in (tmp_path / "training.html").read_text(encoding="utf-8")


def test_judging_ends_a_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path, training_status(), epochs(10))
    with judging(folder):
        assert read_status(folder).state == "judging"
    assert read_status(folder).state == "finished"
    with pytest.raises(OSError, match="disk full"), judging(folder):
        raise OSError("disk full")
    assert read_status(folder).state == "failed"
    with pytest.raises(KeyboardInterrupt), judging(folder):
        raise KeyboardInterrupt
    assert read_status(folder).state == "interrupted"


def test_judging_leaves_a_run_without_status_alone(tmp_path: Path) -> None:
    with judging(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (3.21, "3.2 s"), (45, "45 s"), (200, "3 min"), (12_000, "3 h 20 min")],
)
def test_seconds_are_told_in_the_unit_that_suits(seconds: float, expected: str) -> None:
    assert format_seconds(seconds) == expected


def test_page_of_two_hundred_epochs_stays_small() -> None:
    history = [{**epochs(10)[k % 10], "epoch": k + 1} for k in range(200)]
    assert len(render_training_page(training_status(epochs=200), history, name="r")) < 150_000


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_page_is_calm_in_a_browser(browser: Browser, tmp_path: Path, size: tuple[int, int]) -> None:
    folder = write_run(tmp_path / "run", training_status("finished"), epochs(10, 6))
    with opened(browser, write_training_page(folder), size) as page:
        assert page.inner_text("h1") == "run"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("svg.chart").count() == 3
        assert page.locator("svg.band").count() == 7
        assert "6" in page.inner_text(".tiles")


def test_page_in_a_browser_loads_itself_again_and_then_stops(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medres.reports.training_page.REFRESH_SECONDS", 1)
    folder = write_run(tmp_path, training_status(), epochs(1))
    with opened(browser, write_training_page(folder)) as page:
        assert "Epoch 2 of 10" in page.inner_text("header")
        write_run(folder, training_status("finished"), epochs(10))
        write_training_page(folder)
        page.get_by_text("Finished after 10 of 10").wait_for(timeout=15_000)
        assert page.title() == f"Training {folder.name}: finished"
        page.evaluate("window.same = true")
        page.wait_for_timeout(1500)
        assert page.evaluate("window.same") is True
