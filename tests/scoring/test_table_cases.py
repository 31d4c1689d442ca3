"""Rows of a score table as the cases that `medres evaluate` makes of the same images."""

from dataclasses import replace
from pathlib import Path

import pytest

from medres.data.score_table import ScoreTable
from medres.errors import ManifestError
from medres.scoring.table_cases import cases_of_table, combine_table

NAN = float("nan")
TABLE = ScoreTable(
    Path("scores.csv"),
    ("opacity",),
    ((0.0,), (1.0,), (0.0,), (NAN,), (0.0,)),
    ((0.5,), (0.3,), (0.25,), (0.75,), (0.1,)),
    ("b", "a", "b", "b", "c"),
    ("s", "t", "s", "u", "v"),
    {
        "sex": ("F", "M", "F", "F", ""),
        "age": ("41", "70", "42", "43", ""),
        "site": ("x", "y", "x", "y", "z"),
    },
    ("A note.",),
    3,
)


def test_rows_combine_to_patients_by_the_highest_mean_of_their_studies():
    table = combine_table(TABLE, "patient")
    assert table.patient_ids == ("a", "b", "c")
    assert table.y_score == ((0.3,), (0.75,), (0.1,))
    assert table.y_true == ((1.0,), (0.0,), (0.0,))
    assert (table.notes, table.n_unscored, table.study_ids) == (("A note.",), 3, None)


def test_groups_are_what_all_rows_of_a_case_share_and_ages_are_banded_first():
    groups = combine_table(TABLE, "patient").groups
    assert groups == {
        "sex": ("M", "F", ""),
        "age": ("60 to 79", "40 to 59", ""),
        "site": ("y", "", "z"),
    }


def test_rows_combine_to_studies_in_the_order_of_their_patients():
    table = combine_table(TABLE, "study")
    assert table.patient_ids == ("a", "b", "b", "c")
    assert table.y_score == ((0.3,), (0.375,), (0.75,), (0.1,))


def test_rows_stay_as_they_are_where_they_are_the_cases():
    cases = cases_of_table(TABLE, "image")
    assert cases.y_score[:, 0].tolist() == [0.5, 0.3, 0.25, 0.75, 0.1]
    assert cases.patient_ids == TABLE.patient_ids
    assert cases.images == ((0,), (1,), (2,), (3,), (4,))


def test_rows_of_nobody_do_not_combine():
    alone = replace(TABLE, patient_ids=None)
    assert cases_of_table(alone, "patient").patient_ids == ("0", "1", "2", "3", "4")
    with pytest.raises(
        ManifestError, match=r"scores.csv: no column patient_id, by which rows comb"
    ):
        combine_table(alone, "patient")
