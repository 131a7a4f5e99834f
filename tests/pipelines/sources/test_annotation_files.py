"""Readers of others' text name the file and the line that is wrong."""

import pytest

from pipelines import files
from pipelines.errors import UserError
from pipelines.sources.annotation_files import (
    read_annotations,
    read_lines,
    split_json_lines,
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


def test_lines_of_old_macs(write):
    assert list(read_lines(write(b"a\rb"))) == [(1, "a\r"), (2, "b")]
    assert list(read_lines(write(b"a\rb\n"))) == [(1, "a\rb\n")]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]
)
def test_unicode_of_every_kind(write, encoding):
    text = "file\tcaption\n1.jpg\tEin Hund läuft. 狗"
    assert read_annotations(write(text.encode(encoding))) == (text, "")


@pytest.mark.parametrize(
    "text",
    [
        "Ein Hund läuft über die Straße, „Grüße“ – Café",
        "Une crème brûlée, l’été où ça créée à Noël « œuf »",
        "¿Él corrió? ¡Ámbar! un niño",
        "Um cão não dá pão às crianças",
        "En hund løber på vejen",
        "It’s a dog’s “ball” – café",
    ],
)
def test_windows_1252_is_read_where_it_is_certain(write, text):
    read, note = read_annotations(write(text.encode("cp1252")))
    assert read == text
    assert note.startswith("read as Windows-1252")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Собака бежит по траве"),
        ("cp1250", "Pies biegnie przez łąkę"),
        ("cp1250", "Pes běží přes louku"),
        ("cp1254", "Köpek çimde koşuyor"),
        ("cp1253", "Ο σκύλος τρέχει"),
        ("gbk", "一只狗在草地上跑"),
        ("big5", "一隻狗在草地上跑"),
        ("shift-jis", "犬が走る"),
        ("euc-jp", "犬が走る"),
        ("euc-kr", "개가 달린다"),
        ("cp850", "Ein Hund läuft"),
        ("mac-roman", "Ein Hund läuft"),
        ("utf-16-le", "ein Hund"),
    ],
)
def test_other_encodings_name_file_and_line(write, encoding, text):
    path = write(b"a\n" + text.encode(encoding) + b"\xff")
    with pytest.raises(UserError, match=r"UTF-8 in .*list\.txt, line 2"):
        read_annotations(path)


def test_a_missing_or_huge_file_is_an_error(write, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--captions=FILE.*nowhere"):
        list(read_lines(str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="--captions=FILE"):
        list(read_lines(str(tmp_path)))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3)
    assert list(read_lines(write(b"abc"))) == [(1, "abc")]
    with pytest.raises(UserError, match="at most 3 bytes.*Received: 4 bytes"):
        list(read_lines(write(b"abcd")))


def test_json_lines():
    text = '{"a": 1}\n\n{"b": 2}'
    lines = list(split_json_lines(text, "list.txt"))
    assert lines == [(1, {"a": 1}), (3, {"b": 2})]


@pytest.mark.parametrize("bad", ['{"a"', "[1]", "null", '"a"'])
def test_bad_json_lines_name_file_and_line(bad):
    with pytest.raises(UserError, match=r"list\.txt, line 2"):
        list(split_json_lines(f'{{"a": 1}}\n{bad}\n', "list.txt"))


def test_a_workbook_is_named(write):
    with pytest.raises(
        UserError, match=r"list\.txt; save .* as CSV .*workbook"
    ):
        read_annotations(write(b"PK\x03\x04\x14\x00\x06\x00"))
