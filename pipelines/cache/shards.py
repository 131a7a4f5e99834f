"""Shards of a cache: ArrayRecord files, each complete or not there at all.

A shard has a record for each of its images and, as the last one, its index:
which images these are and which were skipped, and the digests of the metadata
and of all records, as deflated JSON. Records are stored without further
compression; ArrayRecord keeps a hash of each and checks it at every read.
"""

import contextlib
import hashlib
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
from pipelines.files import PathLike, replacing

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


def shard_path(directory: PathLike, shard: int, shards: int) -> str:
    """Returns the path of a shard."""
    return os.path.join(
        directory, f"annotations-{shard:05d}-of-{shards:05d}.array_record"
    )


class ShardReader:
    """A finished shard; any number of threads may read it at once.

    `image_ids` are all its images in order, `ids` those with a record.
    `digest` is the SHA-256 of its index, and `metadata` that of the metadata;
    earlier versions wrote none, which is `None`.
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
            data = self.read(records - 1)
            self.digest = hashlib.sha256(data).hexdigest()
            index = json.loads(inflate(data, _MAX_INDEX_BYTES))
            self.metadata = index.get("metadata")
            self._records_digest = index.get("records")
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
        """Reads every record, and checks their hashes and their digest."""
        digest = hashlib.sha256()
        for row in range(len(self.ids)):
            digest.update(self.read(row))
        if self._records_digest not in (None, digest.hexdigest()):
            raise UserError(f"The records of the shard {self.path} are others.")

    def bind(self, metadata: str) -> "ShardReader":
        """Writes a shard of an earlier version anew, with its digests."""
        reasons = {one.name: one.reason for one in self.skipped}
        rows = iter(range(len(self.ids)))
        with new_shard(self.path, metadata) as writer:
            for id in self.image_ids:
                if id in reasons:
                    writer.skip(id, reasons[id])
                else:
                    writer.add(id, self.read(next(rows)))
        return ShardReader(self.path)


@contextlib.contextmanager
def new_shard(path: str, metadata: str) -> Iterator["ShardWriter"]:
    """Gives what writes a shard, which is kept if no error leaves the block.

    `metadata` is the digest of the metadata, see `Metadata.binding`.
    """
    with replacing(path) as temporary:
        writer = ShardWriter(temporary, metadata)
        try:
            yield writer
            writer.add_index()
        finally:
            writer.close()


class ShardWriter:
    """Writes a file for `new_shard`; errors come at the first write."""

    def __init__(self, path: str, metadata: str) -> None:
        self._writer = ArrayRecordWriter(path, _WRITER_OPTIONS)
        self._metadata, self._records = metadata, hashlib.sha256()
        self._ids: list[str] = []
        self._skipped: dict[str, str] = {}

    def add(self, id: str, record: bytes) -> None:
        """Appends the record of an image."""
        self._write(record)
        self._records.update(record)
        self._ids.append(id)

    def skip(self, id: str, reason: str) -> None:
        """Notes an image that has no record."""
        self._ids.append(id)
        self._skipped[id] = reason

    def add_index(self) -> None:
        """Appends the last record."""
        index = {
            "ids": self._ids,
            "skipped": self._skipped,
            "metadata": self._metadata,
            "records": self._records.hexdigest(),
        }
        self._write(deflate(json.dumps(index).encode()))

    def close(self) -> None:
        """Writes what is left of the file."""
        with _system_errors():
            self._writer.close()

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
