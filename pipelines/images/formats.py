"""The formats of photos, told by the first bytes of a file.

One list for every command: what is read from a folder, by a name or by the
client of a server is the same.
"""

import dataclasses
import re

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

try:  # Pillow has it since 11.3.
    from PIL import AvifImagePlugin
except ImportError:
    AvifImagePlugin = None

# Enough of a file to tell its format.
HEAD_BYTES = 64


@dataclasses.dataclass(frozen=True)
class Format:
    """A format: how its files begin, how their names end, and its reader.

    `reader` is the format's own class of Pillow's (`Image.open` warns or
    fails by a limit that is global to the process); None where it is not
    read, and `advice` then says what to do.
    """

    name: str
    start: bytes  # A regular expression.
    endings: tuple[str, ...]
    reader: type | None
    advice: str = ""


# Brands are four bytes each; which of them comes first varies.
_BRANDS = rb".{4}ftyp(?:.{4}){0,11}?"

FORMATS = (
    Format(
        "JPEG",
        rb"\xff\xd8\xff",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        JpegImagePlugin.JpegImageFile,
    ),
    Format(
        "PNG",
        rb"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
        (".png", ".apng"),
        PngImagePlugin.PngImageFile,
    ),
    Format(
        "WebP",
        rb"RIFF.{4}WEBP",
        (".webp",),
        WebPImagePlugin.WebPImageFile,
    ),
    Format("GIF", rb"GIF8[79]a", (".gif",), GifImagePlugin.GifImageFile),
    Format(
        "BMP",  # Text may begin with BM, too, but not with such a header.
        rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        (".bmp", ".dib"),
        BmpImagePlugin.BmpImageFile,
    ),
    Format(
        "TIFF",
        rb"II\*\0|MM\0\*|II\+\0\x08\0|MM\0\+\0\x08",
        (".tif", ".tiff"),
        TiffImagePlugin.TiffImageFile,
    ),
    Format(
        "AVIF",
        _BRANDS + rb"avi[fs]",
        (".avif",),
        AvifImagePlugin and AvifImagePlugin.AvifImageFile,
        "Pillow reads AVIF since 11.3: pip install -U pillow.",
    ),
    Format(
        "JPEG 2000",
        rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n",
        (".jp2", ".j2k", ".jpx"),
        Jpeg2KImagePlugin.Jpeg2KImageFile,
    ),
    Format(
        "PPM",
        rb"P[1-6]\s",
        (".ppm", ".pgm", ".pbm", ".pnm"),
        PpmImagePlugin.PpmImageFile,
    ),
    Format(
        "HEIC",
        _BRANDS + rb"(?:hei[cxms]|hev[cxms]|mif1|msf1)",
        (".heic", ".heif", ".hif"),
        None,
        "Save the photo as JPEG or PNG, and try again (an iPhone takes JPEG "
        "with Settings, Camera, Formats, Most Compatible).",
    ),
)

NAMES = ", ".join(kind.name for kind in FORMATS if kind.reader)
ENDINGS = tuple(ending for kind in FORMATS for ending in kind.endings)


def format_of(data: bytes) -> Format | None:
    """Returns the format that the first `HEAD_BYTES` of a file tell."""
    head = bytes(data[:HEAD_BYTES])
    for kind in FORMATS:
        if re.match(kind.start, head, re.DOTALL):
            return kind
    return None
