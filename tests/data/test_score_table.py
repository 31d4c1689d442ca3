from __future__ import annotations

import math
from pathlib import Path

import pytest

from medres.data.score_table import check_same_rows, read_scores, select_groups
from medres.errors import ManifestError


def write(folder: Path, text: str) -> Path:
    path = folder / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_one_finding_is_y_true_and_y_score(tmp_path: Path):
    path = write(tmp_path, "patient_id,y_true,y_score,sex\nA,1,0.9,F\nA,0,0.2,F\nB,,0.4,\n")
    table = read_scores(path)
    assert table.findings == ("finding",)
    assert table.y_true[:2] == ((1.0,), (0.0,))
    assert math.isnan(table.y_true[2][0])
    assert table.y_score == ((0.9,), (0.2,), (0.4,))
    assert table.patient_ids == ("A", "A", "B")
    assert table.groups == {"sex": ("F", "F", "")}
    assert read_scores(path, ["opacity"]).findings == ("opacity",)


def test_several_findings_stand_beside_their_scores(tmp_path: Path):
    path = write(
        tmp_path,
        "image,frame,opacity,label_effusion,opacity_score,effusion_score,opacity_untempered\n"
        "a,0,1,0,0.9,0.1,0.8\nb,0,,1,,0.7,\n",
    )
    table = read_scores(path)
    assert table.findings == ("opacity", "effusion")
    assert table.y_score[0] == (0.9, 0.1)
    assert math.isnan(table.y_score[1][0])
    assert table.groups == {}
    assert table.patient_ids is None
    assert read_scores(path, ["effusion"]).y_true == ((0.0,), (1.0,))


def test_rows_that_were_not_scored_are_counted_and_named(tmp_path: Path):
    table = read_scores(write(tmp_path, "y_true,y_score\n1,0.9\n0,\n0,0.2\n1,\n"))
    assert table.y_score == ((0.9,), (0.2,))
    assert table.notes == (
        "2 of 4 rows have no score and are left out of every figure: rows 3, 5.",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y_true,y_score\n2,0.9\n", "row 2, column y_true: found '2'; a label is 0, 1, or empty"),
        ("y_true,y_score\n1,0.9\nyes,0.9\n", "row 3, column y_true: found 'yes'; a label is 0, 1"),
        ("y_true,y_score\n1,high\n", "row 2, column y_score: found 'high'; a score is a finite"),
        ("y_true,y_score\n1,inf\n", "row 2, column y_score: found 'inf'; a score is a finite"),
        ("y_true,y_score\n1,\n", "no row has a score; fill the score columns"),
        ("a,b\n1,2\n", "no labels with scores; name the columns y_true and y_score, or"),
        (
            "a,a_score,b,b_score\n1,0.1,1,\n",
            "row 2, column b_score: found ''; a score is a finite number",
        ),
        (
            "patient_id,y_true,y_score\n,1,0.5\nB,1,0.5\n",
            "row 2, column patient_id: empty; give every row one",
        ),
    ],
)
def test_bad_tables_are_refused_with_row_column_and_value(tmp_path: Path, text: str, message: str):
    with pytest.raises(ManifestError, match=message):
        read_scores(write(tmp_path, text))


def test_findings_that_are_not_there_are_named(tmp_path: Path):
    path = write(tmp_path, "a,a_score\n1,0.5\n")
    with pytest.raises(ManifestError, match="no columns 'b' and 'b_score' for the finding 'b'"):
        read_scores(path, ["b"])


def test_columns_with_a_few_values_are_groups_and_others_are_said(tmp_path: Path):
    rows = "".join(f"{k % 2},0.5,{'FM'[k % 2]},{k},{20 + k},same\n" for k in range(30))
    table = read_scores(write(tmp_path, "y_true,y_score,sex,serial,age,site\n" + rows))
    groups, notes = select_groups(table, None)
    assert list(groups) == ["sex", "age"]
    (note,) = notes
    assert note.startswith("Column serial has 30 values and makes no subgroups; name it with --sub")
    assert list(select_groups(table, ["serial"])[0]) == ["serial"]
    with pytest.raises(ManifestError, match="no subgroup column 'view'; the columns that may be"):
        select_groups(table, ["view"])


def test_tables_of_other_rows_are_not_compared(tmp_path: Path):
    first = read_scores(write(tmp_path, "patient_id,y_true,y_score\nA,1,0.5\nB,,0.4\n"))
    check_same_rows(first, first)
    for text, message in (
        ("patient_id,y_true,y_score\nA,1,0.5\n", "1 scored rows, scores.csv has 2; give the other"),
        ("patient_id,y_true,y_score\nA,1,0.5\nC,,0.4\n", "scored row 2 is of another patient than"),
        ("patient_id,y_true,y_score\nA,0,0.5\nB,,0.4\n", "row 1 has another label of finding than"),
    ):
        with pytest.raises(ManifestError, match=message):
            check_same_rows(first, read_scores(write(tmp_path, text)))
