"""From a server's answer to captions, with everything checked on the way.

A server is a stranger: its answer may have any shape, size and content.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.errors import UserError
from pipelines.images.decoding import RESIZE_MODES
from show_attend_tell.inference.caption import Caption

# What the signatures `serving_default` and `n_best` give.
OUTPUTS = {
    "caption": object,
    "tokens": np.int64,
    "length": np.int64,
    "finished": np.bool_,
    "log_probability": np.float32,
    "score": np.float32,
    "attention": np.float32,
    "gate": np.float32,
    "locations": np.int64,
    "resize_mode": object,
    "valid": np.bool_,
}
# Of an image, not of each of its captions.
_OF_IMAGES = ("resize_mode", "valid")
# A beam's place that was never taken has a log-probability of about -1e9.
_NEVER = -1e8


def captions_of(answer: Mapping, images: Sequence[bytes]) -> list:
    """Returns the captions of the images of a request.

    Args:
        answer: For each of `OUTPUTS` an array, or lists in lists, `(N, ...)`,
            or `(N, H, ...)` with H captions of each image.
        images: The N images that were sent.

    Returns:
        For each image a `Caption` that holds its image, and the next best
        captions if there are any; `None` where the server could not decode
        it.

    Raises:
        UserError: The answer is not of the form that an exported captioner
            gives.
    """
    arrays = {name: _array(answer, name) for name in OUTPUTS}
    if arrays["caption"].ndim == 1:
        for name in set(OUTPUTS) - set(_OF_IMAGES):
            arrays[name] = arrays[name][:, None]
    _check_shapes(arrays, len(images))
    return [
        _captions(arrays, n, image) if arrays["valid"][n] else None
        for n, image in enumerate(images)
    ]


def _array(answer: Mapping, name: str) -> np.ndarray:
    if name not in answer:
        raise _unfit(f"{name!r} is missing")
    try:
        with np.errstate(all="ignore"):
            array = np.asarray(answer[name], OUTPUTS[name])
    except (TypeError, ValueError, OverflowError) as error:
        raise _unfit(f"{name!r} is no array of its type") from error
    if not array.ndim:
        raise _unfit(f"{name!r} is no array")
    return array


def _check_shapes(arrays: dict[str, np.ndarray], count: int) -> None:
    """Checks that all arrays are of the same N, H, T, rows and columns."""
    shape = arrays["attention"].shape
    if len(shape) != 5 or not all(shape[1:]):
        raise _unfit(f"the attention has the shape {shape}")
    _, h, t, _, _ = shape
    expected = dict.fromkeys(OUTPUTS, (count, h))
    expected |= dict.fromkeys(("tokens", "gate", "locations"), (count, h, t))
    expected |= dict.fromkeys(_OF_IMAGES, (count,))
    expected["attention"] = (count, *shape[1:])
    for name, wanted in expected.items():
        if arrays[name].shape != wanted:
            raise _unfit(
                f"{name!r} has the shape {arrays[name].shape}, not {wanted}"
            )


def _captions(arrays: dict[str, np.ndarray], n: int, image: bytes) -> Caption:
    """Returns the best caption of an image, which holds the others."""
    others = tuple(
        _caption(arrays, n, h, image, ())
        for h in range(1, arrays["caption"].shape[1])
        if arrays["log_probability"][n, h] > _NEVER
    )
    return _caption(arrays, n, 0, image, others)


def _caption(arrays, n: int, h: int, image: bytes, others) -> Caption:
    of = {
        name: array[n] if name in _OF_IMAGES else array[n, h]
        for name, array in arrays.items()
    }
    steps, rows, columns = of["attention"].shape
    words, length = _text(of["caption"]).split(), int(of["length"])
    if not 0 <= length <= steps or len(words) != length:
        raise _unfit(f"{len(words)} words are said to be {length}")
    attention, gate = of["attention"][:length], of["gate"][:length]
    locations = of["locations"][:length]
    numbers = np.array([of["log_probability"], of["score"]])
    if not np.isfinite(numbers).all():
        raise _unfit("a log-probability is no number")
    if not (np.isfinite(attention) & (attention >= 0)).all():
        raise _unfit("an attention is negative or no number")
    if not ((gate >= 0) & (gate <= 1)).all():
        raise _unfit("a gate is not in [0, 1]")
    if not ((locations >= -1) & (locations < rows * columns)).all():
        raise _unfit("a place is outside the image")
    resize_mode = _text(of["resize_mode"])
    if resize_mode not in RESIZE_MODES:
        raise _unfit(f"the resize_mode is none of {RESIZE_MODES}")
    single = length > 0 and (locations >= 0).all()
    return Caption(
        words=tuple(words),
        log_probability=float(numbers[0]),
        score=float(numbers[1]),
        finished=bool(of["finished"]),
        attention=attention,
        gate=gate,
        alternatives=others,
        photo=image,
        resize_mode=resize_mode,
        locations=tuple(locations.tolist()) if single else None,
    )


def _text(value) -> str:
    """Returns text that does nothing to the terminal that it is shown in."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        raise _unfit("a caption is no text")
    return printable(value)


def printable(text: str) -> str:
    """Returns text with every character that is not printable as `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _unfit(reason: str) -> UserError:
    return UserError(
        "Expected the answer of a captioner that `export` wrote, from its "
        f"signature serving_default or n_best. Received: {reason}"
    )
