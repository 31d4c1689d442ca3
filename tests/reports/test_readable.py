"""Values and keys as a person writes them."""

import pytest

from medres.reports.readable import is_table, label, readable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", "–"),
        ((), "–"),
        (True, "yes"),
        (0, "0"),
        (0.0, "0"),
        (1e-4, "0.0001"),
        (["a", 1], "a, 1"),
        ({"stem": 0.1}, "Stem 0.1"),
    ],
)
def test_readable_writes_as_a_person_does(value: object, text: str) -> None:
    assert readable(value) == text


def test_label_writes_a_key_as_a_heading() -> None:
    assert label("manifest_sha256") == "Manifest SHA-256"


def test_is_table_takes_lists_of_records_alone() -> None:
    assert is_table([{"stage": "all"}])
    assert not is_table([])
    assert not is_table("text")
    assert not is_table([{"stage": "all"}, 3])
