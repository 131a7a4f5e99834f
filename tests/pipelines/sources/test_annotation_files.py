"""Readers of others' text name the file and the line that is wrong."""

import pytest

from pipelines import files
from pipelines.errors import UserError
from pipelines.sources.annotation_files import (
    read_csv,
    read_json_lines,
    read_lines,
)


@pytest.fixture
def write(tmp_path):
    def write(content: bytes) -> str:
        path = tmp_path / "list.txt"
        path.write_bytes(content)
        return str(path)

    return write


def test_lines_with_and_without_byte_order_mark(write):
    expected = [(1, "café\n"), (2, "b")]
    assert list(read_lines(write("café\nb".encode()))) == expected
    assert list(read_lines(write("\ufeffcafé\nb".encode()))) == expected


def test_wrong_encoding_names_file_and_line(write):
    path = write("a\ncafé\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"UTF-8 in .*list\.txt, line 2"):
        list(read_lines(path))


def test_a_missing_or_huge_file_is_an_error(write, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--captions=FILE.*nowhere"):
        list(read_lines(str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="--captions=FILE"):
        list(read_lines(str(tmp_path)))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3)
    assert list(read_lines(write(b"abc"))) == [(1, "abc")]
    with pytest.raises(UserError, match="at most 3 bytes.*Received: 4 bytes"):
        list(read_lines(write(b"abcd")))


def test_json_lines(write):
    path = write(b'{"a": 1}\n\n{"b": 2}')
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (3, {"b": 2})]


@pytest.mark.parametrize("bad", [b'{"a"', b"[1]", b"null", b'"a"'])
def test_bad_json_lines_name_file_and_line(write, bad):
    path = write(b'{"a": 1}\n' + bad + b"\n")
    with pytest.raises(UserError, match=r"list\.txt, line 2"):
        list(read_json_lines(path))


def test_csv(write):
    path = write(
        "\ufeffFile, Caption\r\na.jpg,plain\r\n"
        'b.jpg,"a ""big"", red\nball"\r\nc.jpg\r\nd.jpg,x,y\r\n'.encode()
    )
    assert list(read_csv(path)) == [
        (2, {"file": "a.jpg", "caption": "plain"}),
        (4, {"file": "b.jpg", "caption": 'a "big", red\nball'}),
        (5, {"file": "c.jpg", "caption": None}),
        (6, {"file": "d.jpg", "caption": "x", None: ["y"]}),
    ]
    assert list(read_csv(write(b""))) == []


@pytest.mark.parametrize(
    "content, line",
    [
        (b'file,caption\na.jpg,"never closed\nb.jpg,x\n', 3),
        (b'file,caption\na.jpg,"closed" early\n', 2),
        (b"file,caption\na.jpg," + b"x" * 200_000, 2),
    ],
)
def test_badly_quoted_csv_names_file_and_line(write, content, line):
    with pytest.raises(UserError, match=rf"list\.txt, line {line}"):
        list(read_csv(write(content)))
