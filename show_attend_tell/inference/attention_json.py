"""Attention as JSON: a byte for each location and word, in Base64.

    {"grid": [14, 14], "resize_mode": "squash", "roots": "/wsAAgd..."}

A byte is 255 times the square root of the attention over the largest of its
word, rounded, which keeps small attention apart from none. Word by word, and
row by row. Caption, words and attention of a photo take 3 KB on a grid of 14.
"""

import base64
import binascii
import math
from typing import Any

import numpy as np

from pipelines.errors import UserError
from pipelines.images.decoding import RESIZE_MODES

_LARGEST_GRID = 2048


def attention_as_json(attention: np.ndarray, resize_mode: str) -> dict:
    """Returns attention `(T, rows, columns)` as it is written in JSON.

    Args:
        attention: Not negative, and not all zero for any word.
        resize_mode: How the photo was fitted.
    """
    largest = attention.max(axis=(1, 2), keepdims=True)
    roots = np.rint(255 * np.sqrt(attention / largest)).astype(np.uint8)
    return {
        "grid": list(attention.shape[1:]),
        "resize_mode": resize_mode,
        "roots": base64.b64encode(roots.tobytes()).decode(),
    }


def attention_from_json(
    value: Any, num_words: int, where: str
) -> tuple[np.ndarray, str]:
    """Reads what `attention_as_json` returned.

    Args:
        value: The parsed JSON, of any kind.
        num_words: T.
        where: It is from, for messages.

    Returns:
        The attention `(T, rows, columns)` float32, of each word adding up to
        one, and the resize mode.

    Raises:
        UserError: It is not the attention of so many words.
    """
    try:
        rows, columns = value["grid"]
        roots, resize_mode = value["roots"], value["resize_mode"]
        if not all(
            type(side) is int and 0 < side <= _LARGEST_GRID
            for side in (rows, columns)
        ):
            raise ValueError(f"grid={value['grid']!r:.80}")
        if resize_mode not in RESIZE_MODES:
            raise ValueError(f"resize_mode={resize_mode!r:.80}")
        size = num_words * rows * columns
        if type(roots) is not str or len(roots) != 4 * math.ceil(size / 3):
            raise ValueError(f"roots that are not of {num_words} maps")
        decoded = base64.b64decode(roots, validate=True)
        maps = np.frombuffer(decoded, np.uint8).reshape(-1, rows, columns)
        if len(maps) != num_words or not maps.any(axis=(1, 2)).all():
            raise ValueError(f"roots that are not of {num_words} maps")
    except (LookupError, TypeError, ValueError, binascii.Error) as error:
        raise UserError(
            'Expected "attention" as `evaluate --boxes` writes it, with a map '
            f"for each of {num_words} words, at {where}. "
            f"Received: {error!s:.200}"
        ) from error
    squares = np.square(maps, dtype=np.float32)
    return squares / squares.sum(axis=(1, 2), keepdims=True), resize_mode
