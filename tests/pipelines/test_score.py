"""`medres score` at a shell: sources, options, statuses."""

import csv
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from marked_files import MARKER, marked_files
from pictures import write_pictures

from medres.bundle.directory import load_model
from medres.data.image_rule import EVERY_IMAGE, ImageRule
from medres.scoring.watch import Settled
from pipelines.__main__ import main
from pipelines.score import ScoreConfig, _rule, build_parser


@pytest.fixture
def scored(trained: Path, tmp_path: Path) -> Callable[..., tuple[int, dict]]:
    def run(*sources: Path | str, out: str = "out") -> tuple[int, dict]:
        argv = ["score", *map(str, sources), "--model", str(trained / "model"), "--device", "cpu"]
        status = main([*argv, "--out", str(tmp_path / out)])
        path = tmp_path / out / "summary.json"
        return status, json.loads(path.read_text()) if path.exists() else {}

    return run


def test_nothing_that_files_say_is_written_of_an_archive_either(
    scored: Callable[..., tuple[int, dict]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "marked.zip", "w") as archive:
        for name, content in marked_files():
            archive.writestr(name, content)
    status, summary = scored(tmp_path / "marked.zip")
    assert status == 3
    assert summary["images_scored"] > 5
    out, err = capfd.readouterr()
    assert MARKER not in out + err
    for path in (tmp_path / "out").iterdir():
        assert MARKER.encode() not in path.read_bytes(), path.name


def test_a_manifest_is_a_source_and_plan_only_scores_nothing(
    scored: Callable[..., tuple[int, dict]],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, summary = scored(pictures, "--plan-only")
    assert (status, summary) == (0, {})
    assert scored(pictures, "--plan-only", "--watch") == (0, {})
    assert "medres score: plan: 60 images to score, 60 of 60 studies, 60 files" in (
        capsys.readouterr().err
    )
    status, summary = scored(pictures)
    assert (status, summary["images_scored"], summary["rejected"]) == (0, 60, 0)


def test_a_watched_folder_is_scored_as_files_come(
    scored: Callable[..., tuple[int, dict]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medres.scoring.watch.POLL_SECONDS", 0.2)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    coming = write_pictures(tmp_path / "coming").parent

    def bring() -> None:
        for number, path in enumerate(sorted(coming.glob("*.png"))[:6]):
            (inbox / path.name).write_bytes(path.read_bytes())
            time.sleep(0.3 if number == 2 else 0)

    thread = threading.Thread(target=bring)
    thread.start()
    status, summary = scored(inbox, "--watch", "--until-idle", "2")
    thread.join()
    assert (status, summary["images_scored"]) == (0, 6)


def test_a_watched_folder_has_rows_of_what_is_passed_by_too(
    scored: Callable[..., tuple[int, dict]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hidden file comes alone, after the tables were written."""
    monkeypatch.setattr("medres.scoring.watch.POLL_SECONDS", 0.2)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (picture,) = sorted(write_pictures(tmp_path / "coming").parent.glob("*.png"))[:1]
    (inbox / picture.name).write_bytes(picture.read_bytes())
    original, listings = Settled.next_listing, []

    def next_listing(self: Settled) -> bool:
        listings.append(1)
        if len(listings) == 2:
            (inbox / ".late").touch()
        return original(self)

    monkeypatch.setattr(Settled, "next_listing", next_listing)
    status, summary = scored(inbox, "--watch", "--until-idle", "0.1")
    assert (status, summary["images_scored"], summary["not_chosen"]) == (0, 1, 1)


def test_uids_stand_in_tables_only_where_asked(
    scored: Callable[..., tuple[int, dict]], tmp_path: Path
) -> None:
    from radiographs import write_radiograph

    (tmp_path / "in").mkdir()
    pixels = bytes(range(256))
    import numpy as np

    write_radiograph(
        tmp_path / "in" / "a.dcm", np.frombuffer(pixels, np.uint8).reshape(16, 16), "MONOCHROME2"
    )
    for option, expected in ([], None), (["--with-uids"], "1.2.3.4"):
        out = f"out{len(option)}"
        assert scored(tmp_path / "in", *option, out=out)[0] == 0
        text = (tmp_path / out / "images.csv").read_text()
        (row,) = csv.DictReader(io.StringIO(text))
        assert row.get("sop_instance_uid") == expected
        assert ("1.2.3.4" in text) == bool(option)


def test_options_replace_parts_of_the_models_rule() -> None:
    own = ImageRule(("DX",), ("CHEST",), ("PA",), ("LOCALIZER",))

    def rule(*argv: str) -> ImageRule:
        found = vars(build_parser().parse_args(["x", "--model", "m", "--out", "o", *argv]))
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        return _rule(ScoreConfig(**values), own)

    assert rule() == own
    assert rule("--modality", "cr", "DX") == ImageRule(
        ("CR", "DX"), ("CHEST",), ("PA",), ("LOCALIZER",)
    )
    assert rule("--view", "any").view_positions == ()
    assert rule("--every-image") == EVERY_IMAGE
    assert rule("--every-image", "--leave-out", "SCOUT") == ImageRule(leave_out=("SCOUT",))


def test_a_trained_model_keeps_the_rule_that_was_stated_and_learned(trained: Path) -> None:
    rule = load_model(trained / "model").record.image_rule
    assert rule.modalities == ()  # pictures name none
    assert rule.leave_out == ("SCOUT", "LOCALIZER")  # as `trained` states it
    card = (trained / "model" / "docs" / "README.md").read_text()
    assert "takes, by what headers say: image type not SCOUT, LOCALIZER." in card


def test_a_secret_is_given_by_the_environment_too(
    scored: Callable[..., tuple[int, dict]],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = next(pictures.parent.glob("*.png"))
    (tmp_path / "secret").write_text("a secret of the site, long enough")
    scored(image, "--site-secret", tmp_path / "secret", out="a")
    monkeypatch.setenv("MEDRES_SITE_SECRET", str(tmp_path / "secret"))
    scored(image, out="b")
    tables = [(tmp_path / name / "images.csv").read_text() for name in "ab"]
    assert tables[0] == tables[1]
    assert not (tmp_path / "b" / "site_secret").exists()


def test_a_folder_in_use_is_refused(
    scored: Callable[..., tuple[int, dict]],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert scored(pictures)[0] == 2
    assert "another process is writing results here" in capsys.readouterr().err


def test_an_archive_of_which_nothing_can_be_scored_has_its_tables_and_its_page(
    scored: Callable[..., tuple[int, dict]], tmp_path: Path
) -> None:
    (tmp_path / "text.dcm").write_text("no image")
    status, summary = scored(tmp_path / "text.dcm")
    assert (status, summary["inputs"], summary["rejected"]) == (3, 1, 1)
    assert "Nothing was scored." in (tmp_path / "out" / "summary.html").read_text()
