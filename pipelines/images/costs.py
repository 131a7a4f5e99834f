"""What it costs to decode an image, and how much it may.

A file of a few bytes can announce what takes gigabytes to decode, or be read
anew by each of thousands of scans. Pixels alone do not tell: a pixel of a
WebP takes four times the memory of one of a grey PNG. So both the memory and
the work of scans are limited by the bytes of the file: photos come nowhere
near, as their pixels take bytes. Files below `SMALL` have the limits of one
of that size. The figures are measured, see docs/reference/images.md.
"""

import collections
import re
import struct

from PIL import Image

from pipelines.errors import UserError
from pipelines.images.formats import Format

MAX_PIXELS = 128_000_000
# What an uncompressed image of MAX_PIXELS takes, at four bytes a pixel.
MAX_BYTES = 4 * MAX_PIXELS + 4096
# Of rows and columns, as in libpng: each row costs memory of its own.
MAX_SIDE = 1_000_000

SMALL = 1_000_000  # bytes
# For each byte of a file: bytes of memory, and pixels of which scans decode
# a part each.
MEMORY_A_BYTE = 640
SCANNED_A_BYTE = 1_000

# In an exported model, which decodes several images at a time.
SERVED_PIXELS = 50_000_000
SERVED_MEMORY_A_BYTE = 250

# Of a pixel in Pillow's image and in the array of it; and in the decoder, or
# as much more as it is slower.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
_ARRAY_BYTES = 3
_DECODER_BYTES = {"WebP": 9, "AVIF": 9, "JPEG 2000": 13, "TIFF": 2}
_DEEP_PNG_BYTES = 5
_TIFF_JPEG_BYTES = 9  # libtiff refuses more than 100 scans.
_TILE_BYTES = 8  # Of four channels with 16 bits.

# Parts of JPEG that are no entropy-coded data, without those of two bytes.
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_END, _SCAN = 0xD9, 0xDA
_PROGRESSIVE = 0xC2, 0xC6, 0xCA, 0xCE


def check_bytes(count: int, name: str) -> None:
    """Raises a UserError where a file is empty or has too many bytes."""
    if count == 0:
        raise UserError(f"Expected an image. Received: {name}, which is empty.")
    if count > MAX_BYTES:
        raise UserError(
            f"Expected an image of at most {MAX_BYTES} bytes. "
            f"Received: {name}, {count} bytes. Make it smaller first."
        )


def check_pixels(size: tuple[int, int], name: str) -> None:
    """Raises a UserError where an image has too many pixels."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise UserError(too_many_pixels(name, f"{width} x {height}"))


def too_many_pixels(name: str, size: str) -> str:
    """Returns the message on an image of that size."""
    return (
        f"Expected an image of at most {MAX_PIXELS // 1_000_000} megapixels. "
        f"Received: {name}, {size}. Make it smaller first."
    )


def check_cost(
    image: Image.Image, data: bytes, kind: Format, name: str
) -> None:
    """Raises a UserError where it costs too much to decode an opened file."""
    check_pixels(image.size, name)
    width, height = image.size
    size = f"{name}, {width} x {height} in {len(data)} bytes"
    if max(image.size) > MAX_SIDE:
        raise UserError(
            f"Expected an image of at most {MAX_SIDE} pixels a side. "
            f"Received: {size}. Make it smaller first."
        )
    pixel_bytes = _MODE_BYTES.get(image.mode, 4) + _ARRAY_BYTES
    pixel_bytes += _DECODER_BYTES.get(kind.name, 0)
    tile, scans = 0, 0
    if kind.name == "JPEG":
        scans, kept = jpeg_scans(data)
        pixel_bytes += 2 * image.layers if kept else 0
    elif kind.name == "PNG":
        pixel_bytes += _DEEP_PNG_BYTES if data[24] == 16 else 0
    elif kind.name == "TIFF":
        tile = _tiff_tile(image, data, name)
        jpeg = "jpeg" in str(image.info.get("compression"))
        pixel_bytes += _TIFF_JPEG_BYTES if jpeg else 0
    memory = width * height * pixel_bytes + tile * _TILE_BYTES
    if memory > MEMORY_A_BYTE * max(len(data), SMALL):
        raise UserError(
            f"Expected an image of {MEMORY_A_BYTE * SMALL // 10**6} MB of "
            f"memory, or of {MEMORY_A_BYTE} bytes of it for each byte of the "
            f"file. Received: {size}, which take {memory // 10**6} MB. Make "
            "it smaller first."
        )
    most = SCANNED_A_BYTE * max(len(data), SMALL) // (width * height)
    if scans > most:
        raise UserError(
            f"Expected a JPEG of at most {most} scans. Received: {size}, with "
            f"{scans} scans. Save it anew."
        )


def is_servable_jpeg(image: Image.Image, data: bytes) -> bool:
    """Whether an exported model decodes a JPEG within its limits."""
    scans, kept = jpeg_scans(data)
    pixels, size = image.width * image.height, max(len(data), SMALL)
    memory = pixels * (3 + 2 * image.layers * kept)
    return (
        memory <= SERVED_MEMORY_A_BYTE * size
        and scans * pixels <= SCANNED_A_BYTE * size
    )


def jpeg_scans(data: bytes) -> tuple[int, bool]:
    """Returns the number of scans of a JPEG, and whether all are kept.

    A decoder keeps the coefficients of the whole image where it is
    progressive, or the first scan has not all the channels.
    """
    scans, kept, channels, at = 0, False, 0, 2
    while segment := _SEGMENT.search(data, at):
        marker, at = segment[1][0], segment.end()
        if marker == _END:
            break
        length = int.from_bytes(data[at : at + 2], "big")
        kept |= marker in _PROGRESSIVE
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            channels = data[at + 7 : at + 8]
        if marker == _SCAN:
            scans += 1
            kept |= data[at + 2 : at + 3] != channels
        at += length
    return scans, kept


def _tiff_tile(image: Image.Image, data: bytes, name: str) -> int:
    """Returns the pixels of a tile, which libtiff decodes as a whole.

    Where a tag is there twice, libtiff reads the first, Pillow the last.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    start, count, entry = (8, "Q", 20) if big else (4, "H", 12)
    (first,) = struct.unpack_from(order + ("Q" if big else "L"), data, start)
    (number,) = struct.unpack_from(order + count, data, first)
    first += 8 if big else 2
    tags = collections.Counter(
        struct.unpack_from(order + "H", data, first + n * entry)
        for n in range(min(number, len(data)))
    )
    if max(tags.values()) > 1:
        raise UserError(
            f"Expected a TIFF whose tags are there once. Received: {name}. "
            "Save it anew."
        )
    sides = image.tag_v2.get(322), image.tag_v2.get(323)
    return sides[0] * sides[1] if all(sides) else 0
