"""Records of a JSON file, however the text is cut into pieces."""

import json

import pytest

from pipelines.boxes import json_records
from pipelines.boxes.json_records import read_records
from pipelines.errors import UserError

CONTENT = {
    "info": {"a": [1, {"b": "]}"}], "year": 2014},
    "number": 123456,
    "images": [{"id": 1, "name": 'a"b\\ ] } é \u2028'}, {"id": 2}],
    "empty": [],
    "numbers": [1, 23, -4.5e6, None, True, "x", [1, [2]]],
    "last": 7,
}


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 2**20])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_records_in_order(tmp_path, monkeypatch, chunk, indent, mark):
    monkeypatch.setattr(json_records, "_CHUNK", chunk)
    text = mark + json.dumps(CONTENT, indent=indent, ensure_ascii=False)
    path = write(tmp_path / "x.json", text)
    assert list(read_records(path, {"images", "numbers", "empty"})) == [
        (name, number, record)
        for name in ("images", "numbers")
        for number, record in enumerate(CONTENT[name])
    ]


def test_an_empty_object(tmp_path):
    path = write(tmp_path / "x.json", " {} \n")
    assert list(read_records(path, {"images"})) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the beginning: '' in place of '{'"),
        ("[1]", r"the beginning: '\[' in place of '{'"),
        ('{"images": [{"id": 1}', r"images\[0\]: '' in place of '\]'"),
        ('{"images": [{"id": 1},', r"at images\[1\]"),
        ('{"images": [{"id": 1} {"id": 2}]}', r"images\[0\]: '{' in place"),
        ('{"images": [{"id": 1}, {"id" 2}]}', r"at images\[1\]: Expecting"),
        ('{"images": []', "the end: '' in place of '}'"),
        ('{"images": []} x', "the end: more text"),
        ('{"images": [' + "[" * 100_000, r"at images\[0\]"),
        ('{"info": ' + '{"a":' * 100_000, "at 'info'"),
        ('{"images": [' + "9" * 5000 + "]}", r"at images\[0\]: .*4300"),
        ('{"images": ["' + "x" * (2**22 + 9), r"at images\[0\]"),
        (b'{"images": [{"id": "\xff"}]}', "cannot read"),
        ('{"images": []}'.encode("utf-16"), "cannot read"),
    ],
)
def test_hostile_files(tmp_path, text, message):
    path = write(tmp_path / "x.json", text)
    with pytest.raises(UserError, match=message) as caught:
        list(read_records(path, {"images"}))
    assert "x.json" in str(caught.value)


def test_a_file_too_large(tmp_path):
    path = tmp_path / "x.json"
    with open(path, "wb") as file:
        file.truncate(2**31 + 1)  # Takes no space on the disk.
    with pytest.raises(UserError, match="at most 2147483648 bytes"):
        list(read_records(str(path), {"images"}))


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        list(read_records(str(tmp_path / "none.json"), {"images"}))
    with pytest.raises(UserError, match="cannot read"):
        list(read_records(str(tmp_path), {"images"}))
