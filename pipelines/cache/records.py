"""Encodes one image's annotations as the bytes of a record, and decodes them.

A record is channel-major (D, L), because a channel without activations in the
image is then one run of zeros. Of several layers or networks side by side each
has its own grid there, one after another, and decoding repeats what a coarser
one has for several locations:

- `sqrt8`: two little-endian float32, the lowest and the highest signed
  square root s = sign(a) sqrt(|a|) of the image, then each s as one byte,
  linearly between the two. After a ReLU the lowest is zero, and zeros stay
  zeros.
- `float16`: the values rounded to little-endian float16.

Either is one zlib stream, compressed by runs and Huffman codes only
(`Z_RLE`): on real photos that is smaller than searching for longer repeats,
and faster. Pixels (`uint8`) are a PNG file.
"""

import io
import math
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines.cache.metadata import Metadata
from pipelines.cache.precisions import EXACT
from pipelines.errors import UserError

# Where a PNG file has its width and height, eight bytes.
_PNG_SIZE_OFFSET = 16


def encode_annotations(annotations: np.ndarray, metadata: Metadata) -> bytes:
    """Encodes annotations `(L, D)`, finite float32, as one record."""
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
        pixels = annotations.reshape(*metadata.grid, metadata.depth)
        file = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
        return file.getvalue()
    parts = _without_repeats(annotations, metadata)
    channels = np.concatenate(parts, axis=None)
    if metadata.precision == "float16":
        return deflate(_float16(channels).tobytes())
    roots = np.sign(channels) * np.sqrt(np.abs(channels))
    low, high = roots.min(), roots.max()
    step = (high - low) / np.float32(255)
    codes = np.zeros(roots.shape, np.uint8)
    if step > 0:
        codes = np.rint((roots - low) / step).clip(0, 255).astype(np.uint8)
    bounds = np.array([low, high], "<f4")
    return deflate(bounds.tobytes() + codes.tobytes())


def decode_annotations(record: bytes, metadata: Metadata) -> np.ndarray:
    """Decodes one record in NumPy, to float32 `(L, D)`."""
    if metadata.precision == EXACT:
        return _decode_png(record, metadata).reshape(-1, metadata.depth)
    expected = raw_bytes(metadata)
    data = inflate(record, expected)
    if len(data) != expected:
        raise UserError(
            f"Expected a record of {expected} bytes. Received: {len(data)}."
        )
    if metadata.precision == "float16":
        values = np.frombuffer(data, "<f2").astype(np.float32)
    else:
        low, high = np.frombuffer(data, "<f4", count=2)
        step = (high - low) / np.float32(255)
        codes = np.frombuffer(data, np.uint8, offset=8).astype(np.float32)
        roots = codes * step + low
        values = roots * np.abs(roots)
    annotations = np.empty((metadata.locations, metadata.depth), np.float32)
    start = channel = 0
    for rows, columns, depth in metadata.stored:
        end = start + rows * columns * depth
        part = values[start:end].reshape(depth, -1).T  # (locations, depth)
        if rows * columns < metadata.locations:
            part = part[_location_of_each(metadata, rows, columns)]
        annotations[:, channel : channel + depth] = part
        start, channel = end, channel + depth
    return annotations


def decode_annotations_batch(
    records: tf.Tensor, metadata: Metadata
) -> tf.Tensor:
    """Decodes records `(B,)` by graph operations, to float32 `(B, L, D)`."""
    batch = tf.shape(records)[0]
    depth, locations = metadata.depth, metadata.locations
    if metadata.precision == EXACT:
        pixels = _decode_png_batch(records, metadata)
        return tf.reshape(pixels, [batch, locations, depth])
    data = tf.io.decode_compressed(records, "ZLIB")
    if metadata.precision == "float16":
        values = tf.cast(tf.io.decode_raw(data, tf.float16), tf.float32)
        values = tf.reshape(values, [batch, _values(metadata)])
    else:
        data = tf.io.decode_raw(data, tf.uint8)  # (B, 8 + values)
        bounds = tf.bitcast(tf.reshape(data[:, :8], [batch, 2, 4]), tf.float32)
        low, high = bounds[:, 0, None], bounds[:, 1, None]
        codes = tf.reshape(data[:, 8:], [batch, _values(metadata)])
        roots = tf.cast(codes, tf.float32) * ((high - low) / 255.0) + low
        values = roots * tf.abs(roots)
    parts = []
    sizes = [math.prod(part) for part in metadata.stored]
    splits = tf.split(values, sizes, axis=1)
    for part, (rows, columns, part_depth) in zip(
        splits, metadata.stored, strict=True
    ):
        part = tf.reshape(part, [batch, part_depth, rows * columns])
        part = tf.transpose(part, [0, 2, 1])
        if rows * columns < locations:
            each = _location_of_each(metadata, rows, columns)
            part = tf.gather(part, each, axis=1)
        parts.append(part)
    annotations = tf.concat(parts, axis=2) if len(parts) > 1 else parts[0]
    return tf.ensure_shape(annotations, [None, locations, depth])


def raw_bytes(metadata: Metadata) -> int:
    """Returns how many bytes a record has before compression."""
    values = _values(metadata)
    return 2 * values if metadata.precision == "float16" else 8 + values


def max_record_bytes(metadata: Metadata) -> int:
    """Returns how many bytes a record can have at most."""
    raw = raw_bytes(metadata)
    return raw + raw // 100 + 1024


def deflate(data: bytes) -> bytes:
    """Compresses to one zlib stream."""
    compressor = zlib.compressobj(level=6, memLevel=9, strategy=zlib.Z_RLE)
    return compressor.compress(data) + compressor.flush()


def inflate(data: bytes, limit: int) -> bytes:
    """Decompresses one zlib stream of at most `limit` bytes."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise UserError(f"A record is damaged: {error}.") from error
    if len(inflated) > limit or not stream.eof or stream.unused_data:
        raise UserError(
            f"Expected one zlib stream of at most {limit} bytes. Received: "
            "another."
        )
    return inflated


def _values(metadata: Metadata) -> int:
    return sum(math.prod(part) for part in metadata.stored)


def _without_repeats(
    annotations: np.ndarray, metadata: Metadata
) -> list[np.ndarray]:
    """Returns each part channel-major, without the locations it repeats."""
    grid, parts, channel = metadata.grid, [], 0
    squares = annotations.reshape(*grid, metadata.depth)
    for rows, columns, depth in metadata.stored:
        part = squares[
            :: grid[0] // rows,
            :: grid[1] // columns,
            channel : channel + depth,
        ]
        parts.append(part.astype(np.float32).transpose(2, 0, 1))
        channel += depth
    return parts


def _location_of_each(metadata: Metadata, rows: int, columns: int):
    """Of each location of the grid, the one of a coarser grid it lies in."""
    numbers = np.arange(rows * columns).reshape(rows, columns)
    repeats = metadata.grid[0] // rows, metadata.grid[1] // columns
    return numbers.repeat(repeats[0], axis=0).repeat(repeats[1], axis=1).ravel()


def _decode_png(record: bytes, metadata: Metadata) -> np.ndarray:
    """Reads a PNG file of the right size as float32 (rows, columns, 3)."""
    rows, columns = metadata.grid
    try:
        with Image.open(io.BytesIO(record), formats=["PNG"]) as image:
            if (image.size, image.mode) != ((columns, rows), "RGB"):
                raise ValueError(f"{image.size} pixels, {image.mode}")
            return np.asarray(image, np.float32)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"A record is damaged: {error}.") from error


def _decode_png_batch(records: tf.Tensor, metadata: Metadata) -> tf.Tensor:
    """The same in the graph, float32 (B, rows, columns, 3)."""
    rows, columns = metadata.grid
    size = struct.pack(">II", columns, rows)
    sizes = tf.strings.substr(records, _PNG_SIZE_OFFSET, len(size))
    tf.debugging.Assert(
        tf.reduce_all(sizes == size),
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
