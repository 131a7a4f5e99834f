"""What lies behind a model is believed only as far as it fits."""

import dataclasses
import hashlib
import json
import time
import tracemalloc
import zipfile

import pytest

from pipelines.errors import UserError
from show_attend_tell.inference.tflite_file import append_tail, read_tflite
from tests.tflite_files import (
    MODEL,
    SETTINGS,
    VOCABULARY,
    malformed_files,
    written,
)


def described(**changes):
    return json.dumps({**dataclasses.asdict(SETTINGS), **changes})


def test_what_is_written_is_read_and_the_model_stays_in_front(tmp_path):
    files = [tmp_path / "one.tflite", tmp_path / "other.tflite"]
    for path in files:
        path.write_bytes(MODEL)
        append_tail(path, SETTINGS, VOCABULARY)
    settings, vocabulary, content = read_tflite(files[0])
    assert settings == SETTINGS
    assert vocabulary.words == VOCABULARY.words
    assert files[0].read_bytes().startswith(MODEL)
    assert content == files[0].read_bytes() == files[1].read_bytes()
    # A host that knows nothing of us.
    with zipfile.ZipFile(files[0]) as tail:
        assert json.loads(tail.read("captioner.json"))["rows"] == 14
        assert tail.read("vocabulary.txt").decode().split("\n")[5] == "café"
        before = content[: tail.getinfo("sha256.txt").header_offset]
        digest = hashlib.sha256(before).hexdigest()
        assert tail.read("sha256.txt").decode() == f"{digest}\n"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format": 3}, "format 2"),
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
        read_tflite(path)
    assert "export --format=tflite" in str(raised.value)


def test_a_missing_file_is_named_once(tmp_path):
    path = str(tmp_path / "none.tflite")
    with pytest.raises(UserError) as raised:
        read_tflite(path)
    assert f"{path!r}: No such file or directory. Get" in str(raised.value)


def test_tails_that_are_no_tails_are_refused(tmp_path):
    path = tmp_path / "any.tflite"
    for bad in ("[]", "no JSON", "[" * 50_000, '"' + "x" * 2**17 + '"'):
        with pytest.raises(UserError, match="Expected a captioner"):
            read_tflite(written(path, bad))
    with pytest.raises(UserError, match="first lines must be"):
        read_tflite(written(path, described(), "a\nb\n"))
    with pytest.raises(UserError, match="utf-8"):
        read_tflite(written(path, described(), b"\xff\xfe"))
    with pytest.raises(UserError, match="vocabulary.txt has 16777217 bytes"):
        read_tflite(written(path, described(), "a" * (2**24 + 1)))


def test_files_that_are_none_of_ours_are_refused(tmp_path):
    path = tmp_path / "any.tflite"
    with pytest.raises(UserError, match="No such file"):
        read_tflite(path)
    for content in (b"", b"\x1c\0\0\0TFL3", b"PK\x05\x06" + 18 * b"\0"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="Expected a captioner"):
            read_tflite(path)
    with pytest.raises(UserError, match="Expected a captioner"):
        read_tflite(written(path, described(), model=b"\x1c\0\0\0ELF1"))
    with pytest.raises(UserError, match="Expected a captioner"):
        read_tflite(tmp_path)
    with pytest.raises(UserError, match="Expected a captioner"):
        read_tflite("/dev/zero")


def test_malformed_files_are_refused_in_a_line_little_memory_and_time(tmp_path):
    path = tmp_path / "malformed.tflite"
    for name, content in malformed_files(tmp_path).items():
        path.write_bytes(content)
        started = time.perf_counter()
        tracemalloc.start()
        with pytest.raises(UserError, match="malformed.tflite") as raised:
            read_tflite(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert "\n" not in str(raised.value), name
        assert len(str(raised.value)) < 400, name
        assert peak < len(content) + 2**18, name
        assert time.perf_counter() - started < 1, name


def test_files_of_format_1_are_to_be_exported_again(tmp_path):
    path = tmp_path / "old.tflite"
    path.write_bytes(malformed_files(tmp_path)["format 1"])
    with pytest.raises(UserError, match="of format 1.* export it again"):
        read_tflite(path)


def test_no_changed_byte_is_taken(tmp_path):
    """Not read is what zip says of the digest itself and lists behind it."""
    right = written(tmp_path / "right.tflite", described()).read_bytes()
    expected = read_tflite(tmp_path / "right.tflite")[:2]
    path, unread = tmp_path / "changed.tflite", right.rindex(b"PK\3\4")
    for at in range(len(right)):
        for bit in (1, 128):
            content = bytearray(right)
            content[at] ^= bit
            path.write_bytes(content)
            try:
                settings, vocabulary, _ = read_tflite(path)
            except UserError:
                continue
            assert at >= unread
            assert settings == expected[0]
            assert vocabulary.words == expected[1].words
