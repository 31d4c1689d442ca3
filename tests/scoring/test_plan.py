"""What a run says before it starts, and the time that it expects to take."""

from dataclasses import replace
from typing import Any

import pytest

from medres.data.image_rule import ImageRule
from medres.scoring.pictures import Facts
from medres.scoring.plan import Plan, make_plan, mixed_in_words

JPEG_2000 = Facts(rows=2000, columns=1000, transfer_syntax_uid="1.2.840.10008.1.2.4.90")
PLAIN = Facts(rows=1000, columns=1000, transfer_syntax_uid="1.2.840.10008.1.2.1")
COUNTS = {"planned": 40, "files": 60, "images_scored": 0, "not_chosen": 12, "rejected": 8}


class Indexed:
    """What an index counts: 30 images of 2 megapixels in JPEG 2000, and 10 of 1 as they are."""

    def counts(self) -> dict[str, int]:
        return COUNTS

    def count_studies(self) -> tuple[int, int]:
        return 21, 20

    def tally(self, what: str) -> dict[str, int]:
        tallies = {"rejected": {"truncated": 3, "not_an_image": 5}, "not_chosen": {"view": 12}}
        return tallies.get(what, {"JPEG lossless": 1})

    def count_mixed_studies(self) -> int:
        return 2

    def count_planned(self) -> list[tuple[Facts, int]]:
        return [(JPEG_2000, 30), (PLAIN, 10)]


def plan(**options: Any) -> Plan:
    asked = {"image_seconds": 0.1, "workers": 1, "together": False, **options}
    return make_plan(Indexed(), ImageRule(), **asked)  # type: ignore[arg-type]


def test_time_is_that_of_reading_or_of_the_network_whichever_is_longer() -> None:
    reading = (30 * (1.5 + 2 * 100.0) + 10 * (1.5 + 2.5)) / 1000  # 6.085 s
    assert plan().expected_seconds == pytest.approx(reading)
    assert plan(workers=2).expected_seconds == pytest.approx(4.0)  # of the network: 40 x 0.1 s
    assert plan(workers=4, image_seconds=0.01).expected_seconds == pytest.approx(reading / 4)


def test_where_both_share_the_processors_their_times_add_up() -> None:
    assert plan(together=True).expected_seconds == pytest.approx(6.085 + 4.0)
    assert plan(together=True, workers=5).expected_seconds == pytest.approx(6.085 / 5 + 4.0)


def test_the_plan_in_words() -> None:
    assert plan().lines() == [
        "plan: 40 images to score, 20 of 21 studies, 60 files",
        f"  chosen: {ImageRule().in_words}",
        "  12 not chosen: 12 view",
        "  8 rejected: 5 not_an_image, 3 truncated",
        "  1 file: JPEG lossless",
        f"  {mixed_in_words(2)}",
        "  expected time: about 6 s",
    ]
    again = replace(plan(), counts={**COUNTS, "images_scored": 7}, not_chosen={}, rejected={})
    bare = replace(again, missing_decoders={"RLE": 2}, mixed_studies=0, own_chain=True)
    assert bare.lines()[1:] == [
        "  7 images were scored before, and stay",
        f"  chosen: {ImageRule().in_words}",
        "  2 files: RLE",
        "  expected time: about 6 s beside what the bundle's own chain takes",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 s"),
        (59.4, "59 s"),
        (60.0, "1 min"),
        (3599.0, "60 min"),
        (3600.0, "1.0 h"),
        (9000.0, "2.5 h"),
    ],
)
def test_times_are_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    told = replace(plan(), expected_seconds=seconds).lines()[-1]
    assert told == f"  expected time: about {words}"


def test_studies_of_several_patients_are_told_in_number() -> None:
    rest = "images of several patients, by their Patient ID; keys.parquet tells which"
    assert mixed_in_words(1) == f"1 study holds {rest}"
    assert mixed_in_words(1200) == f"1,200 studies hold {rest}"
