"""Tables of text: what is read, what is refused, and what is left on disk."""

import pyarrow
import pyarrow.parquet
import pytest

from medres.data.table import format_rows, read_table, row_number, write_table
from medres.errors import ManifestError


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_with_the_delimiter_of_its_header(tmp_path, delimiter):
    path = write(tmp_path, "image,label\na.png,1\n b.png , \n".replace(",", delimiter))
    table = read_table(path)
    assert table.columns == ("image", "label")
    assert table.rows == ({"image": "a.png", "label": "1"}, {"image": "b.png", "label": ""})


def test_csv_of_excel_with_byte_order_mark_and_trailing_blank_lines_is_read(tmp_path):
    table = read_table(write(tmp_path, b"\xef\xbb\xbfimage,label\r\na,1\r\n,\r\n\r\n"))
    assert table.columns == ("image", "label")
    assert len(table.rows) == 1


def test_quoted_cells_may_hold_the_delimiter_and_line_ends(tmp_path):
    table = read_table(write(tmp_path, 'image,note\n"a,b","two\nlines"\n'))
    assert table.rows[0] == {"image": "a,b", "note": "two\nlines"}


def test_parquet_numbers_become_text_as_a_person_writes_them(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {
        "i": [1, None],
        "f": [1.0, float("nan")],
        "g": [0.25, None],
        "b": [True, False],
        "s": [" a ", None],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    first, second = read_table(path).rows
    assert first == {"i": "1", "f": "1", "g": "0.25", "b": "1", "s": "a"}
    assert second == {"i": "", "f": "", "g": "", "b": "0", "s": ""}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_what_is_written_is_read_back(tmp_path, name):
    rows = [["a;b", 'say "x"'], ["ü", ""]]
    write_table(tmp_path / "new" / name, ["image", "note"], rows)
    table = read_table(tmp_path / "new" / name)
    assert table.columns == ("image", "note")
    assert [list(row.values()) for row in table.rows] == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_failing_write_leaves_the_old_table(tmp_path, name):
    path = tmp_path / name
    write_table(path, ["image"], [["old"]])

    def rows():
        yield ["new"]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_table(path, ["image"], rows())
    assert read_table(path).rows == ({"image": "old"},)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty table; give a header and one row an image"),
        ("image,label\n", "a header and no rows"),
        ("image,label\na,1\nb\n", "row 3 has 1 cells, the header 2; put cells that hold"),
        ("image,label\na,1,2\n", "row 2 has 3 cells, the header 2"),
        (",image\n0,a\n", r"column 1 has no name; name it or delete it \(from pandas"),
        ("image,image\na,b\n", "two columns are named 'image'; rename one"),
        (b"image\n\xff\xfe\n", "not UTF-8 text; save the table as 'CSV UTF-8'"),
        ('image\n"a', "not a CSV table"),
    ],
)
def test_damaged_csv_is_refused(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        read_table(write(tmp_path, text))


def test_missing_table_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.csv: no such table; give a CSV or Parquet"):
        read_table(tmp_path / "none.csv")


def test_file_that_is_only_named_parquet_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="not a Parquet file"):
        read_table(write(tmp_path, "image\na\n", "t.parquet"))


@pytest.mark.parametrize(
    "cells",
    [
        pyarrow.array([b"\xff\xfe"]).cast(pyarrow.string(), safe=False),
        pyarrow.array([2**62], pyarrow.timestamp("us")),
    ],
)
def test_a_parquet_cell_that_is_no_text_is_refused(tmp_path, cells):
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match="a cell is no text in UTF-8, or a date beyond the cal"):
        read_table(tmp_path / "t.parquet")


def test_rows_are_numbered_as_a_spreadsheet_does():
    assert row_number(0) == 2
    assert format_rows([0]) == "row 2"
    assert format_rows([7, 0, 1]) == "rows 2, 3, 9"
    assert format_rows(range(8), limit=3) == "rows 2, 3, 4 and 5 more"
