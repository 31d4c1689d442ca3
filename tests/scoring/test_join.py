"""Labels beside scores, on the results of the archive of `conftest` and on tables by hand."""

import sys
from pathlib import Path

import pytest

from medres.data.pseudonyms import Keys
from medres.data.score_table import read_scores
from medres.data.table import read_table, write_table
from medres.errors import ManifestError
from medres.files import write_json
from medres.scoring.join import join_scores
from pipelines.__main__ import main

KEYS = Keys(b"a secret of thirty-two bytes ....")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two patients: three studies, four images (one of two frames), one of them rejected."""
    out = tmp_path / "results"
    out.mkdir()
    write_json(out / "summary.json", {"findings": ["opacity"]})
    patient = [KEYS.of_patient(name) for name in ("ANNA", "BERT")]
    write_table(
        out / "keys.parquet",
        [
            *("image_key", "image", "study_key", "patient_key", "content_sha256"),
            *("study_instance_uid", "series_instance_uid", "sop_instance_uid"),
        ],
        [
            ["i1", "a/1.dcm", "s1", patient[0], "x", "1.1", "2.1", "3.1"],
            ["i2", "a/2.dcm", "s1", patient[0], "x", "1.1", "2.1", "3.2"],
            ["i3", "b/3.dcm", "s2", patient[0], "x", "1.2", "2.2", "3.3"],
            ["i4", "b/4.dcm", "s3", patient[1], "", "1.3", "2.3", "3.4"],
        ],
    )
    write_table(
        out / "images.csv",
        ["image_key", "study_key", "frame", "modality", "opacity", "guard_flag"],
        [
            ["i1", "s1", "0", "DX", "0.1", "0"],
            ["i2", "s1", "0", "DX", "0.2", "0"],
            ["i3", "s2", "0", "CR", "0.3", "1"],
            ["i3", "s2", "1", "CR", "0.4", "0"],
        ],
    )
    write_table(
        out / "studies.csv",
        ["study_key", "images", "modality", "opacity", "guard_flag"],
        [["s1", "2", "DX", "0.15", "0"], ["s2", "2", "CR", "", "1"]],
    )
    return out


def labels(folder: Path, columns: list[str], *rows: list[str]) -> Path:
    write_table(folder / "labels.csv", columns, rows)
    return folder / "labels.csv"


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("image", ["a/1.dcm", "b/4.dcm", "elsewhere.dcm"]),
        ("File", ["/archive/a/1.dcm", ".\\b\\4.dcm", "elsewhere.dcm"]),
        ("image_key", ["i1", "i4", "i9"]),
        ("SOPInstanceUID", ["3.1", "3.4", "3.9"]),
    ],
)
def test_images_are_joined_by_whatever_names_them(column, cells, results, tmp_path) -> None:
    rows = [[cell, label, "F"] for cell, label in zip(cells, "101", strict=True)]
    joined = join_scores(results, labels(tmp_path, [column, "label", "sex"], *rows))
    assert joined.columns == (
        *("image_key", "patient_id", "opacity", "opacity_score", "study_key"),
        *("modality", "guard_flag", "sex"),
    )
    anna, bert = (KEYS.of_patient(name) for name in ("ANNA", "BERT"))
    assert joined.rows == (
        ("i1", anna, "1", "0.1", "s1", "DX", "0", "F"),
        ("i4", bert, "0", "", "", "", "", "F"),  # rejected, and not dropped
    )
    assert (joined.unscored, joined.labels_without_input, joined.scores_without_label) == (
        1,
        (2,),
        3,
    )
    assert joined.lines(Path("labels.csv")) == [
        f"2 images joined by {column}",
        "1 of them have no score: rejected, not chosen or withheld",
        "labels.csv: row 4 name nothing in the results; left out",
        "3 scored images have no label; left out",
    ]


def test_a_member_is_found_by_its_address_whatever_its_name(results, tmp_path) -> None:
    """A zip may hold two of one last name, and a name that would be shortened as a path."""
    keys = read_table(results / "keys.parquet")
    names = ["x.zip::../../1.dcm", "x.zip::../1.dcm", "x.zip::a\\1.dcm", "x.zip::1.dcm"]
    rows = [{**row, "image": name} for row, name in zip(keys.rows, names, strict=True)]
    write_table(results / "keys.parquet", keys.columns, [list(row.values()) for row in rows])
    table = labels(tmp_path, ["image", "label"], *([name, "1"] for name in names))
    assert [row[0] for row in join_scores(results, table).rows] == ["i1", "i2", "i3", "i3", "i4"]


def test_a_column_that_may_name_somebody_goes_along_only_where_it_is_asked_for(
    results, tmp_path, capsys
) -> None:
    columns = ["image", "label", "PatientName", "PatientSex", "age", "comment", "split", "smoker"]
    table = labels(tmp_path, columns, ["a/1.dcm", "1", "DOE", "F", "70", "DOE, 70", "test", "no"])
    joined = join_scores(results, table)
    assert joined.columns[-2:] == ("PatientSex", "age")
    assert joined.rows[0][-2:] == ("F", "70")
    assert "DOE" not in str(joined)
    left_out = "labels.csv: columns left out: PatientName, comment, smoker; --subgroup takes one"
    assert joined.lines(table)[-1] == f"{left_out} along"
    out = tmp_path / "scores.csv"
    assert main(["join", str(results), str(table), "--out", str(out), "--subgroup", "smoker"]) == 0
    assert read_table(out).columns[-3:] == ("PatientSex", "age", "smoker")
    assert "DOE" not in out.read_text() + capsys.readouterr().out
    for name in ("PatientID", "image", "label", "modality"):
        with pytest.raises(ManifestError, match=f"no column '{name}' that may be a subgroup; acc"):
            join_scores(results, table, subgroups=[name])


def test_every_column_that_may_be_a_subgroup_goes_along(results, tmp_path) -> None:
    groups = ("modality", "manufacturer", "view_position", "laterality", "guard_flag")
    row = ["i1", "s1", "0", "0.5", "DX", "SIEMENS", "PA", "L", "1"]
    write_table(
        results / "images.csv", ["image_key", "study_key", "frame", "opacity", *groups], [row]
    )
    own = ["sex", "PatientSex", "age", "Patient Age", "scanner", "view", "site"]
    values = ["F", "F", "70", "070Y", "X1", "PA", "A"]
    table = labels(tmp_path, ["image_key", "label", *own], ["i1", "1", *values])
    joined = join_scores(results, table)
    assert joined.columns[5:] == (*groups, *own)
    assert joined.rows[0][5:] == ("DX", "SIEMENS", "PA", "L", "1", *values)
    assert joined.lines(table) == ["1 images joined by image_key"]  # nothing else to be said


def test_series_label_all_their_images_and_frames(results, tmp_path) -> None:
    table = labels(tmp_path, ["series_instance_uid", "opacity"], ["2.1", "1"], ["2.2", ""])
    joined = join_scores(results, table)
    assert [(row[0], row[2], row[3]) for row in joined.rows] == [
        ("i1", "1", "0.1"),
        ("i2", "1", "0.2"),
        ("i3", "", "0.3"),
        ("i3", "", "0.4"),
    ]


def test_frames_are_told_apart_where_the_labels_do(results, tmp_path) -> None:
    table = labels(tmp_path, ["image", "frame", "label"], ["b/3.dcm", "1", "1"])
    assert [row[3] for row in join_scores(results, table).rows] == ["0.4"]


def test_two_frames_of_an_image_may_be_labelled_apart(results, tmp_path) -> None:
    rows = [["b/3.dcm", "0", "1"], ["b/3.dcm", "1", "0"]]
    joined = join_scores(results, labels(tmp_path, ["image", "frame", "label"], *rows))
    assert [(row[2], row[3]) for row in joined.rows] == [("1", "0.3"), ("0", "0.4")]


@pytest.mark.parametrize("column", ["opacity", "label_opacity", "label", "y_true"])
def test_one_finding_has_its_label_under_any_of_these_names(column, results, tmp_path) -> None:
    joined = join_scores(results, labels(tmp_path, ["image", column], ["a/1.dcm", "1.0"]))
    assert joined.columns[2:4] == ("opacity", "opacity_score")
    assert joined.rows[0][2:4] == ("1", "0.1")


def change_keys(results: Path, column: str, *cells: str) -> None:
    """Other cells in the first rows of `keys.parquet`."""
    keys = read_table(results / "keys.parquet")
    rows = [dict(row) for row in keys.rows]
    for row, cell in zip(rows, cells, strict=False):
        row[column] = cell
    write_table(results / "keys.parquet", keys.columns, [[*row.values()] for row in rows])


@pytest.mark.parametrize("column", ["image", "sop_instance_uid", "study_instance_uid"])
def test_an_empty_cell_names_nothing(column, results, tmp_path) -> None:
    change_keys(results, column, "unreadable/" if column == "image" else "")
    other = {"image": "a/2.dcm", "sop_instance_uid": "3.2", "study_instance_uid": "1.2"}[column]
    joined = join_scores(results, labels(tmp_path, [column, "label"], ["", "1"], [other, "0"]))
    assert joined.labels_without_input == (0,)
    assert {row[2] for row in joined.rows} == {"0"}


def test_an_empty_patient_id_is_nobody(results, tmp_path) -> None:
    change_keys(results, "patient_key", KEYS.of_patient(""))
    table = labels(tmp_path, ["patient_id", "label"], ["", "1"], ["BERT", "0"])
    assert [row[0] for row in join_scores(results, table, KEYS).rows] == ["s3"]


def test_a_last_name_stands_for_a_file_only_where_no_other_has_it(results, tmp_path) -> None:
    change_keys(results, "image", "a/1.dcm", "b/1.dcm", "c/3.dcm", "1.dcm")
    rows = [["b\\x\\..\\1.dcm", "1"], ["z/1.dcm", "1"], ["z/3.dcm", "1"], ["./1.dcm", "0"]]
    joined = join_scores(results, labels(tmp_path, ["image", "label"], *rows))
    assert [row[0] for row in joined.rows] == ["i2", "i3", "i3", "i4"]
    assert joined.labels_without_input == (1,)


def test_an_input_without_a_study_takes_no_label_of_one(results, tmp_path) -> None:
    change_keys(results, "study_key", "s1", "")
    rows = [["1.1", "1"], ["1.2", "0"]]
    joined = join_scores(results, labels(tmp_path, ["study_instance_uid", "label"], *rows))
    assert [row[0] for row in joined.rows] == ["s1", "s2"]


def test_the_secret_is_asked_for_only_where_patients_alone_name_the_rows(results, tmp_path) -> None:
    table = labels(tmp_path, ["image", "patient_id", "label"], ["z.dcm", "ANNA", "1"])
    with pytest.raises(ManifestError, match=r"by image, patient_id; give labels of the images"):
        join_scores(results, table)


@pytest.mark.parametrize(("column", "cell"), [("study_instance_uid", "1.2"), ("study_key", "s2")])
def test_studies_have_the_studies_score_and_a_withheld_one_none(
    column, cell, results, tmp_path
) -> None:
    other = {"study_instance_uid": "1.1", "study_key": "s1"}[column]
    table = labels(tmp_path, [column, "label"], [cell, "1"], [other, "0"])
    joined = join_scores(results, table)
    assert joined.unit == "studies"
    assert joined.columns[:4] == ("study_key", "patient_id", "opacity", "opacity_score")
    assert joined.columns[4:] == ("modality", "guard_flag")
    assert [(row[0], row[2], row[3]) for row in joined.rows] == [
        ("s2", "1", ""),
        ("s1", "0", "0.15"),
    ]


def test_patients_are_found_by_their_stand_in_and_never_written(results, tmp_path) -> None:
    table = labels(tmp_path, ["patient_id", "label"], ["ANNA", "1"], ["BERT", "0"])
    joined = join_scores(results, table, KEYS)
    assert [(row[0], row[3]) for row in joined.rows] == [("s1", "0.15"), ("s2", ""), ("s3", "")]
    assert "ANNA" not in str(joined.rows)
    with pytest.raises(ManifestError, match="by patient_id; patient ids need the site's secret"):
        join_scores(results, table)


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        (["image", "x"], [["a/1.dcm", "1"]], "no label of the finding 'opacity'; accepted columns"),
        (["image", "label"], [["a/1.dcm", "yes"]], r"row 2, column label: found 'yes'; a label is"),
        (["name", "label"], [["a/1.dcm", "1"]], "no column names what a row labels; accepted are"),
        (["image", "label"], [["z.dcm", "1"]], "none of its 1 rows names anything in the results"),
        (
            ["image", "label"],
            [["a/1.dcm", "1"], ["b/3.dcm", "0"], ["1.dcm", "1"]],
            "rows 2 and 4 label the same image; keep one",
        ),
        (
            ["image", "frame", "label"],
            [["b/3.dcm", "0", "1"], ["b/3.dcm", "", "0"]],
            "rows 2 and 3 label the same image",
        ),
        (["study_key", "label"], [["s1", "1"], ["s1", "1"]], "rows 2 and 3 label the same study"),
        (["image", "frame", "label"], [["b/3.dcm", "x", "1"]], "row 2, column 'frame': no number"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(columns, rows, message, results, tmp_path):
    with pytest.raises(ManifestError, match=message):
        join_scores(results, labels(tmp_path, columns, *rows))


def test_one_label_column_is_not_two_findings(results, tmp_path) -> None:
    write_json(results / "summary.json", {"findings": ["opacity", "effusion"]})
    table = labels(tmp_path, ["image", "label"], ["a/1.dcm", "1"])
    with pytest.raises(ManifestError, match="'opacity'; accepted columns are opacity, label_opac"):
        join_scores(results, table)


def test_folder_without_results_is_refused(tmp_path) -> None:
    with pytest.raises(
        ManifestError, match=f"^{tmp_path}: lacks summary.json; give a folder that `medres"
    ):
        join_scores(tmp_path, labels(tmp_path, ["image", "label"], ["a", "1"]))


def test_scored_archive_is_joined_and_reported(whole, tmp_path, capsys) -> None:
    """A real run's tables, through the commands, to a report."""
    index = read_table(whole / "keys.parquet").rows
    names = [row["image"] for row in index if row["sop_instance_uid"]]
    names = [name for name in names if "\n" not in name and name.isascii()]
    rows = [[name, str(k % 2)] for k, name in enumerate(names)]
    table = labels(tmp_path, ["image", "label"], *rows, ["nowhere.dcm", "1"])
    out = tmp_path / "scores.csv"
    assert main(["join", str(whole), str(table), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{len(names)} images joined by image" in said
    assert "labels.csv: row " in said
    scores = read_scores(out)
    assert scores.findings == ("opacity",)
    assert len(scores.y_true) + len(scores.notes) >= 10
    report = ["report", str(out), "--out", str(tmp_path / "report"), "--threshold", "0.5"]
    assert main([*report, "--resamples", "50"]) == 0


def test_frames_without_a_label_are_counted(results, tmp_path) -> None:
    joined = join_scores(
        results, labels(tmp_path, ["image", "frame", "label"], ["3.dcm", "1", "1"])
    )
    assert [row[3] for row in joined.rows] == ["0.4"]
    assert joined.scores_without_label == 3


def array_of(count: int, folder: Path) -> Path:
    """Results of an array, each of whose images is a study, and their labels."""
    folder.mkdir()
    write_json(folder / "summary.json", {"findings": ["opacity"]})
    columns = ["image_key", "image", "study_key", "patient_key", "content_sha256"]
    uids = ["study_instance_uid", "series_instance_uid", "sop_instance_uid"]
    rows = [["i", "a/x.npz::y", f"s{k}", "", "x", "", "", ""] for k in range(count)]
    write_table(folder / "keys.parquet", [*columns, *uids], rows)
    write_table(
        folder / "images.csv",
        ["image_key", "study_key", "frame", "opacity"],
        [["i", f"s{k}", str(k), "0.5"] for k in range(count)],
    )
    rows = [["x.npz::y", str(k), "1"] for k in range(count)]
    write_table(folder / "labels.csv", ["image", "frame", "label"], rows)
    return folder


def test_an_array_of_many_images_is_joined_in_as_many_steps(tmp_path: Path) -> None:
    def steps(count: int) -> int:
        folder, calls = array_of(count, tmp_path / str(count)), 0

        def tick(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(tick)
        try:
            joined = join_scores(folder, folder / "labels.csv")
        finally:
            sys.setprofile(None)
        assert (len(joined.rows), joined.scores_without_label) == (count, 0)
        return calls

    steps(1)  # what is imported once
    assert steps(400) < 3 * steps(200)
