"""Decodes images and fits them to squares, inside a TensorFlow graph.

What `decoding.decode_image` and `decoding.fit_image` do, of stock operations
only, for models that are served. Pixels are the same to the last bit (JPEG
as far as both libraries decode alike, as those of the wheels do), with these
exceptions: an EXIF orientation is not applied, WebP and BMP with a palette or
with bit fields are not read, at most 50 megapixels are decoded (and of JPEG
less, see `costs`), a border that the first frame of a GIF leaves is black, and
the transparent level of a grey PNG with 2 or 4 bits may be another.

TensorFlow's decoders raise at what they cannot read, and so fail the entire
batch. Here each image is decoded in its own dataset, which ignores errors.
"""

import tensorflow as tf

from pipelines.images.costs import (
    MAX_SIDE,
    SCANNED_A_BYTE,
    SERVED_MEMORY_A_BYTE,
    SERVED_PIXELS,
    SMALL,
)
from pipelines.images.decoding import RESIZE_MODES

MAX_PIXELS = SERVED_PIXELS

# Images of a batch that are decoded at the same time.
_PARALLEL = 4
# With all that makes the offsets of sizes certain.
_SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"GIF87a",
    b"GIF89a",
    b"BM",
)
# Of a GIF's first frame, and blocks of up to 255 bytes of each: no small file
# may keep the loops below busy for long.
_MAX_GIF_EXTENSIONS = 2**12
_MAX_GIF_BLOCKS = 2**17
_GIF_BLOCKS_A_STEP = 8
_MAX_JPEG_SEGMENTS = 2**13
_TO_THE_END = 2**31 - 1
_GREY_PALETTE = bytes(x for i in range(256) for x in (i, i, i, 0))


def decode_squares(images, size: int, resize_mode: str):
    """Decodes encoded images `(N,)` and fits them to the square of an encoder.

    No image makes it raise. The announced size is checked before anything
    is decoded, and only the first frame of an animation is. Returns uint8
    `(N, size, size, 3)`, RGB, zero where an image cannot be decoded; and
    bool `(N,)`, whether it was.
    """
    if resize_mode not in RESIZE_MODES:
        raise ValueError(
            f"Expected a resize_mode of {RESIZE_MODES}. Received: "
            f"resize_mode={resize_mode!r}."
        )
    black = tf.zeros((size, size, 3), tf.uint8)
    fallback = tf.data.Dataset.from_tensors((black, False))

    def decoded(image):
        return _fit(_decode(image), size, resize_mode), True

    def first_of(image):
        one = tf.data.Dataset.from_tensors(image).map(decoded)
        return one.ignore_errors().concatenate(fallback).take(1)

    each = tf.data.Dataset.from_tensor_slices(images).interleave(
        first_of,
        cycle_length=_PARALLEL,
        num_parallel_calls=_PARALLEL,
        deterministic=True,
    )
    count = tf.shape(images, out_type=tf.int64)[0]
    squares, valid = each.batch(count).get_single_element()
    return tf.ensure_shape(squares, (None, size, size, 3)), valid


def _decode(data):
    """Decodes one image to uint8 `(H, W, 3)` or `(H, W, 4)`, or raises."""
    start = tf.strings.substr(data, 0, 16)
    matches = [
        tf.equal(tf.strings.substr(start, 0, len(signature)), signature)
        for signature in _SIGNATURES
    ]
    kind = tf.argmax(tf.stack([*matches, True]), output_type=tf.int32)
    return tf.switch_case(
        kind,
        [
            lambda: _decode_jpeg(data),
            lambda: _decode_png(data),
            lambda: _decode_gif(data),
            lambda: _decode_gif(data),
            lambda: _decode_bmp(data),
            lambda: tf.io.decode_png(""),  # Raises.
        ],
    )


def _decode_jpeg(data):
    shape = tf.cast(tf.image.extract_jpeg_shape(data), tf.int64)
    data, scans, kept, walked = _jpeg_scans(data, shape[2])
    pixels, size = shape[0] * shape[1], tf.strings.length(data)
    size = tf.cast(tf.maximum(size, SMALL), tf.int64)
    memory = pixels * tf.where(kept, 3 + 2 * shape[2], 3)
    affordable = walked & (memory <= SERVED_MEMORY_A_BYTE * size)
    affordable &= scans * pixels <= SCANNED_A_BYTE * size
    data = _checked(data, shape[0], shape[1], affordable)
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _jpeg_scans(data, channels):
    """Cuts off what follows a JPEG; counts its scans, as in `costs`.

    Segments are walked as far as the first scan. Where a later one holds what
    looks like the end, no decoder will see what is behind it.
    """
    zero, one, two = (tf.constant(n, tf.int64) for n in range(3))

    def marker_at(at):
        return _integer(data, at, size=2, big_endian=True)

    def next_segment(at, progressive):
        marker = marker_at(at)
        progressive |= tf.reduce_any(marker == [0xFFC2, 0xFFC6, 0xFFCA])
        # Decoders look for the next 0xFF, and some markers have no length.
        strays = (marker < 0xFF00) | (marker == 0xFFFF)
        bare = (marker <= 0xFF01) | ((marker >= 0xFFD0) & (marker <= 0xFFD8))
        step = tf.where(bare, two, two + marker_at(at + 2))
        return at + tf.where(strays, one, step), progressive

    start, progressive = tf.while_loop(
        lambda at, _: marker_at(at) != 0xFFDA,
        next_segment,
        (two, False),
        maximum_iterations=_MAX_JPEG_SEGMENTS,
    )
    walked = marker_at(start) == 0xFFDA
    rest = tf.strings.substr(data, start, _TO_THE_END)
    scanned = tf.io.decode_raw(rest, tf.uint8)
    marks = tf.where(scanned[:-1] == 0xFF, scanned[1:], 0)
    ends = tf.cast(marks == 0xD9, tf.uint8)
    size = tf.size(scanned, tf.int64)
    end = tf.where(tf.reduce_any(ends > 0), tf.argmax(ends), size)
    scans = tf.math.count_nonzero(marks[:end] == 0xDA)
    kept = progressive | (tf.cast(scanned[4], tf.int64) < channels)
    data = tf.strings.substr(data, zero, start + end + 2)
    return data, scans, kept, walked


def _decode_png(data):
    width, height = (_integer(data, i, big_endian=True) for i in (16, 20))
    data = _checked(data, height, width)
    depth = tf.io.decode_raw(tf.strings.substr(data, 24, 1), tf.uint8)[0]

    def opaque():
        # Transparency of a palette is a chunk of this name.
        return tf.equal(tf.size(tf.strings.split(data, "tRNS")), 1)

    # Where pixels have fewer than 8 bits, an opaque alpha would have as few.
    shallow = tf.cond(depth < 8, opaque, lambda: False)
    return tf.cond(
        shallow,
        lambda: tf.io.decode_png(data, channels=3),
        lambda: tf.io.decode_png(data, channels=4),
    )


def _decode_bmp(data):
    width, height = _integer(data, 18), tf.abs(_integer(data, 22))
    bits = _integer(data, 28, size=2)
    palette = tf.strings.substr(data, 54, 1024)
    grey = (bits == 8) & tf.equal(palette, _GREY_PALETTE)
    plain = tf.equal(_integer(data, 30), 0)  # Not compressed.
    modern = _integer(data, 14) >= 40  # Size of the header.
    readable = ((bits == 24) | (bits == 32) | grey) & plain & modern
    pixels = tf.io.decode_bmp(_checked(data, height, width, readable))
    copies = tf.where(tf.shape(pixels)[2] == 1, 3, 1)
    return tf.tile(pixels, [1, 1, copies])[:, :, :3]


def _decode_gif(data):
    """Decodes the first frame, transparent pixels in white."""
    width, height = (_integer(data, i, size=2) for i in (6, 8))
    data = _first_frame(_checked(data, height, width))
    return tf.io.decode_gif(data)[0]


def _first_frame(data):
    """Returns a GIF of the first frame only, without extensions."""
    content = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32)

    def byte(offset):
        return tf.gather(content, offset)

    def table_size(flags):
        entries = tf.bitwise.left_shift(2, flags & 7)
        return tf.where(flags & 0x80 > 0, 3 * entries, 0)

    def after_blocks(offset):
        """Skips blocks of data, up to and with the empty one at the end."""

        def several_further(at):
            for _ in range(_GIF_BLOCKS_A_STEP):
                size = byte(at)
                at += tf.where(size > 0, 1 + size, 0)
            return (at,)

        (last,) = tf.while_loop(
            lambda at: byte(at) > 0,
            several_further,
            (offset,),
            maximum_iterations=_MAX_GIF_BLOCKS // _GIF_BLOCKS_A_STEP,
        )
        return last + 1

    def next_extension(offset, transparent):
        graphics = (byte(offset + 1) == 0xF9) & (byte(offset + 3) & 1 > 0)
        transparent = tf.where(graphics, byte(offset + 6), transparent)
        return after_blocks(offset + 2), transparent

    head = 13 + table_size(byte(10))
    frame, transparent = tf.while_loop(
        lambda offset, _: byte(offset) == 0x21,
        next_extension,
        (head, -1),
        maximum_iterations=_MAX_GIF_EXTENSIONS,
    )
    local_table = table_size(byte(frame + 9))
    end = after_blocks(frame + 10 + local_table + 1)
    header = tf.strings.substr(data, 0, head)
    image = tf.strings.substr(data, frame, end - frame)
    table = tf.where(local_table > 0, head + 10, 13)
    gif = _with_white(header + image + b";", table, transparent)
    width, height = (_integer(data, frame + i, size=2) for i in (5, 7))
    return _checked(gif, height, width, byte(frame) == 0x2C)


def _with_white(gif, table, transparent):
    """Makes the transparent colour of a table white, if there is one."""
    offset = table + 3 * tf.maximum(transparent, 0)
    colour = tf.strings.substr(gif, offset, 3)
    colour = tf.where(transparent >= 0, b"\xff\xff\xff", colour)
    before = tf.strings.substr(gif, 0, offset)
    return before + colour + tf.strings.substr(gif, offset + 3, _TO_THE_END)


def _integer(data, offset, size: int = 4, big_endian: bool = False):
    """Reads an integer, int64; raises beyond the end."""
    kind = {2: tf.uint16, 4: tf.int32}[size]
    raw = tf.strings.substr(data, offset, size)
    read = tf.io.decode_raw(raw, kind, little_endian=not big_endian)
    return tf.cast(read[0], tf.int64)


def _checked(data, height, width, readable=True):
    """Returns the data, or nothing, which no decoder reads."""
    # Each by itself first, because the product of two may overflow.
    sides = tf.stack([height, width])
    allowed = tf.reduce_all((sides > 0) & (sides <= MAX_SIDE))
    allowed = allowed & (height * width <= MAX_PIXELS) & readable
    return tf.where(allowed, data, b"")


def _fit(pixels, size: int, resize_mode: str):
    """`decoding.fit_image`, after which what is transparent is on white."""
    shape = tf.shape(pixels, out_type=tf.int64)
    if resize_mode == "squash":
        height = width = tf.constant(size, tf.int64)
    else:
        shorter = tf.minimum(shape[0], shape[1])
        target = round(size * 256 / 224)
        height, width = (
            (2 * shape[axis] * target + shorter) // (2 * shorter)
            for axis in (0, 1)
        )
    top, bottom, rows = _neighbours(shape[0], height, size)
    left, right, columns = _neighbours(shape[1], width, size)
    rows, columns = rows[:, None, None], columns[None, :, None]

    # By one number a pixel: an entire row of an odd image may be huge.
    flat = tf.reshape(pixels, (-1, tf.shape(pixels)[2]))

    def pixels_at(chosen_rows, chosen_columns):
        offsets = chosen_rows[:, None] * shape[1] + chosen_columns
        return _on_white(tf.gather(flat, offsets))

    def along_columns(chosen_rows):
        at_left = pixels_at(chosen_rows, left)
        at_right = pixels_at(chosen_rows, right)
        return at_left + (at_right - at_left) * columns

    above, below = along_columns(top), along_columns(bottom)
    fitted = tf.round(above + (below - above) * rows)
    return tf.ensure_shape(tf.cast(fitted, tf.uint8), (size, size, 3))


def _on_white(pixels):
    """Lays uint8 `(H, W, 3)` or `(H, W, 4)` on white; float32 `(H, W, 3)`.

    In Pillow's integers, `Image.alpha_composite`.
    """
    channels = tf.shape(pixels)[2]
    opaque = tf.pad(
        pixels, [[0, 0], [0, 0], [0, 4 - channels]], constant_values=255
    )
    values = tf.cast(opaque, tf.int32)
    colour, alpha = values[..., :3], values[..., 3:4]
    mixed = 128 * (colour * alpha + 255 * (255 - alpha) + 128)
    mixed = tf.bitwise.right_shift(mixed, 8) + mixed
    return tf.cast(tf.bitwise.right_shift(mixed, 15), tf.float32)


def _neighbours(source, target, size: int):
    """Lower and upper neighbour and the weight of the upper, see `decoding`."""
    half = tf.constant(0.5)
    scale = tf.cast(source, tf.float32) / tf.cast(target, tf.float32)
    first = (target - size) // 2
    pixel = tf.cast(first + tf.range(size, dtype=tf.int64), tf.float32)
    position = (pixel + half) * scale - half
    floor = tf.floor(position)
    lower = tf.cast(tf.maximum(floor, 0.0), tf.int64)
    upper = tf.minimum(tf.cast(tf.math.ceil(position), tf.int64), source - 1)
    return tf.minimum(lower, source - 1), upper, position - floor
