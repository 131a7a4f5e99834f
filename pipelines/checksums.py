"""Digests of the files of a folder, kept in the format of `sha256sum`.

`SHA256SUMS` binds the files of a run, of a cache or of an exported model to
each other: a file of another one, or one that was changed, is noticed before
it is used. `sha256sum -c SHA256SUMS` checks the same by hand. It guards
against mistakes and damage, not against somebody who rewrites both.

While a file is replaced, the list has its old and its new digest: whenever
the writer is stopped, each file has one that is listed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator

from pipelines import files
from pipelines.errors import UserError
from pipelines.files import PathLike

FILE_NAME = "SHA256SUMS"

_LOCK_NAME = f".{FILE_NAME}.lock"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\\/\n][^\\\n]*)\n")
_MAX_LIST_BYTES = 2**24
_MAX_FILE_BYTES = 2**34  # More than any model; what is longer never ends.


@contextlib.contextmanager
def replacing(folder: PathLike, name: str) -> Iterator[str]:
    """Yields where to write a file that takes the place of one, and is listed.

    Whenever the process is killed, or the power fails, the folder has the old
    file or the new one, complete, and its digest; see `files.replacing`.

    Args:
        folder: An existing folder.
        name: The file's name in it, with `/` where it lies deeper.
    """
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.ExitStack() as stack:
        with files.replacing(path) as temporary:
            yield temporary
            new = file_digest(temporary)
            listed = stack.enter_context(_changing(folder))
            old = listed.get(name, ())
            if not old and os.path.isfile(path):
                old = (file_digest(path),)
            both = tuple(dict.fromkeys((*old, new)))
            _write(folder, {**listed, name: both})
        _write(folder, {**listed, name: (new,)})


def write_bytes(folder: PathLike, name: str, data: bytes) -> None:
    """Writes or replaces a file, see `replacing`."""
    with replacing(folder, name) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_json(folder: PathLike, name: str, value) -> None:
    """Writes indented JSON, UTF-8, see `replacing`."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_bytes(folder, name, text.encode())


def remove(folder: PathLike, name: str) -> None:
    """Removes a file of a folder, if it is there, and its digest."""
    path = os.path.join(folder, name)
    with _changing(folder) as listed:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
        if listed.pop(name, None):
            _write(folder, listed)


def check(folder: PathLike, names: Iterable[str], mend: str) -> None:
    """Checks that files of a folder have the digests that are listed.

    Args:
        folder: The folder.
        names: The files, with `/` where they lie deeper.
        mend: What to do where one has not.

    Raises:
        UserError: A file is missing, or not what is listed; the list is
            missing or damaged.
    """
    for name in names:
        before = None
        # A writer may have replaced the file in the meantime.
        while (listed := read(folder, mend)) != before:
            problem = _problem(folder, name, listed.get(name, ()))
            if problem is None:
                break
            before = listed
        else:
            raise UserError(f"{problem}. {mend}")


def read(folder: PathLike, mend: str) -> dict[str, tuple[str, ...]]:
    """Reads the list: of each name its digests, one or, for a moment, two.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = os.path.join(folder, FILE_NAME)
    if not os.path.lexists(path):
        raise UserError(
            f"Expected {FILE_NAME}, the digests of the files, in "
            f"{os.fspath(folder)!r}. Received: a folder without; earlier "
            f"versions wrote none. {mend}"
        )
    listed = {}
    text = files.read_text(path, max_bytes=_MAX_LIST_BYTES)
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        match = _LINE.fullmatch(line)
        if not match:
            raise UserError(
                f"Expected a SHA-256 and a name in {path}, line {number}. "
                f"Received: {line[:100]!r}. {mend}"
            )
        listed[match[2]] = (*listed.get(match[2], ()), match[1])
    return listed


def list_files(folder: PathLike, names: Iterable[str]) -> None:
    """Writes the list of files that are there."""
    digests = {n: (file_digest(os.path.join(folder, n)),) for n in names}
    _write(folder, digests)


def list_command(folder: PathLike, names: Iterable[str]) -> str:
    """Returns the command that lists files as they are, for messages."""
    command = shlex.join(["sha256sum", *names])
    return f"(cd {shlex.quote(os.fspath(folder))} && {command} > {FILE_NAME})"


def file_digest(path: PathLike) -> str:
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _problem(folder: PathLike, name: str, digests: tuple) -> str | None:
    """Returns what is wrong with a file, if something is."""
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return f"Expected the file {path}. Received: none"
    if not digests:
        return (
            f"Expected {FILE_NAME} to list {name}. Received: {path}, unlisted"
        )
    files.check_size(path, _MAX_FILE_BYTES)
    actual = file_digest(path)
    if actual in digests:
        return None
    return (
        f"Expected {path} with the SHA-256 {digests[-1][:12]}... that "
        f"{FILE_NAME} lists. Received: {actual[:12]}..., a file that was "
        "changed, or is of another folder"
    )


@contextlib.contextmanager
def _changing(folder: PathLike) -> Iterator[dict[str, tuple[str, ...]]]:
    """Yields the list, which no other process changes in the meantime."""
    with open(os.path.join(folder, _LOCK_NAME), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = os.path.lexists(os.path.join(folder, FILE_NAME))
        yield read(folder, "Put the file back.") if there else {}


def _write(folder: PathLike, listed: dict[str, tuple[str, ...]]) -> None:
    text = "".join(
        f"{digest}  {name}\n"
        for name, digests in sorted(listed.items())
        for digest in digests
    )
    files.write_atomically(os.path.join(folder, FILE_NAME), text.encode())
