"""Image files that are made to cost memory or time, or to deceive."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.faults.image_files import encode, picture
from tests.faults.image_mutations import (
    PNG,
    jpeg_segments,
    png_chunk,
    png_chunks,
    png_file,
)


def constant_png(width: int, height: int, colour: int = 0, depth: int = 8):
    """A PNG of zeros, compressed as far as can be."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * channels * depth + 7) // 8)
    deflate, parts = zlib.compressobj(9), []
    block = row * max(1, 2**20 // len(row))
    left = len(row) * height
    while left > 0:
        parts.append(deflate.compress(block[:left]))
        left -= len(block)
    parts.append(deflate.flush())
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"".join(parts)), (b"IEND", b"")]
    if colour == 3:
        chunks.insert(1, (b"PLTE", bytes(3)))
    return png_file(chunks)


def constant_webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: five Huffman codes of one symbol."""
    bits = f"{width - 1:014b}"[::-1] + f"{height - 1:014b}"[::-1] + "0000"
    bits += "0" + "0" + "0" + "1000" * 5
    bits += "0" * (-len(bits) % 8)
    packed = bytes(
        int(bits[n : n + 8][::-1], 2) for n in range(0, len(bits), 8)
    )
    content = b"\x2f" + packed
    content += bytes(len(content) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def animated_webp_canvas(side: int) -> bytes:
    """A WebP whose canvas is large and whose one frame is small."""
    small = io.BytesIO()
    a = picture(8, 8, 0)
    a.save(small, "WEBP", save_all=True, append_images=[picture(8, 8, 1)])
    data = bytearray(small.getvalue())
    at = data.index(b"VP8X") + 8
    data[at + 4 : at + 10] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


def repeated_scans(side: int, times: int, kind: str = "RGB") -> bytes:
    """A progressive JPEG, one scan of which is there again and again."""
    image = Image.new(kind, (side, side), 99 if kind == "L" else (99, 99, 99))
    segments = jpeg_segments(encode(image, "JPEG", progressive=True))
    scans = [n for n, s in enumerate(segments) if s[1] == 0xDA]
    return b"".join(
        [*segments[:-1], *[segments[scans[-1]]] * times, segments[-1]]
    )


def jpeg_that_lies(width: int, height: int, progressive: bool) -> bytes:
    data = bytearray(
        encode(picture(16, 16, 0), "JPEG", progressive=progressive)
    )
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, height, width)
    return bytes(data)


def chunk_before_header(width: int, height: int) -> bytes:
    """A PNG that claims 1 x 1 where its header usually is."""
    chunks = constant_png(width, height)[len(PNG) :]
    private = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return PNG + png_chunk(b"prVt", private) + chunks


def compressed_text(size: int) -> bytes:
    """A small PNG with compressed texts and a profile that explode."""
    chunks = png_chunks(encode(picture(8, 8, 0), "PNG"))
    bomb = zlib.compress(bytes(size), 9)
    chunks[1:1] = [
        (b"iCCP", b"profile\0\0" + bomb),
        (b"zTXt", b"text\0\0" + bomb),
        (b"iTXt", b"text\0\1\0\0\0" + bomb),
    ]
    return png_file(chunks)


def tiff_that_lies(width: int, height: int) -> bytes:
    data = bytearray(encode(picture(8, 8, 0), "TIFF"))
    directory = int.from_bytes(data[4:8], "little")
    for entry in range(directory + 2, len(data) - 12, 12):
        tag = int.from_bytes(data[entry : entry + 2], "little")
        if tag in (256, 257):
            side = width if tag == 256 else height
            struct.pack_into("<HII", data, entry + 2, 4, 1, side)
    return bytes(data)


def gif_that_lies(width: int, height: int) -> bytes:
    data = bytearray(encode(picture(8, 8, 0), "GIF"))
    frame = data.index(b"\x2c", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    for offset in (6, frame + 5):
        struct.pack_into("<HH", data, offset, width, height)
    return bytes(data)


def bmp_that_lies(width: int, height: int, bits: int, packing: int) -> bytes:
    data = bytearray(encode(picture(8, 8, 0), "BMP"))
    struct.pack_into("<ii", data, 18, width, height)
    struct.pack_into("<HI", data, 28, bits, packing)
    return bytes(data)


def crafted_images() -> dict[str, bytes]:
    """Returns files by what they do."""
    grey = np.zeros((100, 70_000), np.uint8)
    wide = Image.fromarray(grey)
    return {
        "PNG 120,000,000 x 1": constant_png(120_000_000, 1),
        "PNG 1 x 120,000,000": constant_png(1, 120_000_000),
        "PNG 11,000 x 11,000 RGBA": constant_png(11_000, 11_000, 6),
        "PNG 7,000 x 7,000 RGBA, 16 bits": constant_png(7_000, 7_000, 6, 16),
        "PNG 11,300 x 11,300 of a bit": constant_png(11_300, 11_300, 0, 1),
        "PNG 200,000 x 300": constant_png(200_000, 300),
        "PNG 20,000 x 20,000 behind a chunk": chunk_before_header(
            20_000, 20_000
        ),
        "PNG 7,000 x 7,000 behind a chunk": chunk_before_header(7_000, 7_000),
        "PNG with texts of 200 MB": compressed_text(200_000_000),
        "WebP 16,383 x 7,800 of 34 bytes": constant_webp(16_383, 7_800),
        "WebP 7,000 x 7,000": constant_webp(7_000, 7_000),
        "WebP canvas of 16,000 x 16,000": animated_webp_canvas(16_000),
        "WebP canvas of 11,000 x 11,000": animated_webp_canvas(11_000),
        "JPEG with 1,500 scans": repeated_scans(4_000, 1_500),
        "JPEG with 3,000 scans": repeated_scans(2_000, 3_000),
        "grey JPEG with 1,500 scans": repeated_scans(4_000, 1_500, "L"),
        "JPEG of 60 megapixels with 100 scans": repeated_scans(7_700, 100),
        "JPEG 65,500 x 1,950 that lies": jpeg_that_lies(65_500, 1_950, False),
        "JPEG 11,000 x 11,000 that lies": jpeg_that_lies(11_000, 11_000, True),
        "TIFF 70,000 x 100": encode(wide, "TIFF", compression="tiff_lzw"),
        "TIFF 60,000 x 2,000 that lies": tiff_that_lies(60_000, 2_000),
        "TIFF 4,000,000,000 x 4,000,000,000": tiff_that_lies(
            4_000_000_000, 4_000_000_000
        ),
        "GIF 65,535 x 1,900 that lies": gif_that_lies(65_535, 1_900),
        "GIF 7,000 x 7,000 that lies": gif_that_lies(7_000, 7_000),
        "BMP 11,000 x 11,000 that lies": bmp_that_lies(11_000, 11_000, 24, 0),
        "BMP 11,000 x 11,000 in runs": bmp_that_lies(11_000, 11_000, 8, 1),
        "BMP of negative sides": bmp_that_lies(-8, -(2**31), 24, 0),
        "AVIF 8,000 x 8,000": encode(
            Image.new("RGB", (8_000, 8_000)), "AVIF", speed=10
        ),
        "JPEG 2000 of 6,000 x 6,000": encode(
            Image.new("L", (6_000, 6_000)), "JPEG2000"
        ),
        "nothing": b"",
        "one byte": b"\xff",
        "a page": b"<html><script>alert(1)</script></html>",
        "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "a HEIC header": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400),
        "a PDF": b"%PDF-1.7\n" + bytes(100),
        "a PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "PNG signature": PNG,
    }
