"""How commands end: one line, an exit code, and no traceback."""

import errno
import functools
import os
import signal
import subprocess
import sys

import pytest
import tensorflow as tf

from pipelines.ending import exit_code_of
from pipelines.errors import UserError
from tests.conftest import ROOT


def raising(error):
    def command():
        raise error

    return command


def test_what_ends_well(capsys):
    assert exit_code_of(lambda: print("done"), False) == 0
    assert exit_code_of(raising(SystemExit(3)), False) == 3
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("of a\n0\x1b[2J.jpg"), "error: of a\\n0\\x1b[2J.jpg\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a\udce9"),
            "error: No space left on device: 'a\\udce9'. Make room, or write "
            "to another disk, and run the command again.\n",
        ),
        (OSError("unable to write (errno = 27)"), "(ulimit -f).\n"),
        (PermissionError(errno.EACCES, "denied", b"a"), "denied: 'a'. Choose"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "error: Broken pipe\n"),
        (MemoryError(), "error: there is not enough memory. Give less"),
    ],
)
def test_mistakes_and_failures_of_the_system(capsys, error, message):
    assert exit_code_of(raising(error), False) == 1
    output, errors = capsys.readouterr()
    assert message in errors
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert output == ""


def test_a_disk_that_is_full_for_tensorflow(capsys):
    write = functools.partial(tf.io.write_file, "/dev/full", "x" * 10**6)
    assert exit_code_of(write, False) == 1
    expected = "error: No space left on device: '/dev/full'. Make room, or"
    assert capsys.readouterr().err.startswith(expected)


def test_a_tensor_that_is_too_large(capsys):
    allocate = functools.partial(
        tf.random.stateless_uniform, (2**40, 2**12), (1, 2)
    )
    assert exit_code_of(allocate, False) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(
        "error: there is not enough memory for a tensor of shape "
        "[1099511627776,4096]. Give less"
    )
    assert "--units" in errors and "{{" not in errors


def test_a_fault_of_the_project_keeps_its_traceback():
    with pytest.raises(KeyError, match="fault"):
        exit_code_of(raising(KeyError("fault")), False)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
@pytest.mark.parametrize("resumable", [True, False])
def test_signals(capsys, number, code, resumable):
    before = signal.getsignal(number)
    cleared = []

    def command():
        try:
            os.kill(os.getpid(), number)
        finally:
            cleared.append(True)

    assert exit_code_of(command, resumable) == code
    assert cleared and signal.getsignal(number) is before
    expected = "stopped; the same command goes on" if resumable else "stopped"
    assert capsys.readouterr().err == f"{expected}\n"


PRINTS = (
    "import sys\n"
    "from pipelines.commands import run\n"
    "def main(arguments):\n"
    "    for _ in range(int(arguments[1])):\n"
    "        print(arguments[0])\n"
    "run(main)\n"
)


def shell(redirection: str, name: bytes | str = "line", lines=100_000):
    """Runs a command that prints lines, redirected by a shell."""
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" "$2" {lines} {redirection}; echo $?']
        + [sys.executable, PRINTS, name],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )


FULL = b"error: No space left on device. Make room"


@pytest.mark.parametrize(
    ("lines", "redirection", "output", "error"),
    [
        (
            100_000,
            "| head -1; echo ${PIPESTATUS[0]}; exit",
            b"line\n141\n",
            b"",
        ),
        (100_000, ">/dev/full", b"1\n", FULL),
        (1, ">/dev/full", b"1\n", FULL),
        (1, ">/dev/full 2>/dev/full", b"1\n", b""),
        (1, ">&- 2>&- <&-", b"0\n", b""),
    ],
)
def test_streams_that_end_early(lines, redirection, output, error):
    done = shell(redirection, lines=lines)
    assert done.stdout == output
    assert done.stderr.startswith(error)
    assert done.stderr.count(b"\n") == (1 if error else 0)


def test_a_name_that_is_no_unicode_is_printed():
    done = shell("| tail -1", b"caf\xe9\xff")
    assert done.stdout == b"caf\\udce9\\udcff\n0\n"
