"""Encodes photos of any kind as images that a server decodes."""

import io
import warnings

import numpy as np
from PIL import Image

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, load_image, read_image_file

# As `graph_decoding.MAX_PIXELS`, which is not imported: it needs TensorFlow.
MAX_PIXELS = 50_000_000
# Of one image; of a batch see `client.MAX_REQUEST_BYTES`.
MAX_BYTES = 16 * 2**20

_SERVABLE = ("JPEG", "PNG", "GIF", "BMP")
_READABLE = (*_SERVABLE, "WEBP", "TIFF", "JPEG2000", "PPM", "AVIF")
# Pillow's name of a JPEG with further images in its file, as phones write
# them; servers decode the first.
_MULTI_PICTURE = "MPO"
_ORIENTATION = 0x0112


def servable_image(photo: Photo) -> bytes:
    """Returns a photo as the bytes of an image file that a server decodes.

    An upright JPEG, PNG, GIF or BMP file stays as it is, byte for byte. Photos
    with an EXIF orientation are turned upright, and WebP, TIFF, AVIF, JPEG
    2000, PPM, uncommon BMP, Pillow images and arrays become PNG, without
    loss. Above `MAX_BYTES` they become JPEG, halved in size until they fit
    into `MAX_BYTES` and `MAX_PIXELS`.

    Raises:
        UserError: It cannot be read or is no image.
    """
    if isinstance(photo, bytes):
        data, name = photo, "the image"
    elif isinstance(photo, Image.Image | np.ndarray):
        return _encode(load_image(photo))
    else:
        data, name = read_image_file(photo), str(photo)
    with _open(data, name) as image:
        if _is_servable(image, data):
            return data
        try:
            return _encode(load_image(image))
        except UserError as error:
            raise UserError(f"{name}: {error}") from error


def _open(data: bytes, name: str) -> Image.Image:
    """Opens a file without decoding it."""
    try:
        with warnings.catch_warnings():
            # `load_image` has a limit of its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=_READABLE)
    except Exception as error:  # Pillow raises many kinds at damaged files.
        raise UserError(
            f"Expected an image ({', '.join(_READABLE)}). Received: {name}, "
            "which is none, or a damaged or too large one."
        ) from error


def _is_servable(image: Image.Image, data: bytes) -> bool:
    if image.format not in (*_SERVABLE, _MULTI_PICTURE):
        return False
    if len(data) > MAX_BYTES or image.width * image.height > MAX_PIXELS:
        return False
    # The server reads plain BMP only: three bytes a pixel, not compressed.
    if image.format == "BMP" and data[28:34] != b"\x18\0\0\0\0\0":
        return False
    try:
        return image.getexif().get(_ORIENTATION, 1) not in range(2, 9)
    except Exception:  # Broken EXIF turns nothing.
        return True


def _encode(pixels: np.ndarray) -> bytes:
    """Encodes uint8 `(H, W, 3)`, without loss where that is small enough."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if pixels.nbytes <= MAX_BYTES:
        data = _save(image, "PNG", compress_level=1)
        if len(data) <= MAX_BYTES:
            return data
    while image.width * image.height > MAX_PIXELS:
        image = image.reduce(2)
    while True:
        data = _save(image, "JPEG", quality=95, subsampling=0)
        if len(data) <= MAX_BYTES:
            return data
        image = image.reduce(2)


def _save(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()
