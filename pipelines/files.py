"""Atomic writes, JSON, and the lock of a folder."""

import collections
import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from pipelines.errors import UserError

PathLike = str | os.PathLike[str]

LOCK_NAME = ".lock"

# How names of what is being written begin; its process and its name follow.
TEMPORARY = ".tmp-"
_TEMPORARY_NAME = re.compile(
    rf"{re.escape(TEMPORARY)}(?P<process>\d+)-(?P<name>.+)", re.DOTALL
)

# Of a file's name, to which `TEMPORARY` and a process are added; of 255.
_MAX_NAME_BYTES = 200

# Karpathy's JSON for COCO, the largest in use, has 144 MB.
MAX_FILE_BYTES = 2**30

_BLANK = re.compile(r"\s*")


@contextlib.contextmanager
def replacing(path: PathLike, keep: bool = False) -> Iterator[str]:
    """Yields where to write a file, or a folder, that takes the place of one.

    When the block ends it is flushed to the disk and renamed. So there is a
    complete one at every moment, the old or the new, even if the process is
    killed or the machine loses power; what a killed one has left is removed
    the next time. Where the block raises, all stays as it was.

    Args:
        path: The file or the folder; the folder above it must exist.
        keep: Whether something that is there by then stays: FileExistsError.
    """
    folder, name = os.path.split(os.path.abspath(path))
    while len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = name[1:]  # Its end tells the kind.
    remove_leftovers(folder, name)
    temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{name}")
    try:
        yield temporary
        _flush(temporary)
        if not keep:
            os.replace(temporary, path)
        elif os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        elif os.path.isdir(temporary):
            os.rename(temporary, path)  # Fails where a full folder has come.
        else:
            os.link(temporary, path)  # Never replaces.
        with contextlib.suppress(OSError):  # Some file systems refuse it.
            _flush_one(folder)
    finally:
        _remove(temporary)


def remove_leftovers(folder: PathLike, name: str | None = None) -> None:
    """Removes what `replacing` has left where its process was killed.

    That is all in a folder, or what was to become `name`. A process is known
    by its number on this machine.
    """
    for entry in os.listdir(folder):
        written = _TEMPORARY_NAME.fullmatch(entry)
        if written and name in (None, written["name"]):
            if not _is_running(int(written["process"])):
                _remove(os.path.join(folder, entry))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # It is another user's.
    return True


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _flush(path: str) -> None:
    """Waits until a file, or all of a folder, is on the disk itself."""
    for folder, _, names in os.walk(path):
        for name in names:
            _flush_one(os.path.join(folder, name))
        _flush_one(folder)
    if not os.path.isdir(path):
        _flush_one(path)


def _flush_one(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: PathLike, data: bytes) -> None:
    """Writes a file that is complete or not there at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_json(path: str, value) -> None:
    """Writes indented JSON, UTF-8, complete or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def read_text(path: str, mend: str = "", max_bytes: int | None = None) -> str:
    """Reads text of UTF-8, or of UTF-16 or UTF-32 where that is certain.

    It is where a byte-order mark says so, or where every other byte of the
    first characters is zero. `mend` says in messages what to do where the file
    is missing; by default it has at most a gigabyte.
    """
    return decode_text(read_bytes(path, mend, max_bytes), path)


def read_bytes(
    path: str, mend: str = "", max_bytes: int | None = None
) -> bytes:
    """Reads a regular file of a limited size, as `read_text` does."""
    path, max_bytes = os.fspath(path), max_bytes or MAX_FILE_BYTES
    if not os.path.isfile(path):
        raise UserError(
            f"Expected a file that can be read{mend and f'; {mend}'}. "
            f"Received: {path!r}"
        )
    try:
        check_size(path, max_bytes)
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error


def decode_text(data: bytes, path: str) -> str:
    """Decodes the bytes of a file, as `read_text` does."""
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise UserError(
            f"Expected {name} in {path}, line {line}; save the file as UTF-8. "
            f"Received: byte 0x{data[error.start]:02x}"
        ) from error
    return text.removeprefix("\ufeff")


def check_size(path: str, max_bytes: int) -> None:
    """Raises a UserError where a file has more bytes."""
    size = os.path.getsize(path)
    if size > max_bytes:
        raise UserError(
            f"Expected at most {max_bytes} bytes in {path}; split the file. "
            f"Received: {size} bytes"
        )


def read_json(path: str, mend: str = "", unique: bool = False) -> Any:
    """Reads a JSON file; `mend` says what to do where it is missing.

    With `unique`, an object that has a name twice is an error; otherwise the
    last one counts.
    """
    return parse_json(read_text(path, mend), path, unique=unique)


def parse_json(
    text: str, path: str, line: int = 1, unique: bool = False
) -> Any:
    """Returns the value of JSON text, which begins at a line of a file."""
    with _json_errors(path, line):
        return json.loads(text, object_pairs_hook=_unique if unique else None)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        ((name, count),) = collections.Counter(n for n, _ in pairs).most_common(
            1
        )
        raise ValueError(f"{name!r}, {count} times in one object")
    return values


def parse_first_json(text: str, path: str) -> tuple[Any, bool]:
    """Returns the first value of JSON text, and whether more comes after."""
    with _json_errors(path):
        start = _BLANK.match(text).end()
        value, end = json.JSONDecoder().raw_decode(text, start)
    return value, _BLANK.match(text, end).end() < len(text)


@contextlib.contextmanager
def _json_errors(path: str, line: int = 1) -> Iterator[None]:
    try:
        yield
        return
    except json.JSONDecodeError as error:
        line, column = line + error.lineno - 1, error.colno
        where, problem = f"line {line}, column {column}", error.msg
        if problem == "Extra data" and column == 1 and error.lineno > 1:
            problem += (
                ", a second value, as in JSON Lines; one value is read, such "
                "as a list of all lines, [..., ...]"
            )
    except RecursionError:
        where, problem = f"line {line}", "brackets that are nested too deeply"
    except ValueError as error:  # Such as a number of 5,000 digits.
        where, problem = f"line {line}", str(error)
    raise UserError(f"Expected JSON in {path}, {where}. Received: {problem}")


@contextlib.contextmanager
def locked(directory: str, message: str) -> Iterator[None]:
    """Locks an existing folder for this process, or raises with the message."""
    with open(os.path.join(directory, LOCK_NAME), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(message) from error
        yield
