"""Files that are there whole or not at all."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator

from pipelines.errors import UserError

LOCK_NAME = ".lock"

_LARGEST_JSON = 1 * 2**30  # bytes


def write_atomically(path: str, data: bytes) -> None:
    """Writes beside the file, then renames, so that no half is ever seen."""
    path = os.fspath(path)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    beside = f"{path}.tmp-{os.getpid()}"
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def write_json(path: str, value) -> None:
    """Writes JSON for people: indented, UTF-8, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def read_json(path: str):
    """Reads JSON.

    Raises:
        UserError: The file is missing, too large, or not JSON.
    """
    try:
        if os.path.getsize(path) > _LARGEST_JSON:
            raise UserError(f"{path} is too large")
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    # Deep nesting overflows the parser's stack.
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


@contextlib.contextmanager
def locked(directory: str, otherwise: str) -> Iterator[None]:
    """Holds a folder for this process, until it leaves or ends.

    Args:
        directory: The folder, which is there.
        otherwise: What to tell if another process holds it.

    Raises:
        UserError: Another process holds it.
    """
    with open(os.path.join(directory, LOCK_NAME), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(otherwise) from error
        yield
