"""Programs run within limits, and say why they do not."""

import os
import time

import pytest

from show_attend_tell.metrics.external_programs import Unavailable, run_java


@pytest.fixture
def java(java):
    """Puts a shell script in the place of Java."""
    return lambda script: java(f"PATH=/usr/bin:/bin\n{script}", "/bin/sh")


def test_input_limits_and_output(java, tmp_path):
    java('cat; echo "$@"; pwd')
    output = run_java("it", ["-jar", "x"], "caf\u00e9\n", "3G", folder=tmp_path)
    assert output.split("\n") == [
        "caf\u00e9",
        "-Xmx3G -Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8 -jar x",
        str(tmp_path),
        "",
    ]


def test_much_output_does_not_block(java):
    # More than a pipe holds, in both directions and on standard error.
    java("head -c 1000000 /dev/zero >&2; cat")
    text = "x" * 1_000_000
    assert run_java("it", [], text) == text


def test_no_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="Java was not found.*apt-get"):
        run_java("it", [])


def test_failure_has_the_error_output(java):
    java("echo no such jar >&2; exit 3")
    with pytest.raises(Unavailable, match="it failed .* 3: no such jar"):
        run_java("it", [], "unread" * 100_000)


def test_a_program_that_hangs_is_ended(java, tmp_path):
    java(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    start = time.monotonic()
    with pytest.raises(Unavailable, match="it did not end in 1 seconds"):
        run_java("it", [], seconds=1)
    assert time.monotonic() - start < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
