"""Files that are there whole or not at all."""

import json
import os
import pathlib

import pytest

from pipelines import files
from pipelines.errors import UserError
from pipelines.files import (
    read_json,
    remove_leftovers,
    replacing,
    write_atomically,
    write_json,
)


def test_writes_and_replaces(tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, b"first\x00\n")
    assert path.read_bytes() == b"first\x00\n"
    write_atomically(str(path), b"")
    assert path.read_bytes() == b""
    assert os.listdir(path.parent) == ["file"]
    # A bare name is written to the working folder.
    monkeypatch.chdir(tmp_path)
    write_atomically("file", b"here")
    assert (tmp_path / "file").read_bytes() == b"here"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def log_of_the_disk(monkeypatch):
    """Notes what is flushed and what is renamed, in order."""
    log, fsync = [], os.fsync

    def flushed(descriptor):
        log.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noted(name, function):
        def call(source, target):
            log.append((name, source))
            function(source, target)

        monkeypatch.setattr(os, name, call)

    monkeypatch.setattr(os, "fsync", flushed)
    for name in ("replace", "rename", "link"):
        noted(name, getattr(os, name))
    return log


def test_all_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """And the name is, before anything goes on."""
    log = log_of_the_disk(monkeypatch)
    write_atomically(tmp_path / "file", b"12345")
    temporary = str(tmp_path / f".tmp-{os.getpid()}-file")
    assert log == [
        ("fsync", temporary),
        ("replace", temporary),
        ("fsync", str(tmp_path)),
    ]
    log.clear()
    with replacing(tmp_path / "new", keep=True) as temporary:
        os.makedirs(os.path.join(temporary, "inner"))
        files = [f"{temporary}/{name}" for name in ("file", "inner/file")]
        for path in files:
            pathlib.Path(path).write_text(path)
    *flushed, renamed, last = log
    expected = {("fsync", path) for path in (*files, f"{temporary}/inner")}
    assert {*flushed} == {*expected, ("fsync", temporary)}
    assert (renamed, last) == (("rename", temporary), ("fsync", str(tmp_path)))
    assert (tmp_path / "new" / "inner" / "file").exists()


def test_what_is_there_by_then_stays(tmp_path):
    for name in ("file", "folder"):
        with pytest.raises(FileExistsError):
            with replacing(tmp_path / name, keep=True) as temporary:
                pathlib.Path(temporary).write_text("ours")
                (tmp_path / name).mkdir()
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_what_killed_processes_left_is_removed(tmp_path):
    """And nothing else: neither of living ones, nor the user's."""
    killed = 2**22 + 1  # No process has that number.
    names = [f".tmp-{killed}-file", f".tmp-{killed}-other", ".tmp-x-file"]
    names += [f".tmp-{os.getppid()}-file", f"file.tmp-{killed}"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / f".tmp-{killed}-folder" / "inner").mkdir(parents=True)
    write_atomically(tmp_path / "file", b"whole")
    left = {*names[1:], "file", f".tmp-{killed}-folder"}
    assert {*os.listdir(tmp_path)} == left
    remove_leftovers(tmp_path)
    assert {*os.listdir(tmp_path)} == {*names[2:], "file"}


def test_json_is_for_people(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"b": ["ü", 1.5, None], "a": True})
    assert path.read_bytes().decode() == (
        '{\n  "b": [\n    "ü",\n    1.5,\n    null\n  ],\n  "a": true\n}\n'
    )
    assert read_json(path) == {"b": ["ü", 1.5, None], "a": True}


def test_what_is_no_json_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "file.json", {"a": object()})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"{'a': 1}", b'{"a": 1} 2', b'"\xff"', b"\x00" * 100]
    + [b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000],
    ids=lambda data: repr(data[:9]),
)
def test_malformed_json(tmp_path, data):
    path = tmp_path / "file.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match="file.json"):
        read_json(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match="nothing.json"):
        read_json(tmp_path / "nothing.json")
    with pytest.raises(UserError, match=tmp_path.name):
        read_json(tmp_path)


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    path.write_text(json.dumps("x" * 100))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 101)
    with pytest.raises(
        UserError, match="at most 101 bytes.*Received: 102 bytes"
    ):
        read_json(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 102)
    assert read_json(path) == "x" * 100
