"""Files that a command writes: checked before its work, never over others'.

A file is one that the command wrote before, and may write again, if it begins
with the mark of that kind of file; everything else stays as it is.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable

from pipelines.errors import UserError
from pipelines.files import PathLike, remove_leftovers, write_atomically

_HEAD_BYTES = 4096
# What pictures of attention hold, and how they begin.
SOFTWARE = "show-attend-tell"
PICTURE_MARK = rb"\x89PNG\r\n.{0,1000}tEXtSoftware\0" + SOFTWARE.encode()

# Here names stand for streams that are open already.
_STREAM_FOLDERS = ("/dev", "/dev/fd", "/proc/self/fd")


def check_output_file(
    path: PathLike,
    flag: str,
    mark: bytes | None = None,
    inputs: Iterable[PathLike] = (),
) -> None:
    """Checks that a file can be written, and is new or one of ours.

    Args:
        path: The file. A pipe or a device may be there.
        flag: Which chooses another, for messages, such as `"--output"`.
        mark: A regular expression that files begin with which this command
            wrote; `None` where it never replaces a file.
        inputs: Files that it reads, which stay even so.

    Raises:
        UserError: It cannot be written, or another file is there.
    """
    path = os.fspath(path)
    if is_stream(path):
        return
    with contextlib.suppress(OSError, ValueError):  # No such folder.
        remove_leftovers(*os.path.split(os.path.abspath(path)))
    try:
        if os.path.isdir(path):
            raise IsADirectoryError("it is a folder")
        there = identity(path)
        free = may_write(path, mark) and (
            there is None or there not in map(identity, inputs)
        )
    except (OSError, ValueError) as error:
        raise _refused("a file", flag, path, error) from error
    if not free:
        raise UserError(
            f"{path!r} is there already, is an input or was not written by "
            f"this command, and stays as it is. Choose another with {flag}."
        )
    check_output_folder(os.path.dirname(os.path.realpath(path)), flag)


def check_output_folder(path: PathLike, flag: str) -> None:
    """Checks that a folder can be written to, or made.

    Raises:
        UserError: It cannot.
    """
    path = os.fspath(path)
    existing = os.path.abspath(path)
    try:
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)
        tempfile.TemporaryFile(dir=existing).close()
    except (OSError, ValueError) as error:
        raise _refused("in a folder", flag, path, error) from error


def may_write(path: PathLike, mark: bytes | None) -> bool:
    """Whether no file is lost by a write: none is there, or one of ours.

    Raises:
        OSError: The file there cannot be read, or the name is none.
    """
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return True
    return size == 0 or (mark is not None and has_mark(path, mark))


def has_mark(path: PathLike, mark: bytes) -> bool:
    """Whether a file begins as a regular expression describes."""
    with open(path, "rb") as file:
        return re.match(mark, file.read(_HEAD_BYTES), re.DOTALL) is not None


def is_stream(path: str) -> bool:
    """Whether a pipe, a device or an open stream is there, to write into."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    is_open = os.path.dirname(path) in _STREAM_FOLDERS
    return is_open or stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def identity(path: PathLike) -> tuple[int, int] | None:
    """Returns what tells a file from others, whatever links lead to it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def write_output(path: PathLike, data: bytes) -> None:
    """Writes a file, complete or not at all; a pipe or a device directly.

    Where the name is a link, its target is written.
    """
    path = os.fspath(path)
    if is_stream(path):
        number = _open_descriptor(path)
        target = path if number is None else os.dup(number)
        with open(target, "ab", buffering=0) as stream:
            stream.write(data)
    else:
        write_atomically(os.path.realpath(path), data)


def _open_descriptor(path: str) -> int | None:
    """Returns the number of the open stream that a name stands for.

    It is written to as it is: opened anew, a file would have a position of
    its own, and what others write to it would be overwritten.
    """
    folder, name = os.path.split(path)
    if folder not in _STREAM_FOLDERS:
        return None
    names = {"stdin": 0, "stdout": 1, "stderr": 2}
    return int(name) if name.isdecimal() else names.get(name)


def _refused(what: str, flag: str, path: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or error
    return UserError(
        f"Expected {flag} to be {what} that can be written. Received: "
        f"{path!r} ({reason})"
    )
