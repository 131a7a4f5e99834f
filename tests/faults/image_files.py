"""Image files of every format and kind, small, all generated."""

import io
import os
import pathlib

import numpy as np
from PIL import Image

_PHOTOS = 24  # Real ones, where the data is.


def picture(width: int, height: int, seed: int) -> Image.Image:
    """A smooth picture with some noise, RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(width, height)
    colours = rng.uniform(0, 6, (3, 3))
    waves = [np.sin(a * x * 5 + b * y * 5 + c) for a, b, c in colours]
    pixels = 127 + 100 * np.stack(waves, -1)
    pixels += rng.normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def with_alpha(image: Image.Image) -> Image.Image:
    """The same with transparency from left to right."""
    ramp = np.linspace(0, 255, image.width).astype(np.uint8)
    alpha = np.broadcast_to(ramp, (image.height, image.width))
    image = image.copy()
    image.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return image


def encode(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def image_files() -> dict[str, bytes]:
    """Returns files by name."""
    a, b, wide = picture(64, 48, 1), picture(37, 53, 2), picture(150, 20, 3)
    clear, grey = with_alpha(a), a.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    palette, bits = a.quantize(16), grey.convert("1")
    frames = {"save_all": True, "append_images": [b.resize(a.size), a]}
    return {
        "jpeg": encode(a, "JPEG", quality=90),
        "jpeg_444": encode(b, "JPEG", subsampling=0, optimize=True),
        "jpeg_progressive": encode(a, "JPEG", progressive=True),
        "jpeg_grey": encode(grey, "JPEG"),
        "jpeg_grey_progressive": encode(grey, "JPEG", progressive=True),
        "jpeg_cmyk": encode(a.convert("CMYK"), "JPEG"),
        "jpeg_turned": encode(wide, "JPEG", exif=_exif(6)),
        "jpeg_mirrored": encode(b, "JPEG", exif=_exif(5)),
        "jpeg_restarts": encode(a, "JPEG", restart_marker_rows=1),
        "png": encode(a, "PNG"),
        "png_alpha": encode(clear, "PNG"),
        "png_grey": encode(grey, "PNG"),
        "png_grey_alpha": encode(clear.convert("LA"), "PNG"),
        "png_deep": encode(deep, "PNG"),
        "png_palette": encode(palette, "PNG"),
        "png_palette_clear": encode(palette, "PNG", transparency=3),
        "png_bits": encode(bits, "PNG"),
        "png_turned": encode(b, "PNG", exif=_exif(8)),
        "png_animated": encode(a, "PNG", **frames),
        "webp": encode(a, "WEBP"),
        "webp_lossless": encode(b, "WEBP", lossless=True),
        "webp_alpha": encode(clear, "WEBP"),
        "webp_animated": encode(a, "WEBP", **frames),
        "webp_turned": encode(wide, "WEBP", exif=_exif(3)),
        "gif": encode(palette, "GIF"),
        "gif_clear": encode(palette, "GIF", transparency=2),
        "gif_animated": encode(a, "GIF", **frames),
        "bmp": encode(a, "BMP"),
        "bmp_grey": encode(grey, "BMP"),
        "bmp_palette": encode(palette, "BMP"),
        "bmp_alpha": encode(clear, "BMP"),
        "tiff": encode(a, "TIFF"),
        "tiff_deflate": encode(b, "TIFF", compression="tiff_deflate"),
        "tiff_lzw": encode(clear, "TIFF", compression="tiff_lzw"),
        "tiff_jpeg": encode(a, "TIFF", compression="jpeg"),
        "tiff_fax": encode(bits, "TIFF", compression="group4"),
        "avif": encode(a, "AVIF", speed=10),
        "avif_alpha": encode(clear, "AVIF", speed=10),
        "jpeg2000": encode(a, "JPEG2000"),
        "ppm": encode(a, "PPM"),
    }


def photos() -> dict[str, bytes]:
    """Returns real photos, those of the data, where it is."""
    base = os.environ.get("SHOW_ATTEND_TELL_DATA", "../shared")
    folder = pathlib.Path(base, "data", "flickr8k", "images")
    paths = sorted(folder.glob("*.jpg"), key=lambda p: p.stat().st_size)
    return {path.name: path.read_bytes() for path in paths[:_PHOTOS]}
