from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from medres.reports import paper
from pipelines.__main__ import main


@pytest.fixture(scope="module", autouse=True)
def _one_plot_a_report() -> Iterator[None]:
    """Of the plots for a paper these tests see the first alone: fonts in PDF take a second."""
    whole = paper.list_drawings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "list_drawings", lambda evaluation: islice(whole(evaluation), 1))
        yield


@pytest.fixture(scope="session")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a small training through the command line, from random weights."""
    out = tmp_path_factory.mktemp("runs") / "first"
    argv = ["train", "--data.manifest", str(pictures), "--out", str(out), "--pixels.size", "32"]
    argv += ["--model.weights", "none", "--model.stem", "port", "--training.preset", "full"]
    argv += ["--training.batch_size", "18", "--training.epochs", "4", "--device", "cpu"]
    argv += ["--image_rule.leave_out", "SCOUT,localizer"]
    assert main(argv) == 0
    return out
