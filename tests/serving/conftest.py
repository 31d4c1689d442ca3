from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from archives import write_archive
from training_runs import epochs, training_status, write_run

from medres.reports.training_page import write_training_page
from medres.serving.server import open_server
from medres.serving.site import Site


def figure(value: float) -> dict:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "level": 0.95, "method": "m"}


def write_evaluation(folder: Path, auroc: float) -> None:
    finding = {"n": 40, "n_positive": 9, "auroc": figure(auroc), "sensitivity": figure(0.8)}
    values = {
        "schema": "medres.evaluation/1",
        "n": {"patients": 40, "images": 60},
        "dataset": {"manifest": "site_a.csv"},
        "findings": {"opacity": {**finding, "curves": {"roc": [0] * 100}}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(values))
    (folder / "evaluation.html").write_text("<!DOCTYPE html><title>evidence</title><h1>E</h1>")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, one that goes on, an evaluation and an archive."""
    root = tmp_path_factory.mktemp("served")
    for name, rate, auroc in (("a", 0.001, 0.81), ("deep/b", 0.01, 0.92)):
        folder = write_run(root / name, training_status("finished"), epochs(10))
        write_evaluation(folder / "report", auroc)
        settings = f"training:\n  learning_rate: {rate}\n  epochs: 10\nout: /home/someone/{name}\n"
        (folder / "config.yaml").write_text(settings)
        (folder / "manifest.csv").write_text("patient_id\nJane\n")
        write_training_page(folder)
    write_training_page(write_run(root / "silent", training_status("training"), epochs(3)))
    write_evaluation(root / "elsewhere", 0.7)
    write_archive(root / "archive")
    return root


@pytest.fixture(scope="session")
def server(served: Path) -> Iterator[ThreadingHTTPServer]:
    with open_server(Site(served), 0) as opened:
        thread = Thread(target=opened.serve_forever, daemon=True)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()
