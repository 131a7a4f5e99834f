"""Checks of outputs: what is there already, and is not ours, stays."""

import os
import subprocess
import sys
import threading

import pytest

from pipelines.errors import UserError
from pipelines.outputs import (
    check_output_file,
    check_output_folder,
    write_output,
)
from tests.conftest import ROOT

MARK = rb"ours\n"


def check(path, **options):
    check_output_file(path, "--output", MARK, **options)


def test_new_files_empty_ones_and_ours_are_written(tmp_path):
    for name, content in (("new", None), ("empty", b""), ("ours", b"ours\n1")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        check(path)
        write_output(path, b"ours\n2")
        assert path.read_bytes() == b"ours\n2"
    check(tmp_path / "some" / "folder" / "file")
    assert sorted(os.listdir(tmp_path)) == ["empty", "new", "ours"]


def test_the_longest_names_are_written(tmp_path):
    for name in ("n" * 255, "\u72ac" * 85):
        check(tmp_path / name)
        write_output(tmp_path / name, b"ours\n")
        assert os.listdir(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_files_of_others_stay(tmp_path):
    (tmp_path / "theirs").write_bytes(b"not ours\n")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    os.link(tmp_path / "theirs", tmp_path / "hard")
    for name in ("theirs", "link", "hard"):
        with pytest.raises(UserError, match=rf"{name}' is there.*--output"):
            check(tmp_path / name)
    (tmp_path / "ours").write_bytes(MARK)
    with pytest.raises(UserError, match="stays as it is"):
        check_output_file(tmp_path / "ours", "--output")


def test_inputs_stay_whatever_their_names(tmp_path):
    (tmp_path / "ours").write_bytes(b"ours\n")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    for input, output in (("link", "ours"), ("ours", "link")):
        with pytest.raises(UserError, match="is an input"):
            check(tmp_path / output, inputs=[tmp_path / input])
    check(tmp_path / "ours", inputs=[tmp_path / "missing"])
    check(tmp_path / "new", inputs=[tmp_path / "missing"])


def test_an_open_stream_is_written_at_its_position(tmp_path):
    code = "from pipelines.outputs import write_output as write\n"
    code += "write('/dev/stdout', b'ours\\n')"
    for redirection in (">", ">>"):
        log = tmp_path / "log"
        command = f'{{ "{sys.executable}" -c "{code}"; echo after; }}'
        command += f' {redirection} "{log}"'
        subprocess.run(command, shell=True, check=True, cwd=ROOT)
    assert log.read_text() == "ours\nafter\n" * 2


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    check(tmp_path / "link")
    write_output(tmp_path / "link", b"ours\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"ours\n"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "folder"),
        ("file/below", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_what_cannot_be_written_is_named_before(tmp_path, name, reason):
    (tmp_path / "file").touch()
    path = os.path.join(tmp_path, name)
    with pytest.raises(UserError, match=rf"Expected --output.*{reason}"):
        check(path)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(UserError, match="Expected --out.*Not a directory"):
            check_output_folder(tmp_path / name, "--out")
    check_output_folder(tmp_path / "new" / "folder", "--out")
    assert os.listdir(tmp_path) == ["file"]


def test_devices_and_pipes_are_written_directly(tmp_path):
    check("/dev/null")
    write_output("/dev/null", b"ours\n")
    check("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_output("/dev/full", b"ours\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check(pipe)
    writer = threading.Thread(target=write_output, args=(pipe, b"ours\n"))
    writer.start()
    assert pipe.read_bytes() == b"ours\n"
    writer.join()
