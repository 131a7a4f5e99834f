"""Decodes images and fits them to the square that an encoder sees.

The one preprocessing of the project: extraction, training, captioning and
the exported models all see an image through `decode_image` and `fit_image`.
What an encoder was trained on beyond that (channel order, mean, range) lies
inside the encoder's own model.
"""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from pipelines.errors import UserError
from pipelines.files import PathLike
from pipelines.images.costs import (
    MAX_BYTES,
    check_bytes,
    check_cost,
    check_pixels,
    too_many_pixels,
)
from pipelines.images.formats import NAMES, Format, format_of

RESIZE_MODES = ("crop", "squash")

# What people have a photo as: a path, the bytes of a file, pixels.
Photo = str | os.PathLike | bytes | Image.Image | np.ndarray

# Pixels that are converted to RGB at a time, so that a large image is never
# held three times over.
_STRIP_PIXELS = 2**22


def read_image_file(path: PathLike) -> bytes:
    """Reads an image file of at most `MAX_BYTES`, without decoding it."""
    name = os.fspath(path)
    try:
        status = os.stat(name)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise OSError(errno.EINVAL, "not a regular file")
        check_bytes(status.st_size, name)
        with open(name, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except UserError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        reason = (
            getattr(error, "strerror", None) or str(error) or "out of memory"
        )
        raise UserError(
            f"Expected an image file. Received: path={name!r} ({reason})."
        ) from error


def decode_image(data: bytes, name: str = "image") -> np.ndarray:
    """Decodes an image file to upright RGB, uint8 (H, W, 3).

    Any of `formats.NAMES`, told by the content; of several frames or pages
    the first. Sixteen bits a channel become the higher eight of them;
    transparency is laid on white; CMYK becomes RGB; an EXIF orientation is
    applied, and ignored where it is broken. Nothing is decoded before what
    the header announces is within the limits of `pipelines.images.costs`.

    Raises:
        UserError: It is no image, damaged or too large. It names the image.
    """
    with _read(name), open_image(data, name) as image:
        image.load()
        _upright(image, in_place=True)
        return _rgb_array(image, name)


def open_image(data: bytes, name: str) -> Image.Image:
    """Opens an image file without decoding it, if it is within the limits.

    Raises:
        UserError: It is no image, damaged or too large. It names the image.
    """
    check_bytes(len(data), name)
    kind = _format(data, name)
    with _read(name):
        image = kind.reader(io.BytesIO(data))
        check_cost(image, data, kind, name)
        return image


@contextlib.contextmanager
def _read(name: str) -> Iterator[None]:
    """Names the image in whatever is raised while it is read."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"Expected an image that fits into memory. Received: {name}. Make "
            "it smaller first."
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(too_many_pixels(name, str(error))) from error
    except Exception as error:  # Pillow raises many kinds at damaged files.
        raise UserError(
            f"{name} is truncated or damaged: "
            f"{str(error) or type(error).__name__}. Save the image anew or "
            "leave it out."
        ) from error


def load_image(photo: Photo) -> np.ndarray:
    """Returns the upright RGB pixels of a photo in any form, uint8 (H, W, 3).

    An array is uint8: `(H, W, 3)` is RGB, `(H, W)` is grey and `(H, W, 4)`
    has transparency, which is laid on white.
    """
    if isinstance(photo, bytes):
        return decode_image(photo)
    if isinstance(photo, str | os.PathLike):
        return decode_image(read_image_file(photo), os.fspath(photo))
    if isinstance(photo, np.ndarray):
        photo = _as_pillow(photo)
    if not isinstance(photo, Image.Image):
        raise UserError(
            "Expected a photo: a path, bytes, a Pillow image or a uint8 "
            f"array. Received: {type(photo).__name__}."
        )
    check_pixels(photo.size, "the image")
    if not all(photo.size):
        raise UserError(
            f"Expected at least one pixel. Received: size={photo.size}."
        )
    with _read("the image"):  # Pillow reads a file's pixels only now.
        photo.load()
        return _rgb_array(_upright(photo), "the image")


def _format(data: bytes, name: str) -> Format:
    """Returns the format of a file that can be read."""
    kind = format_of(data)
    if kind is None:
        raise UserError(
            f"Expected an image: {NAMES}. Received: {name}, whose first "
            f"bytes are {data[:8]!r}."
        )
    if kind.reader is None:
        raise UserError(
            f"Expected an image: {NAMES}. Received: {name}, which is "
            f"{kind.name}. {kind.advice}"
        )
    return kind


def fit_image(image: np.ndarray, size: int, resize_mode: str) -> np.ndarray:
    """Resizes uint8 (H, W, 3) to the square (size, size, 3) of an encoder.

    `"squash"` resizes straight to (size, size). `"crop"` resizes the shorter
    side to `resized_shape`'s (256 for a size of 224, as in the paper), with
    the proportions kept, and cuts the square out of the centre.

    The resize is `tf.image.resize(method="bilinear", antialias=False)`: half
    pixel centres and two by two neighbours, in its own float32 arithmetic,
    so that TensorFlow and TFLite repeat it. Output is rounded half to even.
    Only the neighbours that count are read: a large image is never converted
    to float entirely.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            "Expected an image of uint8 (H, W, 3). Received: "
            f"dtype={image.dtype}, shape={image.shape}."
        )
    if size < 1 or not image.size:
        raise ValueError(
            "Expected at least one pixel. Received: "
            f"size={size}, shape={image.shape}."
        )
    height, width = resized_shape(image.shape[:2], size, resize_mode)
    top, bottom, rows = _neighbours(image.shape[0], height, size)
    left, right, columns = _neighbours(image.shape[1], width, size)
    rows, columns = rows[:, None, None], columns[None, :, None]

    def along_columns(chosen_rows: np.ndarray) -> np.ndarray:
        at_left = image[np.ix_(chosen_rows, left)].astype(np.float32)
        at_right = image[np.ix_(chosen_rows, right)].astype(np.float32)
        return at_left + (at_right - at_left) * columns

    above, below = along_columns(top), along_columns(bottom)
    return np.rint(above + (below - above) * rows).astype(np.uint8)


def resized_shape(
    shape: tuple[int, int], size: int, resize_mode: str
) -> tuple[int, int]:
    """Height and width to which `fit_image` resizes, before it crops.

    For `"crop"` the shorter side becomes `round(size * 256 / 224)` and the
    longer side keeps the proportions, rounded half up in integers. The square
    begins at `(resized - size) // 2` of either axis.
    """
    if resize_mode == "squash":
        return size, size
    if resize_mode != "crop":
        raise ValueError(
            f"Expected a resize_mode of {RESIZE_MODES}. Received: "
            f"resize_mode={resize_mode!r}."
        )
    shorter = min(shape)
    target = round(size * 256 / 224)
    return tuple(
        (2 * side * target + shorter) // (2 * shorter) for side in shape
    )


def _format(data: bytes, name: str) -> Format:
    """Returns the format of a file that can be read."""
    kind = format_of(data)
    if kind is None:
        raise UserError(
            f"Expected an image: {NAMES}. Received: {name}, whose first "
            f"bytes are {data[:8]!r}."
        )
    if kind.reader is None:
        raise UserError(
            f"Expected an image: {NAMES}. Received: {name}, which is "
            f"{kind.name}. {kind.advice}"
        )
    return kind


def _as_pillow(array: np.ndarray) -> Image.Image:
    """Returns pixels as a Pillow image, if that is what they are."""
    shape = array.shape
    channels = (*shape[2:], 1)[0]
    has_shape = len(shape) in (2, 3) and channels in (1, 3, 4)
    if array.dtype != np.uint8 or not has_shape:
        raise UserError(
            "Expected an image of uint8 (H, W, 3), or a list of such. "
            f"Received: dtype={array.dtype}, shape={shape}."
        )
    return Image.fromarray(array.reshape(shape[:2]) if channels == 1 else array)


def _rgb_array(image: Image.Image, name: str) -> np.ndarray:
    """Pixels as uint8 (H, W, 3), converted strip by strip."""
    _check_values(image, name)
    width, height = image.size
    array = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        complete = bottom - top == height
        strip = image if complete else image.crop((0, top, width, bottom))
        array[top:bottom] = _rgb(strip)
    return array


def _check_values(image: Image.Image, name: str) -> None:
    """Raises a UserError where nothing says which value is white."""
    tags = getattr(image, "tag_v2", {})  # Of TIFF.
    bits, signed = tags.get(258, (16,))[0], tags.get(339, (1,))[0] != 1
    unusual = bits != 16 or signed or tags.get(262) == 0
    if image.mode == "F" or (image.mode.startswith("I") and unusual):
        raise UserError(
            "Expected 1, 8 or 16 bits a channel, not signed, with black as "
            f"zero. Received: {name}, of other numbers (mode {image.mode}). "
            "Save it as JPEG or PNG."
        )


def _rgb(image: Image.Image) -> np.ndarray:
    """Pixels of any mode as uint8 (H, W, 3), or as (H, W, 1) if grey."""
    if image.mode.startswith("I"):
        # Sixteen bits; "I" is what older Pillows make of them. Pillow's own
        # conversion would clip at 255.
        grey = np.asarray(image)[..., None] >> 8
        return np.clip(grey, 0, 255).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _upright(image: Image.Image, in_place: bool = False) -> Image.Image:
    """Applies the EXIF orientation, if there is one that can be read."""
    try:
        turned = ImageOps.exif_transpose(image, in_place=in_place)
    except MemoryError:
        raise
    except Exception:  # Broken EXIF is no reason to refuse the pixels.
        return image
    return turned or image


def _neighbours(
    source: int, target: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours and weights of the central `size` of `target` pixels."""
    half = np.float32(0.5)
    scale = np.float32(source) / np.float32(target)
    first = (target - size) // 2
    pixel = np.arange(first, first + size).astype(np.float32)
    position = (pixel + half) * scale - half
    floor = np.floor(position)
    lower = np.maximum(floor, 0).astype(np.int64)
    upper = np.minimum(np.ceil(position), source - 1).astype(np.int64)
    return np.minimum(lower, source - 1), upper, position - floor
