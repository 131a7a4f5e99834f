"""Files of predictions, and every way in which they can be wrong."""

import json

import pytest

from pipelines import files
from pipelines.errors import UserError
from show_attend_tell.metrics.prediction_files import (
    read_predictions,
    write_predictions,
)


@pytest.fixture
def write(tmp_path):
    def write(content) -> str:
        path = tmp_path / "predictions.json"
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        path.write_bytes(content)
        return str(path)

    return write


def entry(id="a", caption="a dog"):
    return {"image_id": id, "caption": caption}


def test_an_object_with_an_image_twice_is_refused(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text('{"0": "a dog", "0": "a cat"}')
    with pytest.raises(UserError, match="'0', 2 times in one object"):
        read_predictions(str(path))


def test_written_and_read_again(tmp_path):
    path = str(tmp_path / "predictions.json")
    odd = "caf\u00e9 \U0001f600\nכלב \u202e\x00\u2028end"
    write_predictions(path, [42, "b.jpg"], ["a dog", odd])
    assert read_predictions(path) == {42: "a dog", "b.jpg": odd}
    with open(path, encoding="utf-8") as file:
        assert json.load(file)[0] == {"image_id": 42, "caption": "a dog"}


def test_byte_order_mark_and_more_keys(write):
    text = json.dumps([{**entry(), "score": float("nan")}])
    assert read_predictions(write(b"\xef\xbb\xbf" + text.encode())) == {
        "a": "a dog"
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (json.dumps([entry()]).encode("utf-16"), {"a": "a dog"}),
        (json.dumps([entry()]).encode("utf-32-le"), {"a": "a dog"}),
        ([entry(7.0)], {7: "a dog"}),
        ([entry("a", ""), entry("b", "...")], {"a": "", "b": "..."}),
        ({"7": "a dog", "b.jpg": "a cat"}, {"7": "a dog", "b.jpg": "a cat"}),
    ],
)
def test_forms_that_are_clear(write, content, expected):
    assert read_predictions(write(content)) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"list .* in .*predictions\.json. Received: \[\]"),
        ({"images": []}, "Received: an object with the keys 'images'"),
        ("text", "Received: 'text'"),
        ([entry(), None], r"predictions\.json\[1\]. Received: None"),
        ([entry(), {"caption": "x"}], r"\[1\]. Received: no image_id"),
        (
            [{"image_id": "a"}],
            r"\[0\] \(image_id 'a'\).*an object .*'image_id'",
        ),
        (
            [{"image_id": "a", "text": "a dog"}],
            r"\"caption\": .* at .*\[0\].*the keys 'image_id', 'text'",
        ),
        ([entry("a", None)], r"\[0\] \(image_id 'a'\).*caption=None"),
        ([entry(None)], r"\[0\]. Received: image_id=None"),
        ([entry("")], "image_id=''"),
        ([entry(1.5)], "image_id=1.5"),
        ([entry(True)], "image_id=True"),
        ([entry(float("nan"))], "image_id=nan"),
        ([entry([1])], "image_id=a list of 1, the first 1"),
        ([entry("\ud83d")], r"image_id='\\ud83d'"),
        ([entry("a" * 2000)], "image_id='aaa"),
        ([entry(1), entry(2), entry(1)], r"\[2\] \(image_id 1\) again.*\[0\]"),
        ([entry(1), entry("1")], r"\[1\] \(image_id '1'\) again after \[0\]"),
        ([entry(), entry(7, 5)], r"\[1\] \(image_id 7\).*caption=5"),
        ([entry(7, float("nan"))], r"\(image_id 7\).*caption=nan"),
        ([entry(7, ["a dog"])], r"\(image_id 7\).*caption=a list of 1"),
        ([entry(7, "x" * 20_000)], r"\(image_id 7\).*20000 characters"),
        ([entry(7, "a \ud83d dog")], r"\(image_id 7\).*half a surrogate"),
        (b"", "line 1, column 1"),
        (b'[{"image_id": 1,\n "caption": "x",}]', "line 2, column 1[67]"),
        (
            b'{"image_id": 1}\n{"image_id": 2}',
            "line 2, column 1. Received: Extra data.* as in JSON Lines",
        ),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "Expected JSON in .*limit"),
        (
            '[\n{"image_id": 1, "caption": "caf\u00e9"}]'.encode("latin-1"),
            r"UTF-8 in .*predictions\.json.*line 2.*byte 0xe9",
        ),
        (json.dumps([entry()]).encode("utf-16")[:-1], "UTF-16"),
    ],
)
def test_bad_predictions_name_the_entry(write, content, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        read_predictions(write(content))


def test_missing_and_huge_files(write, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="Received: '.*nowhere'"):
        read_predictions(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="Expected a file"):
        read_predictions(str(tmp_path))
    with pytest.raises(UserError, match="Expected a file"):
        read_predictions("/dev/zero")
    path = write([entry()])
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 5)
    with pytest.raises(UserError, match="at most 5 bytes .* Received: 39"):
        read_predictions(path)


def test_messages_are_short(write):
    with pytest.raises(UserError) as caught:
        read_predictions(write([{"x" * 9999: 1}, 2] * 99))
    assert len(str(caught.value)) < 500
