"""The digests of a folder are those of its files, whenever it is looked at."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import pytest

from pipelines import checksums
from pipelines.errors import UserError
from tests.conftest import ROOT

MEND = "Make it again."


@pytest.fixture
def folder(tmp_path):
    checksums.write_json(tmp_path, "config.json", {"units": 32})
    checksums.write_bytes(tmp_path, "epochs/01.keras", b"weights")
    return tmp_path


def check(folder, *names):
    checksums.check(folder, names, MEND)


def by_sha256sum(folder):
    command = ["sha256sum", "--strict", "--check", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum")
def test_sha256sum_reads_and_writes_the_same(folder):
    assert by_sha256sum(folder).stdout == (
        "config.json: OK\nepochs/01.keras: OK\n"
    )
    written = (folder / "SHA256SUMS").read_bytes()
    names = ["config.json", "epochs/01.keras"]
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="earlier versions wrote none. Make it"):
        check(folder, *names)
    command = checksums.list_command(folder, names)
    subprocess.run(command, shell=True, check=True)
    assert (folder / "SHA256SUMS").read_bytes() == written
    (folder / "SHA256SUMS").unlink()
    checksums.list_files(folder, names)
    assert (folder / "SHA256SUMS").read_bytes() == written


def test_every_change_is_one_line_with_the_name_and_the_mend(folder):
    check(folder, "config.json", "epochs/01.keras")
    good = (folder / "config.json").read_bytes()
    for bad in (b"", good.replace(b"32", b"33"), good + b"\n"):
        (folder / "config.json").write_bytes(bad)
        check(folder, "epochs/01.keras")
        with pytest.raises(UserError) as error:
            check(folder, "epochs/01.keras", "config.json")
        for part in (
            str(folder / "config.json"),
            hashlib.sha256(good).hexdigest()[:12],
            hashlib.sha256(bad).hexdigest()[:12],
            MEND,
        ):
            assert part in str(error.value)
        assert "\n" not in str(error.value)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match="config.json. Received: none"):
        check(folder, "config.json")
    os.mkfifo(folder / "config.json")
    with pytest.raises(UserError, match="config.json. Received: none"):
        check(folder, "config.json")
    (folder / "other.json").write_text("{}")
    with pytest.raises(UserError, match="other.json, unlisted. Make it"):
        check(folder, "other.json")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "config.json",
        "0" * 63 + "  config.json",
        "0" * 64 + "  ",
        "0" * 64 + "  /etc/passwd",
        "0" * 64 + "config.json",
        "\\" + "0" * 64 + "  a\\nb",
        "\x1b[2J",
    ],
)
def test_a_list_that_is_damaged_is_named(folder, line):
    good = (folder / "SHA256SUMS").read_text()
    for text in (line + "\n", f"{'0' * 64}  cut off", f"{'0' * 64}  a\v"):
        (folder / "SHA256SUMS").write_text(good + text)
        with pytest.raises(UserError, match="SHA256SUMS, line 3.*Make it"):
            check(folder, "config.json")


def test_a_file_is_removed_with_its_digest(folder):
    checksums.remove(folder, "epochs/01.keras")
    checksums.remove(folder, "epochs/02.keras")
    assert not list((folder / "epochs").iterdir())
    assert list(checksums.read(folder, MEND)) == ["config.json"]


def test_an_error_of_the_writer_leaves_what_was_there(folder):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    with (
        pytest.raises(OSError, match="full"),
        checksums.replacing(folder, "config.json") as temporary,
    ):
        pathlib.Path(temporary).write_text("half")
        raise OSError("the disk is full")
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before


KILLED = """
import os, pathlib, shutil, sys
from pipelines import checksums

folder = pathlib.Path(sys.argv[1])
seen = set()
for moment in range(1000):
    copy = folder.with_name(f"copy{moment}")
    shutil.copytree(folder, copy)
    if not os.fork():
        events = iter(range(1000))
        # Before each system call that Python makes for files.
        sys.addaudithook(
            lambda name, _: os._exit(9)
            if name in ("open", "os.rename", "os.remove")
            and next(events) == moment
            else None
        )
        checksums.write_json(copy, "config.json", {"units": 64})
        checksums.write_json(copy, "new.json", [])
        checksums.remove(copy, "epochs/01.keras")
        os._exit(0)
    code = os.wait()[1]
    names = ["config.json", "new.json", "epochs/01.keras"]
    listed = checksums.read(copy, "")
    there = [name for name in names if (copy / name).exists()]
    checksums.check(copy, there, "")
    seen.add(((copy / "config.json").read_text(), *there))
    # The next writer goes on.
    checksums.write_json(copy, "config.json", {"units": 65})
    assert len(checksums.read(copy, "")["config.json"]) == 1
    if code == 0:
        break
assert len(seen) == 4, seen
assert moment > 20
"""


def test_a_kill_at_any_moment_leaves_a_folder_that_verifies(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_readers_and_two_writers_at_once(folder):
    stop, errors = threading.Event(), []

    def write(name):
        for number in range(40):
            checksums.write_json(folder, name, number)

    def read():
        while not stop.is_set():
            try:
                check(folder, "config.json")
            except UserError as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    writers = [
        threading.Thread(target=write, args=(name,))
        for name in ("config.json", "other.json")
    ]
    for thread in (reader, *writers):
        thread.start()
    for writer in writers:
        writer.join()
    stop.set()
    reader.join()
    assert not errors
    check(folder, "config.json", "other.json", "epochs/01.keras")
    assert json.loads((folder / "other.json").read_text()) == 39
