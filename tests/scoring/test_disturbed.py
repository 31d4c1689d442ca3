"""Runs whose processes are killed and stopped end as if nobody had touched them."""

import multiprocessing
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scored_tables import KEYS, SETTINGS, assert_same, score

from medres.bundle.directory import Model, load_model
from medres.imaging import isolated
from medres.imaging.isolated import IsolatedReader
from medres.imaging.limits import LIMITS
from medres.scoring.run import open_run
from pipelines.score import REJECTED, main

KILLS = 50


@pytest.mark.parametrize("wanted", [signal.SIGKILL, signal.SIGSTOP])
def test_readers_that_die_or_hang_cost_no_image(
    whole: Path,
    archive_template: Path,
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: signal.Signals,
) -> None:
    made: list[IsolatedReader] = []
    original = IsolatedReader.__init__

    def remember(self: IsolatedReader, *arguments: Any) -> None:
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(isolated.IsolatedReader, "__init__", remember)
    settings = replace(SETTINGS, limits=replace(LIMITS, read_seconds=4))
    with open_run(tmp_path, [archive_template], model, settings, KEYS) as run:
        run.look()
        for number, _ in enumerate(run.score()):
            if number == 0:
                assert len(made) == 2
                for reader in made:
                    assert reader._process is not None
                    os.kill(reader._process.pid, wanted)
        run.write(tmp_path)
    assert_same(whole, tmp_path)


@pytest.mark.slow
def test_fifty_kills_at_random_moments_leave_the_same_tables(
    whole: Path, archive_template: Path, model_folder: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medres.scoring.run", "medres.bundle.directory", __name__])
    moments = random.Random(0)
    kills = finished = 0
    while kills < KILLS:
        out = tmp_path / str(finished)
        process = context.Process(target=run_to_the_end, args=(archive_template, out, model_folder))
        process.start()
        process.join(moments.uniform(0, 4))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        if process.exitcode == 0:
            assert_same(whole, out)
            finished += 1
        else:
            assert process.exitcode == -signal.SIGKILL
    out = tmp_path / str(finished)
    score(archive_template, out, load_model(model_folder))
    assert_same(whole, out)


@pytest.mark.slow
def test_kills_between_any_two_files_that_take_their_place_leave_the_same_folder(
    whole: Path, archive_template: Path, model_folder: Path, tmp_path: Path
) -> None:
    """The command itself, tables and page: killed before each move of a finished file, in turn."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["medres.scoring.run", "pipelines.score", __name__])
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_bytes(KEYS.secret)
    argv = [str(archive_template), "--model", str(model_folder), "--out", str(out)]
    argv += ["--site-secret", str(secret), "--workers", "2", "--device", "cpu"]
    for moves in range(20):
        process = context.Process(target=run_until_a_move, args=(argv, moves))
        process.start()
        process.join()
        if process.exitcode == REJECTED:
            break
        assert process.exitcode == -signal.SIGKILL
    assert moves >= 9  # seven tables, the summary, its page
    assert_same(whole, out)
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert (out / "summary.html").exists()


def run_until_a_move(argv: list[str], moves: int) -> None:
    left = iter(range(moves))

    def watch(event: str, _: tuple[Any, ...]) -> None:
        if event == "os.rename" and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.exit(main(argv))


def run_to_the_end(archive: Path, out: Path, model_folder: Path) -> None:
    score(archive, out, load_model(model_folder))
