"""From photos as people have them to images that a server decodes."""

import io
import warnings

import numpy as np
from PIL import Image

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, load_image, read_image_file

# What an exported captioner decodes (`graph_images.MAX_PIXELS`; it is not
# imported, for it brings TensorFlow).
MAX_PIXELS = 50_000_000
# Of one image; of a batch see `client.MAX_REQUEST_BYTES`.
MAX_BYTES = 16 * 2**20

_TAKEN = ("JPEG", "PNG", "GIF", "BMP")
_OPENED = (*_TAKEN, "WEBP", "TIFF", "JPEG2000", "PPM", "AVIF")
# What Pillow calls a JPEG with further pictures in its file, as phones write
# them; servers see the first.
_SEVERAL = "MPO"
_ORIENTATION = 0x0112


def servable_image(photo: Photo) -> bytes:
    """Returns a photo as an image that a server decodes.

    A JPEG, PNG, GIF or BMP file that needs nothing stays as it is, byte for
    byte, without being decoded. A photo that EXIF turns is sent upright, and
    WebP, TIFF, AVIF, JPEG 2000, PPM, uncommon BMP, Pillow images and arrays as
    PNG, without loss. What would be more than `MAX_BYTES` is sent as JPEG,
    and halved in size until it fits, as is what has more than `MAX_PIXELS`.

    Args:
        photo: As for `images.load_image`.

    Returns:
        The bytes of a file.

    Raises:
        UserError: It cannot be read or is no image.
    """
    if isinstance(photo, bytes):
        data, name = photo, "the image"
    elif isinstance(photo, Image.Image | np.ndarray):
        return _encoded(load_image(photo))
    else:
        data, name = read_image_file(photo), str(photo)
    with _opened(data, name) as image:
        if _needs_nothing(image, data):
            return data
        try:
            return _encoded(load_image(image))
        except UserError as error:
            raise UserError(f"{name}: {error}") from error


def _opened(data: bytes, name: str) -> Image.Image:
    """Opens a file without decoding it."""
    try:
        with warnings.catch_warnings():
            # `load_image` has a limit of its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=_OPENED)
    except Exception as error:  # Pillow raises many kinds at damaged files.
        raise UserError(
            f"Expected an image ({', '.join(_OPENED)}). Received: {name}, "
            "which is none, or a damaged or too large one."
        ) from error


def _needs_nothing(image: Image.Image, data: bytes) -> bool:
    if image.format not in (*_TAKEN, _SEVERAL) or len(data) > MAX_BYTES:
        return False
    if image.width * image.height > MAX_PIXELS:
        return False
    # The server reads plain BMP only: three bytes a pixel, not compressed.
    if image.format == "BMP" and data[28:34] != b"\x18\0\0\0\0\0":
        return False
    try:
        return image.getexif().get(_ORIENTATION, 1) not in range(2, 9)
    except Exception:  # Broken EXIF turns nothing.
        return True


def _encoded(pixels: np.ndarray) -> bytes:
    """Encodes uint8 `(H, W, 3)`, without loss where that is small enough."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if pixels.nbytes <= MAX_BYTES:
        data = _file(image, "PNG", compress_level=1)
        if len(data) <= MAX_BYTES:
            return data
    while image.width * image.height > MAX_PIXELS:
        image = image.reduce(2)
    while True:
        data = _file(image, "JPEG", quality=95, subsampling=0)
        if len(data) <= MAX_BYTES:
            return data
        image = image.reduce(2)


def _file(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()
