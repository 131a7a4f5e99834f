"""Atomic writes, JSON, and the lock of a folder."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

from pipelines.errors import UserError

PathLike = str | os.PathLike[str]

LOCK_NAME = ".lock"

# Karpathy's JSON for COCO, the largest in use, has 144 MB.
MAX_FILE_BYTES = 2**30


def write_atomically(path: str, data: bytes) -> None:
    """Writes to a temporary file and renames it: complete or not at all."""
    path = os.fspath(path)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def write_json(path: str, value) -> None:
    """Writes indented JSON, UTF-8, complete or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def read_text(path: str, mend: str = "", max_bytes: int | None = None) -> str:
    """Reads UTF-8 text, with or without a byte-order mark.

    `mend` says in messages what to do where the file is missing; by default it
    has at most a gigabyte.
    """
    path, max_bytes = os.fspath(path), max_bytes or MAX_FILE_BYTES
    if not os.path.isfile(path):
        raise UserError(
            f"Expected a file that can be read{mend and f'; {mend}'}. "
            f"Received: {path!r}"
        )
    try:
        check_size(path, max_bytes)
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise UserError(
            f"Expected UTF-8 in {path}. Received: UTF-16 or UTF-32; save the "
            "file as UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"Expected UTF-8 in {path}, line {line}; save the file as UTF-8. "
            f"Received: byte 0x{data[error.start]:02x}"
        ) from error


def check_size(path: str, max_bytes: int) -> None:
    """Raises a UserError where a file has more bytes."""
    size = os.path.getsize(path)
    if size > max_bytes:
        raise UserError(
            f"Expected at most {max_bytes} bytes in {path}; split the file. "
            f"Received: {size} bytes"
        )


def read_json(path: str, mend: str = "") -> Any:
    """Reads a JSON file; `mend` says what to do where it is missing."""
    return parse_json(read_text(path, mend), path)


def parse_json(text: str, path: str, line: int = 1) -> Any:
    """Returns the value of JSON text, which begins at a line of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line, column = line + error.lineno - 1, error.colno
        where, problem = f"line {line}, column {column}", error.msg
    except RecursionError:
        where, problem = f"line {line}", "brackets that are nested too deeply"
    except ValueError as error:  # Such as a number of 5,000 digits.
        where, problem = f"line {line}", str(error)
    raise UserError(f"Expected JSON in {path}, {where}. Received: {problem}")


@contextlib.contextmanager
def locked(directory: str, message: str) -> Iterator[None]:
    """Locks an existing folder for this process, or raises with the message."""
    with open(os.path.join(directory, LOCK_NAME), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(message) from error
        yield
