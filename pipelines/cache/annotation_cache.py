"""Reads the annotations of a cache, at random and from several threads.

A cache is a folder: `metadata.json`, and a shard for every 1,024 images, such
as `annotations-00003-of-00007.array_record`. Images keep the order in which
they were given; position p is the p-th of those that could be read.
"""

import bisect
import itertools
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines import checksums
from pipelines.cache.metadata import (
    FILE_NAME,
    Manifest,
    Metadata,
    check_equal,
    extract_command,
    ids_digest,
)
from pipelines.cache.records import (
    decode_annotations,
    decode_annotations_batch,
    max_record_bytes,
)
from pipelines.cache.shard_list import read_shard_list
from pipelines.cache.shards import ShardReader, shard_path
from pipelines.errors import UserError
from pipelines.files import TEMPORARY, PathLike


class AnnotationCache:
    """Annotations on disk, read by position.

    It keeps every shard's file open, and nothing in memory but their indices.

    Attributes:
        directory: Its folder.
        metadata: What an annotation is.
        ids: Ids of the images in the order of their positions.
        skipped: The images that could not be read, and why.

    Example:
        >>> cache = AnnotationCache.open("annotations/flickr8k")
        >>> cache.read([cache.position(id) for id in cache.ids[:64]]).shape
        (64, 196, 512)
    """

    def __init__(
        self,
        directory: PathLike,
        metadata: Metadata,
        shards: Sequence[ShardReader],
    ) -> None:
        """Use `AnnotationCache.open` instead."""
        self.directory = os.fspath(directory)
        self.metadata = metadata
        self.ids = tuple(id for shard in shards for id in shard.ids)
        self.skipped = tuple(s for shard in shards for s in shard.skipped)
        self._shards = tuple(shards)
        self._max_record_bytes = max_record_bytes(metadata)
        counts = (len(shard.ids) for shard in shards)
        # Of each shard the position of its first record; and the end.
        self._starts = list(itertools.accumulate(counts, initial=0))
        self._positions = {id: p for p, id in enumerate(self.ids)}

    @classmethod
    def open(
        cls, directory: PathLike, expected: Metadata | None = None
    ) -> "AnnotationCache":
        """Opens a cache that is complete.

        Args:
            directory: The folder that `extract_annotations` wrote.
            expected: What the reader's annotations are, such as those that
                a model was trained on; by default whatever is there.

        Returns:
            The cache.

        Raises:
            UserError: It is missing, incomplete, damaged, or holds other
                annotations; the message names the command that mends it.
        """
        manifest = Manifest.read(directory)
        again = (
            "Run the extraction again, with the same flags for the images; it "
            "keeps what is right and does what is missing or damaged: "
        )
        # An extraction that has not ended has no list.
        if os.path.lexists(os.path.join(directory, checksums.FILE_NAME)):
            mend = again + extract_command(directory)
            checksums.check(directory, [FILE_NAME], mend)
        if expected is not None:
            check_equal(directory, expected, manifest.metadata)
        mend = again + extract_command(directory, manifest.metadata)
        shards = _open_shards(directory, manifest, mend)
        return cls(directory, manifest.metadata, shards)

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, id: str) -> int:
        """Returns the position of an image in `ids`.

        Raises:
            UserError: The cache has no annotations of it.
        """
        if id not in self._positions:
            reasons = [s.reason for s in self.skipped if s.name == id]
            why = f"it was skipped: {reasons[0]}" if reasons else "unknown"
            raise UserError(
                f"Expected an image of the annotations in "
                f"{self.directory!r}. Received: id={id!r} ({why}). Extract "
                "those of your images into another folder: "
                f"{extract_command('OTHER_DIR', self.metadata)}"
            )
        return self._positions[id]

    def records(self, positions: Sequence[int] | np.ndarray) -> list[bytes]:
        """Reads records for `decode`.

        To hand them to TensorFlow, make them an array of dtype `object`:
        NumPy's own type of bytes drops zeros at their end.
        """
        return [self._record(int(position)) for position in positions]

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads annotations in NumPy, float32 `(N, L, D)`."""
        shape = (len(positions), self.metadata.locations, self.metadata.depth)
        annotations = np.empty(shape, np.float32)
        for row, record in enumerate(self.records(positions)):
            annotations[row] = decode_annotations(record, self.metadata)
        return annotations

    def decode(self, batch: tf.Tensor) -> tf.Tensor:
        """Decodes records `(N,)` by graph operations, to `(N, L, D)`."""
        return decode_annotations_batch(batch, self.metadata)

    def _record(self, position: int) -> bytes:
        if not 0 <= position < len(self.ids):
            raise IndexError(
                f"Expected a position below {len(self.ids)}. Received: "
                f"position={position}."
            )
        shard = bisect.bisect_right(self._starts, position) - 1
        try:
            record = self._shards[shard].read(position - self._starts[shard])
            if len(record) > self._max_record_bytes:
                raise UserError(f"Its record has {len(record)} bytes.")
        except UserError as error:
            raise UserError(
                f"The annotations of {self.ids[position]!r} are damaged. "
                f"{error} Delete that shard, and run the same command again; "
                "or the extraction, with the same flags for the images: "
                f"{extract_command(self.directory, self.metadata)}"
            ) from error
        return record


def _open_shards(
    directory: PathLike, manifest: Manifest, mend: str
) -> list[ShardReader]:
    """Opens all shards, and checks that they belong to each other."""
    ending = f"-of-{manifest.shards:05d}.array_record"
    missing = manifest.shards - sum(
        name.endswith(ending) and not name.startswith(TEMPORARY)
        for name in os.listdir(directory)
    )
    if missing > 0:
        paths = (
            shard_path(directory, number, manifest.shards)
            for number in range(manifest.shards)
        )
        first = next((p for p in paths if not os.path.exists(p)), ending)
        raise UserError(
            f"The annotations in {os.fspath(directory)!r} are not complete: "
            f"{missing} of {manifest.shards} shards are missing, the first "
            f"{os.path.basename(first)}. {mend}"
        )
    listed = read_shard_list(directory, mend)
    shards = []
    for number in range(manifest.shards):
        path = shard_path(directory, number, manifest.shards)
        try:
            shards.append(ShardReader(path))
        except UserError as error:
            raise UserError(f"{error} {mend}") from error
        if listed[number : number + 1] != (shards[-1].digest,):
            raise UserError(
                f"The shard {path} is not the one that was extracted with the "
                f"others; it is of another cache. {mend}"
            )
    ids = [id for shard in shards for id in shard.image_ids]
    if ids_digest(ids) != manifest.ids_digest:
        raise UserError(
            f"The shards in {os.fspath(directory)!r} are of other images than "
            f"its {FILE_NAME}. {mend}"
        )
    return shards
