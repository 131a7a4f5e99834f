"""Records of large JSON files, and of damaged and malicious ones."""

import json

import pytest

from pipelines.errors import UserError
from pipelines.sources import annotation_files
from pipelines.sources.annotation_files import read_json_records

CONTENT = {
    "info": {"a": [1, {"b": "]}"}], "year": 2014},
    "number": 123456,
    "images": [
        {"id": 1, "name": 'a"b\\ ] } é \u2028', "other": [{"id": [7]}]},
        {"id": 2},
    ],
    "empty": [],
    "numbers": [1, 23, -4.5e6, None, True, "x", [1, [2, {"a": 3}]]],
    "last": 7,
}
FIELDS = {"images": ("id", "name"), "numbers": (), "empty": ()}


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_records_in_order(tmp_path, indent, mark):
    text = mark + json.dumps(CONTENT, indent=indent, ensure_ascii=False)
    path = write(tmp_path / "x.json", text)
    (first, second) = CONTENT["images"]
    first = {"id": 1, "name": first["name"]}
    assert list(read_json_records(path, FIELDS)) == [
        ("images", 0, first),
        ("images", 1, second),
        *(("numbers", k, n) for k, n in enumerate(CONTENT["numbers"])),
    ]


def test_many_records_of_more_bytes_than_one_may_have(tmp_path):
    record = {"id": 5, "outline": [[0.5] * 999] * 9}
    path = write(tmp_path / "x.json", json.dumps({"images": [record] * 200}))
    records = list(read_json_records(path, FIELDS))
    assert records == [("images", k, {"id": 5}) for k in range(200)]


def test_an_empty_object(tmp_path):
    path = write(tmp_path / "x.json", " {} \n")
    assert list(read_json_records(path, FIELDS)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the beginning: parse error: premature EOF"),
        ("[1]", "the beginning: a value in place of an object"),
        ('{"images": [{"id": 1}', r"premature EOF"),
        ('{"images": [{"id": 1},', r"premature EOF"),
        ('{"images": [{"id": 1} {"id": 2}]}', r"after array element"),
        ('{"images": [{"id": 1}, {"id" 2}]}', r"object key and value"),
        ('{"images": []', "premature EOF"),
        ('{"images": []} x', "trailing garbage"),
        ('{"images": [' + "[" * 100_000, r"at images\[0\]: .* too deeply"),
        ('{"images": [{"x":' + "[" * 100_000, r"images\[0\]: .* too deeply"),
        ('{"info": ' + '{"a":' * 100_000, "at 'info': .* too deeply"),
        ('{"images": [' + "9" * 5000 + "]}", "integer overflow"),
        ('{"images": [1e999]}', "overflow"),
        ('{"images": ["' + "x" * (2**22 + 2**17), "more than 4194304 bytes"),
        ('{"images": [[' + "1," * 2**22, r"images\[0\]: more than 4194304"),
        ('{"x": {"y":[' + "1," * 2**22, "'x': more than 4194304 bytes"),
        (b'{"images": [{"id": "\xff"}]}', "invalid bytes in UTF8"),
        ('{"images": []}'.encode("utf-16"), "invalid char"),
    ],
)
def test_damaged_and_malicious_files(tmp_path, text, message):
    path = write(tmp_path / "x.json", text)
    with pytest.raises(UserError, match=message) as caught:
        list(read_json_records(path, FIELDS))
    assert "x.json" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_too_large(tmp_path):
    path = tmp_path / "x.json"
    with open(path, "wb") as file:
        file.truncate(annotation_files._MAX_RECORDS_BYTES + 1)  # Sparse.
    with pytest.raises(UserError, match="at most 2147483648 bytes"):
        list(read_json_records(str(path), FIELDS))


def test_no_file(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError, match="cannot read"):
            list(read_json_records(str(path), FIELDS))
