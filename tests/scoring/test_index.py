"""What the index does for archives of many files, counted in SQLite's own steps, never in time."""

from collections.abc import Callable
from typing import Any

import pytest

from medres.data.image_rule import ImageRule
from medres.data.pseudonyms import Keys
from medres.scoring.index import Index
from medres.scoring.pictures import Facts, Picture

KEYS = Keys(b"a secret of thirty-two bytes ....")


def array_of(count: int) -> Index:
    """An npz file whose images are studies of their own."""
    index = Index(KEYS)
    facts = Facts(rows=28, columns=28)
    pictures = [Picture("x", (k,), f"a.npz::x#{k}", "", "", "", facts) for k in range(count)]
    index.add({"file": "a.npz", "stamp": "1", "pictures": [p.as_json() for p in pictures]})
    return index


def radiographs(count: int) -> Index:
    """Files of as many sizes."""
    index = Index(KEYS)
    for k in range(count):
        picture = Picture("", range(1), f"1.{k}", "", "", "", Facts("DX", rows=2000 + k))
        index.add({"file": str(k), "stamp": "1", "pictures": [picture.as_json()]})
    return index


def scored(frame: int) -> dict[str, Any]:
    image = {"image": "a.npz", "part": "x", "frame": frame, "stamp": "1"}
    return {**image, "status": "scored", "p": [0.5], "sha256": "0"}


def steps(index: Index, action: Callable[[Index], object]) -> int:
    """Of SQLite's machine, in tens."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    index.database.set_progress_handler(tick, 10)
    action(index)
    index.database.set_progress_handler(None, 0)
    return count


@pytest.mark.parametrize(
    "action", [lambda i: i.record(scored(7)), lambda i: i.studies_of("a.npz", "x", 7)]
)
def test_an_image_of_an_array_is_found_among_many_as_among_few(
    action: Callable[[Index], object],
) -> None:
    assert steps(array_of(2000), action) <= steps(array_of(20), action) + 1


def test_choosing_takes_one_look_at_each_image_however_many_sizes_there_are() -> None:
    def choose(index: Index) -> None:
        index.choose(ImageRule(modalities=("DX",)))

    assert steps(radiographs(1000), choose) < 11 * steps(radiographs(100), choose)


def test_an_image_of_an_array_has_its_own_result_and_study() -> None:
    index = array_of(3)
    index.record(scored(1))
    assert [(row.frame, row.study) for row in index.scored()] == [(1, "a.npz::x#1")]
    assert index.studies_of("a.npz", "x", 2) == ["a.npz::x#2"]
    assert index.counts()["planned"] == 2


def test_frames_of_one_study_are_found_by_their_number_too() -> None:
    index = Index(KEYS)
    picture = Picture("x", range(4), "1.2", "", "", "", Facts("XA"))
    index.add({"file": "a.npz", "stamp": "1", "pictures": [picture.as_json()]})
    index.record(scored(3))
    assert [row.frame for row in index.scored()] == [3]
    assert index.studies_of("a.npz", "x", 3) == ["1.2"]


def test_a_rule_that_changes_chooses_anew() -> None:
    index = radiographs(2)
    index.choose(ImageRule(modalities=("CT",)))
    assert index.tally("not_chosen") == {"modality DX": 2}
    index.choose(ImageRule())
    assert index.tally("not_chosen") == {}
