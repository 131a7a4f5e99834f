"""Names and captions that a terminal or a spreadsheet would obey."""

import os

import pytest

from pipelines.printing import csv_cell, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photo\n0 errors.jpg", "photo\\n0 errors.jpg"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("a\r\tb\x00\x7f\x9b", "a\\r\\tb\\x00\\x7f\\x9b"),
        ("gpj.\u202egpj.exe\u2066", "gpj.\\u202egpj.exe\\u2066"),
        ("one\u2028two\u2029\x85", "one\\u2028two\\u2029\\x85"),
        (os.fsdecode(b"caf\xe9.jpg"), "caf\\xe9.jpg"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_escapes_what_controls(text, expected):
    assert printable(text) == expected
    printable(text).encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C:\\new\\x",
        "Grüße, 東京 ไทย",
        "می‌خواهم",
        "👩\u200d🚒❤️",
        "שלום\u200f!",
    ],
)
def test_keeps_all_writing(text):
    assert printable(text) == text


@pytest.mark.parametrize("first", "=+-@\t\r")
def test_no_cell_is_a_formula(first):
    assert csv_cell(f"{first}1+1") == f"'{first}1+1"
    assert csv_cell(f"a{first}b") == f"a{first}b"
