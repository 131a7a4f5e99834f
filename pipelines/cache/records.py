"""Annotations as bytes, and the shards that hold them.

A record is one image's annotations, channel-major (D, L), because a channel
that found nothing in the image is then one run of zeros:

- `sqrt8`: two little-endian float32, the lowest and the highest signed
  square root s = sign(a) sqrt(|a|) of the image, then each s as one byte,
  linearly between the two. After a ReLU the lowest is zero, and zeros stay
  zeros.
- `float16`: the values rounded to little-endian float16, nothing lost
  after.

Either is one zlib stream, compressed by runs and Huffman codes alone
(`Z_RLE`): on real photos that is smaller than searching for longer repeats,
and faster. Pixels (`uint8`) are a PNG file.

A shard is a standard TFRecord file of such records, and beside it lies its
index in JSON: which image each record is of, where it lies, its CRC-32, and
which images were skipped and why. The index is written last: a shard with
an index is a finished one.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines.cache.metadata import Metadata, read_object
from pipelines.cache.precisions import EXACT
from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.files import write_json

# Around every payload, a TFRecord file has a length and two checksums.
_BYTES_BEFORE = 12
_BYTES_AFTER = 4
# A PNG file says its width and height in eight bytes from here on.
_PNG_SIZE_AT = 16
_TEMPORARY = re.compile(
    r"(metadata|annotations-\d{5}-of-\d{5})\.(json|tfrecord)\.tmp-\d+"
)


def encode_annotations(annotations: np.ndarray, metadata: Metadata) -> bytes:
    """Packs one image's annotations.

    Args:
        annotations: float32 (L, D), finite.
        metadata: What they are; its precision chooses the packing.

    Returns:
        The record.

    Raises:
        UserError: A value is not finite, or too large for float16.
        ValueError: The shape is not (L, D).
    """
    shape = (metadata.locations, metadata.depth)
    if annotations.shape != shape:
        raise ValueError(
            f"Expected annotations of shape {shape}. Received: "
            f"shape={annotations.shape}."
        )
    if not np.isfinite(annotations).all():
        raise UserError(
            f"The encoder {metadata.encoder} gave annotations that are not "
            "finite. Check its weights: --encoder_weights=FILE."
        )
    if metadata.precision == EXACT:
        return _png(annotations.reshape(*metadata.grid, metadata.depth))
    channels = np.ascontiguousarray(annotations.T, np.float32)
    if metadata.precision == "float16":
        return _deflate(_float16(channels).tobytes())
    roots = np.sign(channels) * np.sqrt(np.abs(channels))
    low, high = roots.min(), roots.max()
    step = (high - low) / np.float32(255)
    if step > 0:
        codes = np.rint((roots - low) / step).clip(0, 255).astype(np.uint8)
    else:
        codes = np.zeros(roots.shape, np.uint8)
    bounds = np.array([low, high], "<f4")
    return _deflate(bounds.tobytes() + codes.tobytes())


def decode_annotations(record: bytes, metadata: Metadata) -> np.ndarray:
    """Unpacks one image's annotations, in NumPy.

    Args:
        record: What `encode_annotations` gave.
        metadata: What they are.

    Returns:
        float32 (L, D).

    Raises:
        UserError: The record is damaged or of another shape.
    """
    if metadata.precision == EXACT:
        return _pixels(record, metadata).reshape(-1, metadata.depth)
    data = _inflate(record, raw_bytes(metadata))
    shape = (metadata.depth, metadata.locations)
    if metadata.precision == "float16":
        values = np.frombuffer(data, "<f2").astype(np.float32)
    else:
        low, high = np.frombuffer(data, "<f4", count=2)
        step = (high - low) / np.float32(255)
        codes = np.frombuffer(data, np.uint8, offset=8).astype(np.float32)
        roots = codes * step + low
        values = roots * np.abs(roots)
    return np.ascontiguousarray(values.reshape(shape).T)


def decode_annotations_batch(
    records: tf.Tensor, metadata: Metadata
) -> tf.Tensor:
    """Unpacks a batch of annotations, by operations of the graph alone.

    Args:
        records: tf.string (B,).
        metadata: What they are.

    Returns:
        tf.float32 (B, L, D).

    Raises:
        tf.errors.OpError: A record is damaged or of another shape.
    """
    batch = tf.shape(records)[0]
    depth, locations = metadata.depth, metadata.locations
    if metadata.precision == EXACT:
        pixels = _pixels_batch(records, metadata)
        return tf.reshape(pixels, [batch, locations, depth])
    data = tf.io.decode_compressed(records, "ZLIB")
    if metadata.precision == "float16":
        values = tf.cast(tf.io.decode_raw(data, tf.float16), tf.float32)
        values = tf.reshape(values, [batch, depth, locations])
    else:
        data = tf.io.decode_raw(data, tf.uint8)  # (B, 8 + D L)
        bounds = tf.reshape(data[:, :8], [batch, 2, 4])
        bounds = tf.bitcast(bounds, tf.float32)
        low, high = bounds[:, 0, None, None], bounds[:, 1, None, None]
        codes = tf.reshape(data[:, 8:], [batch, depth, locations])
        roots = tf.cast(codes, tf.float32) * ((high - low) / 255.0) + low
        values = roots * tf.abs(roots)  # (B, D, L)
    values = tf.transpose(values, [0, 2, 1])
    return tf.ensure_shape(values, [None, locations, depth])


def raw_bytes(metadata: Metadata) -> int:
    """Returns how many bytes a record has before compression."""
    values = metadata.locations * metadata.depth
    return 2 * values if metadata.precision == "float16" else 8 + values


def max_record_bytes(metadata: Metadata) -> int:
    """Returns how many bytes a record can have at most."""
    raw = raw_bytes(metadata)
    return raw + raw // 100 + 1024


def shard_path(
    directory: str | os.PathLike[str], shard: int, shards: int
) -> str:
    """Returns the path of a shard; its index ends in `.json` instead."""
    return os.path.join(
        directory, f"annotations-{shard:05d}-of-{shards:05d}.tfrecord"
    )


def index_path(path: str) -> str:
    """Returns the path of the index that lies beside a shard."""
    return f"{path.removesuffix('.tfrecord')}.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """Where the annotations of one image lie in their shard.

    Attributes:
        id: The image.
        offset: Where the record begins in the shard, in bytes.
        length: How many bytes it has.
        crc32: Its CRC-32.
    """

    id: str
    offset: int
    length: int
    crc32: int


@dataclasses.dataclass(frozen=True)
class ShardIndex:
    """The index of a finished shard.

    Attributes:
        images: The records and the skipped images, in the order of the
            images.
        bytes: Size of the shard.
        sha256: SHA-256 of the shard.
    """

    images: tuple[Record | Skipped, ...]
    bytes: int
    sha256: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all its images, skipped ones included."""
        return tuple(
            image.id if isinstance(image, Record) else image.name
            for image in self.images
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """The records alone."""
        return tuple(i for i in self.images if isinstance(i, Record))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The skipped images alone."""
        return tuple(i for i in self.images if isinstance(i, Skipped))

    @classmethod
    def read(cls, path: str, count: int, metadata: Metadata) -> "ShardIndex":
        """Reads the index beside a shard, and checks it against the shard.

        Args:
            path: The shard.
            count: How many images it is of, skipped ones included.
            metadata: What its annotations are.

        Returns:
            The index.

        Raises:
            UserError: Either file is missing or damaged.
        """
        values = read_object(index_path(path))
        try:
            size = os.path.getsize(path)
            index = cls(
                images=tuple(_image(image) for image in values["images"]),
                bytes=values["bytes"],
                sha256=values["sha256"],
            )
            if size != index.bytes or len(index.images) != count:
                raise ValueError("the size is not what the index says")
            if not isinstance(index.sha256, str):
                raise TypeError("the SHA-256 is no text")
            longest = max_record_bytes(metadata)
            for record in index.records:
                end = record.offset + record.length + _BYTES_AFTER
                if (
                    record.offset < _BYTES_BEFORE
                    or not 0 < record.length <= longest
                    or end > size
                ):
                    raise ValueError(f"no record of {record.id!r} fits there")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"The shard {path} is damaged ({error!r})."
            ) from error
        return index


class ShardWriter:
    """Writes one shard and then its index, each whole or not at all.

    A context manager: what was added is kept when it ends without error.
    """

    def __init__(self, path: str) -> None:
        """Begins a shard.

        Args:
            path: Where it will lie.
        """
        self._path = path
        self._temporary = temporary_path(path)
        self._images: list[dict] = []
        self._end = 0

    def __enter__(self) -> "ShardWriter":
        """Opens the file beside the one that will be."""
        with _system_errors():
            self._writer = tf.io.TFRecordWriter(self._temporary)
        return self

    def add(self, id: str, record: bytes) -> None:
        """Appends the record of an image."""
        with _system_errors():
            self._writer.write(record)
        self._images.append(
            {
                "id": id,
                "offset": self._end + _BYTES_BEFORE,
                "length": len(record),
                "crc32": zlib.crc32(record),
            }
        )
        self._end += _BYTES_BEFORE + len(record) + _BYTES_AFTER

    def skip(self, id: str, reason: str) -> None:
        """Notes an image that has no record."""
        self._images.append({"id": id, "skipped": reason})

    def __exit__(self, kind, error, traceback) -> None:
        """Puts the shard and its index in place, or removes what there is."""
        try:
            with _system_errors():
                self._writer.close()
            if kind is None:
                self._finish()
        finally:
            if os.path.exists(self._temporary):
                os.remove(self._temporary)

    def _finish(self) -> None:
        digest = file_digest(self._temporary)
        size = os.path.getsize(self._temporary)
        if size != self._end:
            raise OSError(f"{self._temporary}: {size} bytes, not {self._end}")
        # An index of an earlier shard must never stand beside a new one.
        index = index_path(self._path)
        if os.path.exists(index):
            os.remove(index)
        _sync(self._temporary)
        os.replace(self._temporary, self._path)
        _sync(os.path.dirname(self._path) or ".")
        values = {"bytes": size, "sha256": digest, "images": self._images}
        write_json(index, values)


def temporary_path(path: str) -> str:
    """Returns the name under which a file is written before it is whole."""
    return f"{path}.tmp-{os.getpid()}"


def is_temporary(name: str) -> bool:
    """Tells whether a file name is one that `temporary_path` gave here."""
    return _TEMPORARY.fullmatch(name) is not None


def file_digest(path: str) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """Turns TensorFlow's errors of writing into those of Python."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _sync(path: str) -> None:
    """Waits until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _image(values: dict) -> Record | Skipped:
    """One image of an index that may say anything."""
    if not isinstance(values["id"], str):
        raise TypeError("an id is no text")
    if "skipped" in values:
        if not isinstance(values["skipped"], str):
            raise TypeError("a reason is no text")
        return Skipped(values["id"], values["skipped"])
    numbers = [values[name] for name in ("offset", "length", "crc32")]
    if any(type(number) is not int for number in numbers):
        raise TypeError("a number is missing")
    return Record(values["id"], *numbers)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _pixels(record: bytes, metadata: Metadata) -> np.ndarray:
    """Reads a PNG file of the right size as float32 (rows, columns, 3)."""
    rows, columns = metadata.grid
    try:
        with Image.open(io.BytesIO(record), formats=["PNG"]) as image:
            if (image.size, image.mode) != ((columns, rows), "RGB"):
                raise ValueError(f"{image.size} pixels, {image.mode}")
            return np.asarray(image, np.float32)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"A record is damaged: {error}.") from error


def _pixels_batch(records: tf.Tensor, metadata: Metadata) -> tf.Tensor:
    """The same in the graph, float32 (B, rows, columns, 3)."""
    rows, columns = metadata.grid
    size = struct.pack(">II", columns, rows)
    found = tf.strings.substr(records, _PNG_SIZE_AT, len(size))
    tf.debugging.Assert(
        tf.reduce_all(found == size),
        ["A record is damaged: no PNG file of the right size."],
    )
    pixels = tf.map_fn(
        lambda record: tf.io.decode_png(record, channels=3),
        records,
        fn_output_signature=tf.TensorSpec((rows, columns, 3), tf.uint8),
    )
    return tf.cast(pixels, tf.float32)


def _float16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = values.astype("<f2")
    if not np.isfinite(rounded).all():
        raise UserError(
            f"Expected annotations of at most {np.finfo(np.float16).max}. "
            f"Received: {np.abs(values).max()}. Take --precision=sqrt8."
        )
    return rounded


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(level=6, memLevel=9, strategy=zlib.Z_RLE)
    return compressor.compress(data) + compressor.flush()


def _inflate(record: bytes, expected: int) -> bytes:
    """Decompresses to exactly so many bytes, never to more."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(record, expected + 1)
    except zlib.error as error:
        raise UserError(f"A record is damaged: {error}.") from error
    if len(data) != expected or not stream.eof or stream.unused_data:
        raise UserError(
            f"Expected a record of {expected} bytes. Received: "
            f"{len(data)} bytes or more."
        )
    return data
