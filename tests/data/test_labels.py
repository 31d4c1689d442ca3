"""Label columns: their kinds, and that nothing about them is guessed."""

import math
from pathlib import Path

import pytest

from medres.data.labels import (
    LabelSchema,
    fit_schema,
    infer_schema,
    parse_labels,
    parse_uncertain,
)
from medres.data.table import Table
from medres.errors import ManifestError

NAN = math.nan


def table(**columns):
    names = tuple(columns)
    rows = tuple(
        dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)
    )
    return Table(Path("t.csv"), names, rows)


def infer(columns, **options):
    made = table(image=[str(i) for i in range(len(next(iter(columns.values()))))], **columns)
    schema = infer_schema(made, ["image"], **options)
    return schema, [parse_labels(made, schema, index) for index in range(len(made.rows))]


def same(left, right):
    return all(
        a == b or (math.isnan(a) and math.isnan(b))
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_zeros_and_ones_are_binary_however_they_are_written():
    schema, labels = infer({"label": ["0", "1", "0.0", "1.0", ""]})
    assert schema == LabelSchema("binary", ("label",), ("label",))
    assert same(labels, [(0,), (1,), (0,), (1,), (NAN,)])


def test_one_prefixed_column_is_binary_and_gives_its_name():
    schema, _ = infer({"label_opacity": ["0", "1"], "age": ["3", "4"]})
    assert (schema.kind, schema.findings, schema.columns) == (
        "binary",
        ("opacity",),
        ("label_opacity",),
    )


def test_several_prefixed_columns_are_multilabel_with_missing_cells():
    schema, labels = infer({"label_a": ["0", "1", ""], "label_b": ["1", "", "0"]})
    assert schema == LabelSchema("multilabel", ("a", "b"), ("label_a", "label_b"))
    assert same(labels, [(0, 1), (1, NAN), (NAN, 0)])


def test_the_column_label_wins_over_prefixed_ones_and_named_ones_over_both():
    columns = {"label": ["0", "1"], "label_b": ["0", "1"], "c": ["0", "1"]}
    assert infer(columns)[0].columns == ("label",)
    assert infer(columns, findings=["c", "label_b"])[0].findings == ("c", "b")


def test_two_words_are_binary_once_the_positive_is_said():
    schema, labels = infer({"label": ["PNEUMONIA", "NORMAL", ""]}, positive="PNEUMONIA")
    assert schema == LabelSchema("binary", ("PNEUMONIA",), ("label",), ("NORMAL", "PNEUMONIA"))
    assert same(labels, [(1,), (0,), (NAN,)])


def test_a_prefixed_column_of_words_names_the_finding():
    schema, _ = infer({"label_opacity": ["yes", "no"]}, positive="yes")
    assert schema.findings == ("opacity",)


def test_breast_mnist_where_zero_is_malignant_can_be_said():
    schema, labels = infer({"label": ["0", "1", "1"]}, positive="0")
    assert schema == LabelSchema("binary", ("label=0",), ("label",), ("1", "0"))
    assert labels == [(1,), (0,), (0,)]


def test_three_words_are_classes_in_order():
    schema, labels = infer({"label": ["c", "a", "b", ""]})
    assert schema == LabelSchema("multiclass", ("a", "b", "c"), ("label",))
    assert same(labels, [(0, 0, 1), (1, 0, 0), (0, 1, 0), (NAN, NAN, NAN)])


def test_numbered_classes_are_ordered_as_numbers():
    schema, labels = infer({"label": ["10", "2", "0"]})
    assert schema.findings == ("0", "2", "10")
    assert labels[0] == (0, 0, 1)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"label": ["yes", "no"]}, {}, "has the values 'no' and 'yes'; say which one is the fin"),
        ({"label": ["yes", "no"]}, {"positive": "Y"}, "no value 'Y'; give positive as one of 'no'"),
        ({"label": ["0", "1"]}, {"positive": "2"}, "no value '2'; give positive as one of '0'"),
        ({"label": ["a", "a"]}, {}, "holds one class only, 'a'; a classifier needs two"),
        ({"label": ["", ""]}, {}, "column 'label' holds no label at all"),
        ({"label": ["a", "b", "c"]}, {"positive": "a"}, r"has 3 values, first seen 'a' \(row 2\)"),
        ({"label": ["0", "1", "x"]}, {}, r"row 4: 'x' stands among numbers; accepted are 0, 1"),
        ({"label": ["0", "1", "-1"]}, {}, r"row 4: '-1' is no label; accepted are 0, 1 and the"),
        ({"label": ["0", "1", "0.5"]}, {}, r"row 4: '0.5' is no label"),
        ({"label": ["a", "b", "NaN"]}, {}, r"row 4: 'NaN' is no label; leave the cell empty"),
        ({"label": ["Normal", "normal"]}, {}, r"'Normal' \(row 2\) and 'normal' \(row 3\) differ"),
        ({"label": [f"p{i}" for i in range(101)]}, {}, "101 different values: identifiers or"),
        (
            {"label_a": ["0", "1"], "label_b": ["0", "maybe"]},
            {},
            "row 3, column 'label_b': 'maybe'",
        ),
        ({"label_a": ["0", "1"], "label_b": ["", ""]}, {}, "column 'label_b' holds no label at"),
        ({"label_a": ["0"], "label_b": ["1"]}, {"positive": "1"}, "is for one label column with"),
        ({"label_a": ["0"], "a": ["1"]}, {"findings": ["label_a", "a"]}, "name the same finding"),
        ({"dx": ["0", "1"]}, {}, "no label column; name yours with `findings`, or call it 'label'"),
        (
            {"opacity": ["0"]},
            {"findings": ["opacty"]},
            "'opacty' does not exist; did you mean 'opac",
        ),
        ({"a": ["0"]}, {"findings": ["zzz"]}, "'zzz' does not exist; The columns are a$"),
        ({"a": ["0"]}, {"findings": ["image"]}, "label column 'image' cannot be a finding"),
    ],
)
def test_what_is_no_label_is_refused(columns, options, message):
    with pytest.raises(ManifestError, match=message):
        infer(columns, **options)


def test_rows_that_do_not_count_are_passed_by_and_keep_their_numbers():
    made = table(label=["a", "b", "c"])
    schema = infer_schema(made, [], positive="b", rows=[0, 1])
    assert schema.values == ("a", "b")
    with pytest.raises(ManifestError, match="row 4, column 'label': 'c' is no label; accepted"):
        parse_labels(made, schema, 2)


def test_a_schema_survives_json():
    schema = LabelSchema("binary", ("x",), ("label",), ("no", "x"))
    assert LabelSchema.from_json(schema.as_json()) == schema


@pytest.mark.parametrize("column", ["dx", "label_sick", "sick"])
def test_a_schema_finds_its_finding_in_another_table(column):
    schema = LabelSchema("binary", ("sick",), ("dx",), ("well", "sick"))
    other = table(**{column: ["well", "sick", "1", "0", ""]})
    fitted = fit_schema(other, schema)
    labels = [parse_labels(other, fitted, index) for index in range(5)]
    assert same(labels, [(0,), (1,), (1,), (0,), (NAN,)])


def test_a_schema_keeps_classes_that_another_table_lacks():
    schema = LabelSchema("multiclass", ("a", "b", "c"), ("dx",))
    other = table(label=["c", "a"])
    fitted = fit_schema(other, schema)
    assert [parse_labels(other, fitted, i) for i in range(2)] == [(0, 0, 1), (1, 0, 0)]


def test_a_schema_refuses_another_tables_words_and_columns():
    schema = LabelSchema("binary", ("sick",), ("dx",), ("well", "sick"))
    other = table(dx=["ill"])
    with pytest.raises(ManifestError, match="'ill' is no label; accepted are well, sick and the"):
        parse_labels(other, fit_schema(other, schema), 0)
    with pytest.raises(ManifestError, match="no label column for 'sick'; accepted are dx, label_s"):
        fit_schema(table(other=["1"]), schema)


def test_an_unknown_class_is_refused():
    schema = LabelSchema("multiclass", ("a", "b", "c"), ("label",))
    with pytest.raises(ManifestError, match="row 2, column 'label': 'd' is no label; accepted are"):
        parse_labels(table(label=["d"]), schema, 0)


@pytest.mark.parametrize("cell", ["-1", "-1.0", "-01"])
def test_an_uncertain_label_is_missing_and_remembered(cell):
    columns = {"label_a": ["0", cell, ""], "label_b": [cell, "1", "0"]}
    schema, labels = infer(columns, uncertain="-1")
    assert schema == LabelSchema("multilabel", ("a", "b"), ("label_a", "label_b"), (), "-1")
    assert same(labels, [(0, NAN), (NAN, 1), (NAN, 0)])
    made = table(**columns)
    assert [parse_uncertain(made, schema, index) for index in range(3)] == [(1,), (0,), ()]


def test_uncertain_is_neither_a_class_nor_a_third_value():
    schema, labels = infer({"label": ["0", "-1", "1"]}, uncertain="-1")
    assert (schema.kind, schema.uncertain) == ("binary", "-1")
    assert same(labels, [(0,), (NAN,), (1,)])
    schema, _ = infer(
        {"dx": ["no", "maybe", "yes"]}, positive="yes", findings=["dx"], uncertain="maybe"
    )
    assert schema == LabelSchema("binary", ("yes",), ("dx",), ("no", "yes"), "maybe")


def test_uncertain_between_several_classes_is_missing():
    schema, labels = infer({"label": ["a", "b", "c", "?"]}, uncertain="?")
    assert schema.findings == ("a", "b", "c")
    assert same(labels[3:], [(NAN, NAN, NAN)])
    assert parse_uncertain(table(label=["?"]), schema, 0) == ()


def test_a_model_taught_with_a_word_for_uncertain_reads_written_manifests_too():
    schema = LabelSchema("binary", ("x",), ("label",), ("no", "x"), "maybe")
    other = table(label=["maybe", "-1", "1"])
    assert [parse_uncertain(other, schema, index) for index in range(3)] == [(0,), (0,), ()]
    assert LabelSchema.from_json(schema.as_json()) == schema


def test_schema_of_a_model_from_before_uncertain_labels_accepts_none():
    values = {"kind": "binary", "findings": ["x"], "columns": ["label"], "values": []}
    assert LabelSchema.from_json(values).uncertain == ""


def test_uncertain_labels_without_a_policy_are_refused_with_what_to_do():
    hint = "Where -1 stands for uncertain, say so: `--uncertain -1` when preparing, and a policy"
    with pytest.raises(ManifestError, match=f"row 2: '-1' is no label; .*{hint}"):
        infer({"label": ["-1", "0", "1"]})
    with pytest.raises(ManifestError, match=f"row 3, column 'label_b': '-1.0' is no.*{hint}"):
        infer({"label_a": ["0", "1"], "label_b": ["0", "-1.0"]})
