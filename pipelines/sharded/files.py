"""Reads and writes files where Beam reaches: local, gs://, s3://, ..."""

import contextlib
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterator, Sequence

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.errors import UserError
from pipelines.files import TEMPORARY, remove_leftovers, write_atomically
from pipelines.images.decoding import MAX_BYTES, read_image_file

# Nothing is decompressed by the ending of its name.
_PLAIN = {"compression_type": CompressionTypes.UNCOMPRESSED}


def is_local(path: str) -> bool:
    """Whether a path is one of this machine, without `scheme://`."""
    return FileSystems.get_scheme(path) is None


def absolute(path: str) -> str:
    """Returns a path that means the same on every worker."""
    if is_local(path):
        return os.path.abspath(os.path.expanduser(path))
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise UserError(
            f"Expected a path of a file system that Beam has here (gs:// "
            f"needs apache-beam[gcp], s3:// apache-beam[aws]). Received: "
            f"{path!r}"
        ) from error
    return path


def join(directory: str, name: str) -> str:
    """Returns the path of a name in a folder."""
    if is_local(directory):
        return os.path.join(directory, name)
    return posixpath.join(directory, name)


def matching(pattern: str) -> list[str]:
    """Returns the files that match a glob, sorted.

    `*` stays within a folder, `**` does not.
    """
    try:
        (match,) = FileSystems.match([pattern])
    except OSError as error:
        raise UserError(f"cannot list {pattern!r}: {error}") from error
    return sorted(file.path for file in match.metadata_list)


def read_image(path: str) -> bytes:
    """Reads an image file, without decoding it."""
    if is_local(path):
        return read_image_file(path)
    return _read(path, MAX_BYTES + 1)


def read_file(path: str, first: int = 0, length: int = -1) -> bytes | None:
    """Reads a file, or a part of it; `None` where there is no such file."""
    if not FileSystems.exists(path):
        return None
    return _read(path, length, first)


def write_file(path: str, data: bytes) -> None:
    """Writes under another name, then renames: no part of it is ever seen."""
    if is_local(path):
        write_atomically(path, data)
        return
    # Two attempts at one shard may run at once on different machines.
    temporary = f"{path}{TEMPORARY}{uuid.uuid4().hex}"
    with FileSystems.create(temporary, **_PLAIN) as file:
        file.write(data)
    FileSystems.rename([temporary], [path])


def remove_file(path: str) -> None:
    """Removes a file, if there is one."""
    # Beam takes what it is to delete for a glob.
    if is_local(path):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    elif FileSystems.exists(path):
        FileSystems.delete([path])


def remove_halves(directory: str) -> None:
    """Removes what writers that were killed have left."""
    if is_local(directory):
        remove_leftovers(directory)
    else:
        for path in matching(join(directory, f"*{TEMPORARY}*")):
            remove_file(path)


@contextlib.contextmanager
def local_copy(directory: str, names: Sequence[str]) -> Iterator[str]:
    """Copies files of a folder anywhere to this machine, for a while.

    A local folder is not copied, and missing files are left out. If none is
    there, all files under the folder are taken.
    """
    if is_local(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory() as copy:
        paths = [join(directory, name) for name in names]
        paths = [path for path in paths if FileSystems.exists(path)]
        for path in paths or matching(join(directory, "**")):
            inside = path.removeprefix(directory).lstrip("/")
            if ".." in inside.split("/"):
                raise UserError(
                    "Expected names that stay in their folder. Received: "
                    f"{path!r}"
                )
            write_atomically(os.path.join(copy, inside), _read(path))
        yield copy


def _read(path: str, length: int = -1, first: int = 0) -> bytes:
    with FileSystems.open(path, **_PLAIN) as file:
        file.seek(first)
        return file.read(length)
