"""What lies behind a model is believed only as far as it fits."""

import dataclasses
import json
import zipfile

import pytest

from pipelines.errors import UserError
from pipelines.vocabulary import Vocabulary
from show_attend_tell.inference.tflite_file import (
    TFLiteSettings,
    append_tail,
    read_tail,
)

VOCABULARY = Vocabulary(["a", "café", "犬"])
SETTINGS = TFLiteSettings(
    name="any", precision="float16", image_size=224, resize_mode="crop",
    rows=14, columns=14, max_words=30, method="beam", beam_width=3,
    length_penalty=0.7, min_words=1, no_repeat_ngram_size=0,
    allow_unknown=False, context_mode="expected", encoder="vgg16",
    encoder_layer="block5_conv3", encoder_digest="0" * 64,
    vocabulary_digest=VOCABULARY.digest, versions={},
)  # fmt: skip
MODEL = b"\x1c\0\0\0TFL3 and so on"


def described(**changes):
    return json.dumps({**dataclasses.asdict(SETTINGS), **changes})


def written(
    path,
    described,
    words=VOCABULARY.text,
    model=MODEL,
    packing=zipfile.ZIP_STORED,
):
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a", packing) as tail:
        tail.writestr("captioner.json", described)
        tail.writestr("vocabulary.txt", words)
    return path


def test_what_is_written_is_read_and_the_model_stays_in_front(tmp_path):
    files = [tmp_path / "one.tflite", tmp_path / "other.tflite"]
    for path in files:
        path.write_bytes(MODEL)
        append_tail(path, SETTINGS, VOCABULARY)
    settings, vocabulary = read_tail(files[0])
    assert settings == SETTINGS
    assert vocabulary.words == VOCABULARY.words
    assert files[0].read_bytes().startswith(MODEL)
    assert files[0].read_bytes() == files[1].read_bytes()
    # A host that knows nothing of us.
    with zipfile.ZipFile(files[0]) as tail:
        assert json.loads(tail.read("captioner.json"))["rows"] == 14
        assert tail.read("vocabulary.txt").decode().split("\n")[5] == "café"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 2}, "format 1"),
        ({"image_size": "224"}, "image_size='224'"),
        ({"image_size": True}, "image_size=True"),
        ({"image_size": 10**9}, "out of range"),
        ({"rows": 0}, "out of range"),
        ({"resize_mode": "round"}, "out of range"),
        ({"precision": "int3"}, "out of range"),
        ({"method": "sample"}, "out of range"),
        ({"context_mode": "sampled"}, "out of range"),
        ({"max_words": 10**6}, "max_words"),
        ({"beam_width": 0}, "beam_width"),
        ({"length_penalty": float("nan")}, "length_penalty"),
        ({"versions": None}, "versions=None"),
        ({"name": None}, "name=None"),
        ({"start": 2}, "other numbers"),
        ({"vocabulary_digest": "1" * 64}, "other words"),
    ],
    ids=str,
)
def test_descriptions_that_do_not_fit_are_refused(changes, message, tmp_path):
    path = written(tmp_path / "any.tflite", described(**changes))
    with pytest.raises(UserError, match=message) as raised:
        read_tail(path)
    assert "export --format=tflite" in str(raised.value)


def test_tails_that_are_no_tails_are_refused(tmp_path):
    path = tmp_path / "any.tflite"
    for bad in ("[]", "no JSON", "[" * 50_000, '"' + "x" * 2**17 + '"'):
        with pytest.raises(UserError, match="Expected a captioner"):
            read_tail(written(path, bad))
    with pytest.raises(UserError, match="first lines must be"):
        read_tail(written(path, described(), "a\nb\n"))
    with pytest.raises(UserError, match="utf-8"):
        read_tail(written(path, described(), b"\xff\xfe"))
    with pytest.raises(UserError, match="compressed"):
        bomb = " " * 2**20
        read_tail(written(path, bomb, packing=zipfile.ZIP_DEFLATED))
    with pytest.raises(UserError, match="vocabulary.txt has 16777217 bytes"):
        read_tail(written(path, described(), "a" * (2**24 + 1)))


def test_files_that_are_none_of_ours_are_refused(tmp_path):
    path = tmp_path / "any.tflite"
    with pytest.raises(UserError, match="No such file"):
        read_tail(path)
    for content in (b"", b"\x1c\0\0\0TFL3", b"PK\x05\x06" + 18 * b"\0"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="Expected a captioner"):
            read_tail(path)
    complete = written(path, described()).read_bytes()
    for cut in (len(complete) // 2, len(complete) - 1):
        path.write_bytes(complete[:cut])
        with pytest.raises(UserError, match="Expected a captioner"):
            read_tail(path)
    with pytest.raises(UserError, match="Expected a captioner"):
        read_tail(written(path, described(), model=b"\x1c\0\0\0ELF1"))
    with pytest.raises(UserError, match="Expected a captioner"):
        read_tail(tmp_path)
