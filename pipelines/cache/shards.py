"""Shards of a cache: ArrayRecord files, each complete or not there at all.

A shard has a record for each of its images and, as the last one, its index:
which images these are and which were skipped, as deflated JSON. Records are
stored without further compression; ArrayRecord keeps a hash of each and
checks it at every read.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator

from array_record.python.array_record_module import (
    ArrayRecordReader,
    ArrayRecordWriter,
)

from pipelines.cache.records import deflate, inflate
from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.files import PathLike

# Each record can be read without its neighbours, and is compressed already.
_WRITER_OPTIONS = "group_size:1,uncompressed"
_WRITTEN_BY_US = re.compile(r"group_size:1,.*\buncompressed\b")
_READER_OPTIONS = {
    "options": "readahead_buffer_size:0,max_parallelism:0",
    "file_reader_buffer_size": 4096,  # bytes
}
# Of the reader, of the values, of a JSON that nests too deeply.
_DAMAGE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
_MAX_INDEX_BYTES = 64 * 2**20
_TEMPORARY = re.compile(
    r"(metadata\.json|annotations-\d{5}-of-\d{5}\.array_record)\.tmp-\d+"
)


def shard_path(directory: PathLike, shard: int, shards: int) -> str:
    """Returns the path of a shard."""
    return os.path.join(
        directory, f"annotations-{shard:05d}-of-{shards:05d}.array_record"
    )


def is_temporary(name: str) -> bool:
    """Whether a file is what a writer that was killed has left."""
    return _TEMPORARY.fullmatch(name) is not None


class ShardReader:
    """A finished shard; any number of threads may read it at once.

    `image_ids` are all its images in order, `ids` those with a record.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._reader = ArrayRecordReader(path, **_READER_OPTIONS)
            records = self._reader.num_records()
            # What others have compressed is not decompressed, to any size.
            options = self._reader.writer_options_string() or ""
            if not records or not _WRITTEN_BY_US.match(options):
                raise ValueError("it was not written by this program")
            index = self.read(records - 1)
            index = json.loads(inflate(index, _MAX_INDEX_BYTES))
            ids, reasons = index["ids"], index["skipped"]
            texts = [*ids, *reasons.values()]
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("its index holds something other than text")
            self.image_ids = tuple(ids)
            self.ids = tuple(id for id in ids if id not in reasons)
            self.skipped = tuple(
                Skipped(id, reasons[id]) for id in ids if id in reasons
            )
            if len(self.ids) != records - 1:
                raise ValueError(f"{records} records, {len(self.ids)} images")
        except _DAMAGE as error:
            raise UserError(
                f"The shard {path} is missing or damaged ({error})."
            ) from error

    def read(self, row: int) -> bytes:
        """Returns the record of the image `ids[row]`."""
        try:
            return self._reader.read([row])[0]
        except RuntimeError as error:
            raise UserError(
                f"A record of the shard {self.path} is damaged ({error})."
            ) from error

    def verify(self) -> None:
        """Reads every record, which checks its hash."""
        for row in range(len(self.ids)):
            self.read(row)


class ShardWriter:
    """Writes a shard: a context manager that keeps it if no error leaves it.

    It is written alongside, flushed to the disk and then renamed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._temporary = f"{path}.tmp-{os.getpid()}"
        self._ids: list[str] = []
        self._skipped: dict[str, str] = {}

    def __enter__(self) -> "ShardWriter":
        """Opens the file; errors come at the first write."""
        self._writer = ArrayRecordWriter(self._temporary, _WRITER_OPTIONS)
        return self

    def add(self, id: str, record: bytes) -> None:
        """Appends the record of an image."""
        self._write(record)
        self._ids.append(id)

    def skip(self, id: str, reason: str) -> None:
        """Notes an image that has no record."""
        self._ids.append(id)
        self._skipped[id] = reason

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if kind is None:
                index = {"ids": self._ids, "skipped": self._skipped}
                self._write(deflate(json.dumps(index).encode()))
            with _system_errors():
                self._writer.close()
            if kind is None:
                _flush(self._temporary)
                os.replace(self._temporary, self._path)
                _flush(os.path.dirname(self._path) or ".")
        finally:
            if os.path.exists(self._temporary):
                os.remove(self._temporary)

    def _write(self, record: bytes) -> None:
        with _system_errors():
            self._writer.write(record)


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """Turns ArrayRecord's errors of writing into those of Python."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _flush(path: str) -> None:
    """Waits until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
