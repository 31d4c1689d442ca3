from __future__ import annotations

import os
from pathlib import Path

from training_runs import epochs, training_status, write_run

from medres.serving.folders import find_entries
from medres.training.status import now


def test_entries_are_what_lies_below(served: Path) -> None:
    found = {e.name: (e.kind, e.state, e.progress) for e in find_entries(served)}
    assert found == {
        "a": ("run", "finished", "10 of 10 epochs"),
        "deep/b": ("run", "finished", "10 of 10 epochs"),
        "silent": ("run", "silent", "3 of 10 epochs"),
        "elsewhere": ("evaluation", "finished", ""),
        "archive": ("archive", "finished", ""),
    }


def test_entries_name_their_pages(served: Path) -> None:
    pages = {e.name: (e.evidence, e.training) for e in find_entries(served)}
    assert pages["deep/b"] == ("report/evaluation.html", "training.html")
    assert pages["elsewhere"] == ("evaluation.html", "")
    assert pages["silent"] == ("", "training.html")


def test_newest_entry_comes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        folder = write_run(tmp_path / name, training_status(updated=now()), epochs(1))
        for path in folder.iterdir():
            os.utime(path, (1e9 - age, 1e9 - age))
    entries = find_entries(tmp_path)
    assert [entry.name for entry in entries] == ["new", "old"]
    assert entries[0].state == "training"
    assert entries[0].when == "2001-09-09 01:46"


def test_damaged_entries_are_listed_with_what_can_be_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", training_status(), [])
    (folder / "training.json").write_text("{")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "evaluation.json").write_text("[]")
    found = {entry.name: (entry.state, entry.evaluation) for entry in find_entries(tmp_path)}
    assert found == {"run": ("unknown", {}), "e": ("finished", {})}


def test_links_are_not_followed(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere" / "run", training_status(), [])
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_entries(tmp_path / "served") == []


def test_served_folder_itself_may_be_a_run(tmp_path: Path) -> None:
    write_run(tmp_path, training_status(), [])
    assert [entry.name for entry in find_entries(tmp_path)] == ["."]
