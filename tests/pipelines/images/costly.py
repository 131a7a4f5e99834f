"""Small files that cost much to decode, written by hand."""

import io
import re
import struct
import zlib

from PIL import Image

from tests.pipelines.images.test_decoding import encoded


def flat_png(width, height, depth=8, colour=2):
    """A PNG of one colour: zeros, a thousandfold compressed."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    rest = (1 + (width * channels * depth + 7) // 8) * height
    packer, rows = zlib.compressobj(9), []
    while rest:
        rows.append(packer.compress(bytes(min(rest, 2**20))))
        rest -= min(rest, 2**20)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    data = b"".join([*rows, packer.flush()])
    return start + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_chunk(kind, data):
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def late_header_png(width, height):
    """A PNG whose header comes second, and whose first chunk says 1 x 1."""
    good = flat_png(width, height, 1, 0)
    chunk = png_chunk(b"prIv", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return good[:8] + chunk + good[8:]


def flat_webp(width, height):
    """A WebP of one colour, in which pixels take no bytes."""
    data = encoded(Image.new("RGBA", (1, 1), "red"), "WEBP", lossless=True)
    at = data.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", data, at)
    bits += (width - 1) | (height - 1) << 14
    return data[:at] + struct.pack("<I", bits) + data[at + 4 :]


def scans_of(jpeg):
    """The scans of a JPEG, without what precedes each."""
    return re.findall(rb"\xff\xda(?:[^\xff]|\xff[\0\xd0-\xd7])*", jpeg, re.S)


def rescanned_jpeg(width, height, scans):
    """A progressive JPEG with one of its scans again and again."""
    settings = {"progressive": True, "subsampling": 0, "quality": 10}
    image = Image.new("RGB", (width, height), (9, 99, 200))
    jpeg = encoded(image, "JPEG", **settings)
    refinement = scans_of(jpeg)[5]
    end = jpeg.index(refinement) + len(refinement)
    rest = scans - len(scans_of(jpeg[:end]))
    return jpeg[:end] + rest * refinement + b"\xff\xd9"


def tiled_tiff(tile, extra=()):
    """A TIFF of 16 x 16 pixels in one tile of that side; and other tags."""
    data = zlib.compress(bytes(999))
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, tile), (323, tile), (324, 8), (325, len(data)), *extra]
    entries = [struct.pack("<HHII", tag, 4, 1, n) for tag, n in sorted(tags)]
    start = b"II*\0" + struct.pack("<I", 8 + len(data)) + data
    return start + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)


def refused_files():
    """Files that are refused for their cost, by name."""
    grown = io.BytesIO()
    Image.new("RGB", (60, 40)).save(grown, "JPEG", progressive=True)
    lie = bytearray(grown.getvalue())
    at = lie.index(b"\xff\xc2") + 5
    lie[at : at + 4] = struct.pack(">HH", 8_000, 16_000)
    return {
        "large.webp": flat_webp(11_313, 11_313),
        "deep.png": flat_png(10_000, 8_000, 16, 6),
        "column.png": flat_png(1, 2_000_000, 8, 0),
        "row.png": flat_png(2_000_000, 1, 8, 0),
        "late.png": late_header_png(20_000, 20_000),
        "scans.jpg": rescanned_jpeg(1_000, 1_000, 1_100),
        "lie.jpg": bytes(lie),
        "tile.tif": tiled_tiff(25_600),
        "tags.tif": tiled_tiff(16, [(322, 25_600), (323, 25_600)]),
    }
