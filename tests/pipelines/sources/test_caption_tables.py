"""Tables of spreadsheets and of JSON: columns, separators, quotes, blanks."""

import pytest

from pipelines.errors import UserError
from pipelines.sources.caption_tables import Columns, csv_rows, record_rows


def rows_of(text):
    return [
        (row.where, row.name, list(row.captions), row.split, row.problem)
        for row in csv_rows(text, "mine.csv")
    ]


TWO = [
    ("mine.csv line 2", "a.jpg", ["A dog; it\truns, fast."], "train", None),
    ("mine.csv line 3", "b.jpg", ['A "cat"\nsleeps.'], "train", None),
]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_what_separates_columns_and_lines(separator, ending):
    lines = [
        separator.join(["File", "Caption", "Split"]),
        separator.join(["a.jpg", '"A dog; it\truns, fast."', "train"]),
        separator.join(["b.jpg", '"A ""cat""\nsleeps."', "train"]),
    ]
    assert rows_of(ending.join(lines)) == TWO


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;"])
def test_the_line_by_which_spreadsheets_name_the_separator(first):
    text = f"{first}\r\nfile;caption\r\na.jpg;x, y\r\n"
    assert rows_of(text) == [("mine.csv line 3", "a.jpg", ["x, y"], None, None)]


def test_what_a_spreadsheet_left_empty():
    text = ",,,\n\nfile,caption,,\na.jpg,x,,\n,,,\n  ,\n\nb.jpg,y,,,,\n,,,\n"
    assert [row[1:3] for row in rows_of(text)] == [
        ("a.jpg", ["x"]),
        ("b.jpg", ["y"]),
    ]
    assert rows_of("") == rows_of("\n,,\n") == []


def test_kaggles_flickr30k():
    text = (
        "image_name| comment_number| comment\n"
        '1.jpg| 0| "Two" dogs, one ball .\n'
        "1.jpg| 1   A dog .\n"
    )
    assert [row[1:3] for row in rows_of(text)] == [
        ("1.jpg", ['"Two" dogs, one ball .']),
        ("1.jpg", [""]),
    ]


def test_a_space_before_quotes():
    rows = rows_of('file, caption\na.jpg, "A dog, red"\n')
    assert [row[2] for row in rows] == [["A dog, red"]]


def test_several_captions_in_a_row():
    text = "image,caption_1,caption 2,Caption3\na.jpg,x,,z\nb.jpg,,,\n"
    assert [row[2] for row in rows_of(text)] == [["x", "z"], [""]]
    text = "image,caption,caption\na.jpg,x,y\n"
    assert [row[2] for row in rows_of(text)] == [["x", "y"]]


@pytest.mark.parametrize(
    ("header", "file", "captions"),
    [
        ("filepath,title", 0, (1,)),
        ("File Name;x,caption", None, (1,)),
        ("id,image_path,text", 1, (2,)),
        ("comment,caption1,caption2,image", 3, (1, 2)),
        ("filename,comment_number,comment", 0, (2,)),
        ("file,captioned_by", 0, ()),
    ],
)
def test_names_of_columns(header, file, captions):
    columns = Columns.of(header.split(","))
    assert (columns.file, columns.captions) == (file, captions)


def test_rows_that_cannot_be_used_say_why():
    text = "file;caption\na.jpg;x;y\n;x\na.jpg\n"
    assert [row[2:] for row in rows_of(text)] == [
        ([], None, "more fields than the header; quote what holds a semicolon"),
        ([], None, "no file name"),
        ([""], None, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,text\na.jpg,x\n", "header such as file,caption .*'name,text'"),
        ("a.jpg,A dog.\n", "column of file names .file, .*'a.jpg,A dog.'"),
        ('file,caption\na.jpg,"never closed\nb.jpg,x\n', "csv, line 3, in the"),
        (
            'file,caption\na.jpg,"closed" early\nb.jpg,"x, y"\n',
            "csv, line 2, in the row that begins in line 2",
        ),
        ("file,caption\na.jpg," + "x" * 200_000, "line 2.*field limit"),
    ],
)
def test_what_is_no_table_names_file_and_line(text, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        rows_of(text)


def test_records():
    rows = record_rows(
        [
            ("1", {"file_name": " ./a\\b.jpg", "text": "x", "split": "dev"}),
            ("2", {"image": "c.jpg", "captions": ["x", None, "y"]}),
            ("3", {"image": "c.jpg", "caption1": "x", "caption2": None}),
            ("4", {"image": 3, "caption": "x"}),
            ("5", {"image": "c.jpg"}),
            ("6", "text"),
        ]
    )
    assert [(r.name, list(r.captions), r.split, r.problem) for r in rows] == [
        ("a/b.jpg", ["x"], "validation", None),
        ("c.jpg", ["x", None, "y"], None, None),
        ("c.jpg", ["x"], None, None),
        ("", [], None, "no file name"),
        ("", [], None, "no caption"),
        ("", [], None, "not an object"),
    ]


@pytest.mark.parametrize("separator", ["\t", ";", ","])
def test_quotes_that_do_not_match_are_text(separator):
    lines = ["file,caption", 'a.jpg,"A" dog', 'b.jpg,"A cat', "", 'c.jpg,A "c']
    rows = rows_of("\n".join(lines).replace(",", separator))
    assert [row[1:3] for row in rows] == [
        ("a.jpg", ['"A" dog']),
        ("b.jpg", ['"A cat']),
        ("c.jpg", ['A "c']),
    ]
