"""How a command ends: with one line and an exit code, whatever happened."""

import contextlib
import errno
import io
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator

from pipelines.errors import UserError
from pipelines.printing import printable

_BROKEN_PIPE = 128 + signal.SIGPIPE
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

_NO_SPACE = "Make room, or write to another disk, and run the command again."
_LESS_MEMORY = (
    "Give less at a time, such as with --batch_size, make the model smaller, "
    "such as with --units, --embedding_size and --attention_units, or end "
    "other programs."
)
_NO_PERMISSION = "Choose another path, or change its permissions."
_ADVICE = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f).",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _NO_PERMISSION,
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.EIO: "Check the disk.",
}


class Stopped(KeyboardInterrupt):
    """A signal ended the command, as control-C does.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.exit_code = 128 + number


def exit_code_of(command: Callable[[], object], resumable: bool):
    """Runs a command, and returns what `sys.exit` takes.

    Errors of users and of the system become one line on stderr and 1;
    signals 130 (SIGINT), 143 (SIGTERM) and 129 (SIGHUP); a reader of the
    output that has enough, silently, 141. Anything else is a fault of the
    project and keeps its traceback. Closed streams stand.

    Args:
        command: What to run.
        resumable: Whether the same command goes on after a signal.
    """
    _open_closed_streams()
    try:
        with _signals_raised():
            code: object = 0
            try:
                command()
            except SystemExit as ended:
                code = ended.code
            sys.stdout.flush()
    except (KeyboardInterrupt, Exception) as error:
        unread = isinstance(error, BrokenPipeError) and _reader_has_gone()
        _give_up(sys.stdout)
        if unread:
            return _BROKEN_PIPE
        code = 1
        if isinstance(error, KeyboardInterrupt):
            code = getattr(error, "exit_code", 128 + signal.SIGINT)
            if sys.stderr.isatty():  # After ^C, or a bar of progress.
                print(file=sys.stderr)
            goes_on = "; the same command goes on" if resumable else ""
            report(f"stopped{goes_on}")
        elif describe_error(error) is None:
            raise
        else:
            report_error(error)
    finally:
        _give_up(sys.stderr)
    return code


def report(message: object) -> None:
    """Prints a line to stderr, if that takes it."""
    with contextlib.suppress(OSError):
        print(printable(str(message)), file=sys.stderr, flush=True)


def report_error(error: object, name: str = "") -> None:
    """Prints an error as one line to stderr.

    Args:
        error: An exception, or text.
        name: Of what failed, such as a photo, if the error does not say.
    """
    is_raised = isinstance(error, Exception)
    message = reason_of(error) if is_raised else str(error)
    if name not in message:
        message = f"{name}: {message}"
    report(f"error: {message}")


def reason_of(error: Exception) -> str:
    """Returns why something failed, for which others go on."""
    return describe_error(error) or f"{type(error).__name__}: {error}"


def describe_error(error: Exception) -> str | None:
    """Describes an error of the user or the system; `None` for any other."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return _describe_os_error(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory. {_LESS_MEMORY}"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow and isinstance(error, tensorflow.errors.OpError):
        return _describe_tensorflow(error, tensorflow.errors)
    return None


def _describe_tensorflow(error, kinds) -> str | None:
    """Describes a user's error in a graph, and some of TensorFlow's own."""
    users = re.findall(r"pipelines\.errors\.UserError: (.+)", error.message)
    if users:
        return users[-1]  # The others are its causes.
    for number, advice in _ADVICE.items():
        # Such as "/tmp/x/variables; No space left on device [Op:SaveV2]".
        reason = os.strerror(number)
        refused = re.search(rf"(?:^|}}}} )(/[^;\n]*); {reason}", error.message)
        if refused:
            return f"{reason}: {refused[1]!r}. {advice}"
    tensor = re.search(
        r"OOM when allocating tensor with shape(\[[\d,]*\])", error.message
    )
    if tensor:
        return (
            f"there is not enough memory for a tensor of shape {tensor[1]}. "
            f"{_LESS_MEMORY}"
        )
    # Other limits of the system, and a path without permission.
    if isinstance(
        error, (kinds.ResourceExhaustedError, kinds.PermissionDeniedError)
    ):
        return error.message.strip().splitlines()[0]
    return None


def _describe_os_error(error: OSError) -> str:
    """Returns what the system refused, where, and what mends it."""
    reason = error.strerror or str(error) or type(error).__name__
    names = [
        repr(os.fsdecode(name))
        for name in (error.filename, error.filename2)
        if isinstance(name, str | bytes | os.PathLike)
    ]
    # HDF5 gives the number in its text alone.
    inside = re.search(r"errno = (\d+)", reason)
    number = int(inside[1]) if inside else error.errno
    parts = [": ".join([reason.rstrip("."), *names]), _ADVICE.get(number)]
    return ". ".join(filter(None, parts))


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    """Raises `Stopped` at a signal, once; a second one ends at once."""

    def stop(number, _):
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    before = {}
    with contextlib.suppress(ValueError):  # Only the main thread may.
        for number in _SIGNALS:
            # One that is ignored, as under nohup, stays so.
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_closed_streams() -> None:
    """Opens streams that the caller closed, or files would get their numbers.

    What an encoding lacks is printed as an escape.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up(stream) -> None:
    """Drops what a stream refuses, or Python fails again at its end."""
    try:
        stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _reader_has_gone() -> bool:
    """Whether the reader of the output or of the errors has gone."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return bool(poll.poll(0))
