"""Processes that answer once, and never outlive the one that asked."""

import os
import signal
import subprocess
import sys
import time

import pytest

from pipelines.errors import UserError
from pipelines.processes import call_in_process
from tests.conftest import ROOT


def raises(message):
    raise UserError(message)


def test_answers_errors_and_deaths():
    assert call_in_process(pow, 2, 10) == 1024
    assert call_in_process(os.getpid) != os.getpid()
    with pytest.raises(UserError, match="as it was raised"):
        call_in_process(raises, "as it was raised")
    with pytest.raises(ChildProcessError, match="exit code 3"):
        call_in_process(os._exit, 3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_process_that_asked(tmp_path, number):
    begun = tmp_path / "begun"
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, time\n"
        "from pipelines.processes import call_in_process\n"
        "def work():\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    call_in_process(work)\n"
    )
    # It is read until all processes have closed it.
    process = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + 30
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=10)
    assert process.returncode == -number
    assert output.count(b"Traceback") == (number == signal.SIGINT)
