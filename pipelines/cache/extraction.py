"""Annotations of many images: extracted once, then read from disk.

The cache is a folder: `metadata.json`, and for every 256 images a shard
`annotations-00003-of-00028.tfrecord` with its index beside it. Images keep
the order in which they were given; position p is the p-th of those that
could be read.
"""

import collections
import contextlib
import os
import zlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from pipelines.cache.metadata import (
    FILE_NAME,
    Manifest,
    Metadata,
    extract_command,
    ids_digest,
)
from pipelines.cache.records import (
    ShardIndex,
    ShardWriter,
    decode_annotations,
    decode_annotations_batch,
    encode_annotations,
    file_digest,
    index_path,
    is_temporary,
    shard_path,
)
from pipelines.captions import CaptionedImage, Skipped
from pipelines.encoders.registry import Encoder
from pipelines.errors import UserError
from pipelines.files import LOCK_NAME, locked, write_json
from pipelines.images.preparation import prepare, prepared_ahead


class AnnotationCache:
    """Annotations on disk, read by position.

    Reading is safe from several threads at once and holds nothing in memory
    but the index, about 100 bytes an image.

    Attributes:
        directory: Its folder.
        metadata: What an annotation is.
        ids: Ids of the images in the order of their positions.
        skipped: The images that could not be read, and why.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        metadata: Metadata,
        shards: Sequence[ShardIndex],
    ) -> None:
        """Use `AnnotationCache.open` instead.

        Args:
            directory: The folder.
            metadata: What an annotation is.
            shards: The index of every shard.
        """
        self.directory = os.fspath(directory)
        self.metadata = metadata
        self.ids = tuple(r.id for shard in shards for r in shard.records)
        self.skipped = tuple(s for shard in shards for s in shard.skipped)
        self._paths = [
            shard_path(directory, shard, len(shards))
            for shard in range(len(shards))
        ]
        # One row a record: shard, offset, length, CRC-32.
        self._where = np.array(
            [
                (number, record.offset, record.length, record.crc32)
                for number, shard in enumerate(shards)
                for record in shard.records
            ],
            np.int64,
        ).reshape(-1, 4)
        self._positions = {id: p for p, id in enumerate(self.ids)}

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        expected: Metadata | None = None,
    ) -> "AnnotationCache":
        """Opens a cache that is complete and what the reader expects.

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
        if expected is not None:
            _check_equal(directory, expected, manifest.metadata)
        ending = f"-of-{manifest.shards:05d}.json"
        missing = manifest.shards - sum(
            name.endswith(ending) for name in os.listdir(directory)
        )
        command = extract_command(directory, manifest.metadata)
        if missing > 0:
            raise UserError(
                f"The annotations in {os.fspath(directory)!r} are not "
                f"complete: {missing} of {manifest.shards} shards are "
                "missing. Run the extraction again, with the same flags for "
                f"the images; it goes on where it stopped: {command}"
            )
        try:
            shards = [
                _read_index(directory, manifest, shard)
                for shard in range(manifest.shards)
            ]
            ids = [id for shard in shards for id in shard.ids]
            if ids_digest(ids) != manifest.ids_digest:
                raise UserError("The shards are not all of the same images.")
        except UserError as error:
            raise UserError(
                f"{error} Run the extraction again; it redoes what is "
                f"damaged: {command}"
            ) from error
        return cls(directory, manifest.metadata, shards)

    def __len__(self) -> int:
        """The number of images that have annotations."""
        return len(self.ids)

    def position(self, id: str) -> int:
        """Returns the position of an image.

        Args:
            id: Its id.

        Returns:
            Where it is in `ids`.

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
        """Reads records as they are on disk.

        To hand them to TensorFlow, make them an array of dtype `object`:
        NumPy's own type of bytes drops zeros at their end.

        Args:
            positions: Whole numbers (N,).

        Returns:
            N records for `decode`.

        Raises:
            IndexError: There is no such position.
            UserError: A record is damaged or its shard is gone.
        """
        return [self._record(int(position)) for position in positions]

    def read(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Reads annotations, in NumPy.

        Args:
            positions: Whole numbers (N,).

        Returns:
            float32 (N, L, D).

        Raises:
            IndexError: There is no such position.
            UserError: A record is damaged or its shard is gone.
        """
        shape = (len(positions), self.metadata.locations, self.metadata.depth)
        annotations = np.empty(shape, np.float32)
        for row, record in enumerate(self.records(positions)):
            annotations[row] = decode_annotations(record, self.metadata)
        return annotations

    def decode(self, batch: tf.Tensor) -> tf.Tensor:
        """Unpacks records, by operations of the graph alone.

        Args:
            batch: tf.string (N,), of `records`.

        Returns:
            tf.float32 (N, L, D).
        """
        return decode_annotations_batch(batch, self.metadata)

    def _record(self, position: int) -> bytes:
        if not 0 <= position < len(self.ids):
            raise IndexError(
                f"Expected a position below {len(self.ids)}. Received: "
                f"position={position}."
            )
        shard, offset, length, crc32 = self._where[position].tolist()
        path = self._paths[shard]
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                record = os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UserError(
                f"The shard {path} cannot be read ({error.strerror}). Run "
                "the extraction again; it redoes what is missing: "
                f"{extract_command(self.directory, self.metadata)}"
            ) from error
        if zlib.crc32(record) != crc32:
            raise UserError(
                f"The record of {self.ids[position]!r} in {path} is damaged. "
                "Run the extraction again; it redoes what is damaged: "
                f"{extract_command(self.directory, self.metadata)}"
            )
        return record


def extract_annotations(
    images: Sequence[CaptionedImage],
    encoder: Encoder,
    resize_mode: str,
    directory: str | os.PathLike[str],
    precision: str = "sqrt8",
    *,
    batch_size: int = 16,
    shard_size: int = 256,
    workers: int = 2,
    max_skipped: float = 0.02,
    verbose: bool = True,
) -> AnnotationCache:
    """Extracts the annotations of images into a folder, once each.

    One pass: workers read, decode and fit images ahead while the encoder
    works, and no more than a few batches are held. A run that was stopped,
    however hard, is taken up by the same call: finished shards are kept,
    and the files end up the same as without the stop.

    Args:
        images: The images, with ids that are unique; their order stays.
        encoder: The encoder.
        resize_mode: How images are fitted, `"crop"` or `"squash"`.
        directory: A new folder, or one of an earlier call with the same
            images, encoder, resize_mode, precision and shard size.
        precision: `"sqrt8"` (8-bit square root) or `"float16"` (rounded to
            float16, nothing lost after).
        batch_size: Images a batch. It stays the same for every batch, so
            that no annotation depends on how many images come last.
        shard_size: Images a shard. No batch crosses its border.
        workers: Threads that read images, or processes that draw them.
        max_skipped: The part of the images that may be unreadable.
        verbose: Whether a progress bar is shown.

    Returns:
        The cache, open.

    Raises:
        UserError: The folder holds something else or is being written,
            too many images cannot be read, or the disk is full.
        ValueError: There are no images, or two have one id.
    """
    metadata = Metadata.describe(encoder, resize_mode, precision)
    manifest = _manifest(images, metadata, shard_size)
    try:
        os.makedirs(directory, exist_ok=True)
        with locked(directory, _being_written(directory)):
            _begin(directory, manifest)
            _extract(
                images,
                encoder,
                directory,
                manifest,
                batch_size,
                workers,
                max_skipped,
                verbose,
            )
    except OSError as error:
        raise UserError(
            f"The annotations cannot be written to {os.fspath(directory)!r}: "
            f"{error}. Make room, or choose another folder with "
            "--annotations=OTHER_DIR, and run the extraction again."
        ) from error
    return AnnotationCache.open(directory, metadata)


def _being_written(directory: str | os.PathLike[str]) -> str:
    return (
        f"Another extraction is writing to {os.fspath(directory)!r}. Wait "
        "until it ends, or choose another folder with "
        "--annotations=OTHER_DIR."
    )


def _manifest(
    images: Sequence[CaptionedImage], metadata: Metadata, shard_size: int
) -> Manifest:
    ids = [image.id for image in images]
    if not ids:
        raise ValueError("Expected images. Received: none.")
    for id in ids:
        try:
            id.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"Expected an id in Unicode. Received: id={id!r}. Rename the "
                "file."
            ) from error
    if len(set(ids)) < len(ids):
        ((twice, count),) = collections.Counter(ids).most_common(1)
        raise ValueError(
            f"Expected ids that are unique. Received: id={twice!r}, "
            f"{count} times."
        )
    return Manifest(metadata, len(ids), shard_size, ids_digest(ids))


def _begin(directory: str | os.PathLike[str], manifest: Manifest) -> None:
    """Makes the folder one of this extraction, or finds that it is."""
    for name in os.listdir(directory):
        if is_temporary(name):
            os.remove(os.path.join(directory, name))
    path = os.path.join(directory, FILE_NAME)
    if not os.path.exists(path):
        others = sorted(set(os.listdir(directory)) - {LOCK_NAME})
        if others:
            raise UserError(
                "Expected a new folder, or one with annotations. Received: "
                f"{os.fspath(directory)!r}, which holds {others[0]!r}. "
                "Choose another with --annotations=OTHER_DIR."
            )
        write_json(path, manifest.to_dict())
        return
    found = Manifest.read(directory)
    _check_equal(directory, manifest.metadata, found.metadata)
    for name in ("images", "shard_size", "ids_digest"):
        if getattr(found, name) != getattr(manifest, name):
            raise UserError(
                f"The annotations in {os.fspath(directory)!r} are of other "
                f"images: expected {name} {getattr(manifest, name)}, found "
                f"{getattr(found, name)}. Delete that folder, or choose "
                "another: "
                f"{extract_command('OTHER_DIR', manifest.metadata)}"
            )


def _check_equal(
    directory: str | os.PathLike[str], expected: Metadata, found: Metadata
) -> None:
    differences = expected.differences(found)
    if differences:
        raise UserError(
            f"The annotations in {os.fspath(directory)!r} are others: "
            f"{'; '.join(differences)}. Extract them into another folder: "
            f"{extract_command('OTHER_DIR', expected)}"
        )


def _read_index(
    directory: str | os.PathLike[str], manifest: Manifest, shard: int
) -> ShardIndex:
    return ShardIndex.read(
        shard_path(directory, shard, manifest.shards),
        manifest.shard_images(shard),
        manifest.metadata,
    )


def _extract(
    images: Sequence[CaptionedImage],
    encoder: Encoder,
    directory: str | os.PathLike[str],
    manifest: Manifest,
    batch_size: int,
    workers: int,
    max_skipped: float,
    verbose: bool,
) -> None:
    """Writes every shard that is not finished yet."""
    pending = {}
    skipped: list[Skipped] = []
    for shard in range(manifest.shards):
        first = shard * manifest.shard_size
        chosen = images[first : first + manifest.shard_size]
        index = _finished(chosen, directory, manifest, shard)
        if index is None:
            pending[shard] = chosen
        else:
            skipped.extend(index.skipped)
    limit = max_skipped * manifest.images
    _check_skipped(skipped, limit, manifest.images)

    todo = [image for chosen in pending.values() for image in chosen]
    if verbose and len(todo) < manifest.images:
        kept = manifest.images - len(todo)
        print(f"{kept} of {manifest.images} images are done already")
    bar = keras.utils.Progbar(
        len(todo), verbose=int(verbose), unit_name="image"
    )
    done = 0
    ahead = prepared_ahead(
        todo,
        encoder.image_size,
        manifest.metadata.resize_mode,
        workers,
        window=2 * batch_size,
    )
    with contextlib.closing(ahead):
        for shard, chosen in pending.items():
            path = shard_path(directory, shard, manifest.shards)
            with ShardWriter(path) as writer:
                for first in range(0, len(chosen), batch_size):
                    batch = chosen[first : first + batch_size]
                    pixels = [next(ahead) for _ in batch]
                    skipped.extend(
                        write_batch(
                            writer,
                            batch,
                            pixels,
                            encoder,
                            manifest.metadata,
                            batch_size,
                        )
                    )
                    done += len(batch)
                    bar.update(done)
            _check_skipped(skipped, limit, manifest.images)


def _finished(
    chosen: Sequence[CaptionedImage],
    directory: str | os.PathLike[str],
    manifest: Manifest,
    shard: int,
) -> ShardIndex | None:
    """The index of a shard that needs no more work.

    A shard is done again if it is damaged, or if one of the images that it
    skipped can be read by now.
    """
    path = shard_path(directory, shard, manifest.shards)
    if not os.path.exists(index_path(path)):
        return None
    try:
        index = _read_index(directory, manifest, shard)
    except UserError:
        return None
    if index.ids != tuple(image.id for image in chosen):
        return None
    if file_digest(path) != index.sha256:
        return None
    unreadable = {skipped.name for skipped in index.skipped}
    metadata = manifest.metadata
    for image in chosen:
        if image.id in unreadable and not isinstance(
            prepare(image, metadata.image_size, metadata.resize_mode), str
        ):
            return None
    return index


def _check_skipped(
    skipped: Sequence[Skipped], limit: float, images: int
) -> None:
    if len(skipped) > limit:
        shown = "\n".join(f"  {s.name}: {s.reason}" for s in skipped[:5])
        raise UserError(
            f"Expected at most {int(limit)} of {images} images to be "
            f"unreadable. Received: {len(skipped)} that are; the first:\n"
            f"{shown}\nMend or remove them and run the extraction again; "
            "what is extracted is kept."
        )


def write_batch(
    writer: ShardWriter,
    batch: Sequence[CaptionedImage],
    pixels: Sequence[np.ndarray | str],
    encoder: Encoder,
    metadata: Metadata,
    batch_size: int,
) -> list[Skipped]:
    """Encodes a batch into a shard; returns the images that were skipped.

    Args:
        writer: The shard.
        batch: The images.
        pixels: Of each image uint8 (S, S, 3), or why there are none.
        encoder: The encoder.
        metadata: What its annotations are.
        batch_size: To how many images the batch is filled up.

    Returns:
        The images without pixels, and why.
    """
    side = encoder.image_size
    filled = np.zeros((batch_size, side, side, 3), np.uint8)
    for row, square in enumerate(pixels):
        if not isinstance(square, str):
            filled[row] = square
    annotations = np.asarray(encoder.model.predict_on_batch(filled))
    skipped = []
    for image, square, annotation in zip(
        batch, pixels, annotations[: len(batch)], strict=True
    ):
        if isinstance(square, str):
            writer.skip(image.id, square)
            skipped.append(Skipped(image.id, square))
        else:
            record = encode_annotations(annotation, metadata)
            writer.add(image.id, record)
    return skipped
