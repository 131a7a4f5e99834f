"""Runs the project's commands in this process, and judges how they end."""

import contextlib
import io
import runpy
import sys

from absl.flags import FLAGS

from pipelines.printing import printable
from tests.faults.campaign import Fault

_LONGEST = 3000  # Characters of a message.


def call(module: str, *arguments: str) -> tuple[int, str, str]:
    """Runs `python -m show_attend_tell.MODULE`; returns what came of it.

    The exit code and both outputs; a traceback is a fault.
    """
    output, errors = _Stream(), _Stream()
    argv, sys.argv = sys.argv, [module, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output):
            with contextlib.redirect_stderr(errors):
                runpy.run_module(f"show_attend_tell.{module}", None, "__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = argv
        defined = FLAGS.flags_by_module_dict().get(module, ())
        FLAGS.remove_flag_values({flag.name: flag for flag in defined})
    if "Traceback" in errors.text:
        raise Fault("traceback", errors.text[-600:])
    return code, output.text, errors.text


class _Stream(io.TextIOWrapper):
    """Text in memory, of the encoding that outputs have."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8")

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()


def check_error(error: Exception, *names: str) -> None:
    """Checks that an error is short and names what is at fault.

    Whoever prints it makes one line of it, see `check_lines`.
    """
    message = str(error)
    if not message.strip() or len(message) > _LONGEST:
        raise Fault("message", f"{len(message)} characters: {message[:300]!r}")
    if names and not any(name in message for name in names):
        raise Fault("message", f"names none of {names}: {message[:600]}")


def check_lines(printed: str) -> None:
    """Checks that nothing printed controls a terminal, or is too long."""
    for line in printed.split("\n"):
        if printable(line) != line or len(line) > _LONGEST:
            raise Fault("message", f"no line to print: {line[:300]!r}")
