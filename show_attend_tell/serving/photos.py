"""Encodes photos of any kind as images that a server decodes."""

import io

import numpy as np
from PIL import Image

from pipelines.images.costs import SERVED_PIXELS, is_servable_jpeg
from pipelines.images.decoding import (
    Photo,
    decode_image,
    load_image,
    open_image,
    read_image_file,
)

MAX_PIXELS = SERVED_PIXELS
# Of one image; of a batch see `client.MAX_REQUEST_BYTES`.
MAX_BYTES = 16 * 2**20

_SERVABLE = ("JPEG", "PNG", "GIF", "BMP")
# Neither more rows nor more columns can be written.
_MAX_JPEG_SIDE = 65_500
_ORIENTATION = 0x0112


def servable_image(photo: Photo) -> bytes:
    """Returns a photo as the bytes of an image file that a server decodes.

    An upright JPEG, PNG, GIF or BMP file stays as it is, byte for byte. Photos
    with an EXIF orientation are turned upright, and other formats that
    `decode_image` reads, uncommon BMP, Pillow images and arrays become PNG,
    without loss. Above `MAX_BYTES` they become JPEG, halved in size until they
    fit into `MAX_BYTES`, `MAX_PIXELS` and the sides that a JPEG can have.

    Raises:
        UserError: It cannot be read or is no image.
    """
    if isinstance(photo, bytes):
        data, name = photo, "the image"
    elif isinstance(photo, Image.Image | np.ndarray):
        return _encode(load_image(photo))
    else:
        data, name = read_image_file(photo), str(photo)
    with open_image(data, name) as image:
        if _is_servable(image, data):
            return data
    return _encode(decode_image(data, name))


def _is_servable(image: Image.Image, data: bytes) -> bool:
    if image.format not in _SERVABLE or len(data) > MAX_BYTES:
        return False
    if image.width * image.height > MAX_PIXELS:
        return False
    if image.format == "JPEG" and not is_servable_jpeg(image, data):
        return False
    # The server reads plain BMP only: three bytes a pixel, not compressed,
    # and not of the oldest kind.
    plain = data[28:34] == b"\x18\0\0\0\0\0" and data[14] != 12
    if image.format == "BMP" and not plain:
        return False
    try:
        return image.getexif().get(_ORIENTATION, 1) not in range(2, 9)
    except Exception:  # Broken EXIF turns nothing.
        return True


def _encode(pixels: np.ndarray) -> bytes:
    """Encodes uint8 `(H, W, 3)`, without loss where that is small enough."""
    size = pixels.nbytes
    image = Image.fromarray(np.ascontiguousarray(pixels))
    del pixels  # Of a large photo hundreds of megabytes.
    if size <= MAX_BYTES:
        data = _save(image, "PNG", compress_level=1)
        if len(data) <= MAX_BYTES:
            return data
    while (
        image.width * image.height > MAX_PIXELS
        or max(image.size) > _MAX_JPEG_SIDE
    ):
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
