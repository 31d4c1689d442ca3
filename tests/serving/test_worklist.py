from __future__ import annotations

from pathlib import Path

import pytest
from archives import write_archive, write_keys

from medres.errors import ResultsError
from medres.serving.worklist import PAGE_ROWS, Asked, read_keys, read_study, read_worklist


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"))


def test_worklist_begins_with_the_highest_score(archive: Path) -> None:
    shown = read_worklist(archive, Asked())
    assert shown.findings == ("opacity",)
    assert shown.columns == (
        "study_key", "opacity", "images", "modality", "manufacturer", "guard_flag",
    )  # fmt: skip
    assert (shown.sort, shown.page, shown.pages, shown.total) == ("opacity", 1, 3, 120)
    scores = [row["opacity"] for row in shown.rows]
    assert len(scores) == PAGE_ROWS
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 119 / 120


@pytest.mark.parametrize("sort", ["study_key", "opacity", "modality", "guard_flag", "nonsense"])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_together_hold_every_study_once(archive: Path, sort: str, descending: bool) -> None:
    keys = [
        row["study_key"]
        for page in (1, 2, 3)
        for row in read_worklist(archive, Asked(sort, descending, page)).rows
    ]
    assert len(keys) == 120
    assert len(set(keys)) == 120
    if sort == "study_key":
        assert keys == sorted(keys, reverse=descending)


def test_page_beyond_the_last_is_the_last(archive: Path) -> None:
    assert read_worklist(archive, Asked(page=99)).page == 3
    assert len(read_worklist(archive, Asked(page=99)).rows) == 20
    assert read_worklist(archive, Asked(page=0)).page == 1


def test_flagged_studies_can_be_told_apart(archive: Path) -> None:
    only, without = (read_worklist(archive, Asked(flagged=f)) for f in ("only", "without"))
    assert (only.total, without.total) == (12, 108)
    assert all(row["guard_flag"] for row in only.rows)


def test_study_is_found_with_its_images(archive: Path) -> None:
    study, images = read_study(archive, "k0003")
    assert study["opacity"] == pytest.approx(111 / 120)
    assert [row["image_key"] for row in images] == ["ik0003"]
    assert read_study(archive, "k9999") == ({}, ())


def test_changed_table_is_read_again(tmp_path: Path) -> None:
    assert read_worklist(write_archive(tmp_path, 10), Asked()).total == 10
    assert read_worklist(write_archive(tmp_path, 20), Asked()).total == 20


def test_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "studies.parquet").write_text("no table")
    with pytest.raises(ResultsError, match=r"studies\.parquet: not a table that can be read; give"):
        read_worklist(tmp_path, Asked())


def test_keys_lead_to_addresses_where_they_are_there(tmp_path: Path) -> None:
    assert read_keys(tmp_path) == {}
    write_keys(tmp_path, {"i1": "a/b.dcm"})
    assert read_keys(tmp_path) == {"i1": "a/b.dcm"}
