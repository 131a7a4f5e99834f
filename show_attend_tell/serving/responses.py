"""Parses a server's response into captions, and validates all of it.

Responses are untrusted: they may have any shape, size and content.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.images.decoding import RESIZE_MODES
from pipelines.printing import printable
from pipelines.words import split_joined
from show_attend_tell.inference.caption import Caption, CaptionerError

# What the signatures `serving_default` and `n_best` return.
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
_PER_IMAGE = ("resize_mode", "valid")  # The others are per caption.
# Empty slots of a beam have a log-probability of about -1e9.
_EMPTY = -1e8


def parse_response(response: Mapping, images: Sequence[bytes]) -> list:
    """Returns a `Caption` with `alternatives` for each image of a request.

    It is `None` where the server could not decode the image. The response has
    for each of `OUTPUTS` an array or nested lists, `(N, ...)`, or `(N, H, ...)`
    with H captions of each image.

    Raises:
        CaptionerError: The response is not that of an exported captioner.
    """
    arrays = {name: _array(response, name) for name in OUTPUTS}
    if arrays["caption"].ndim == 1:
        for name in set(OUTPUTS) - set(_PER_IMAGE):
            arrays[name] = arrays[name][:, None]
    _check_shapes(arrays, len(images))
    return [
        _captions(arrays, n, image) if arrays["valid"][n] else None
        for n, image in enumerate(images)
    ]


def _array(response: Mapping, name: str) -> np.ndarray:
    if name not in response:
        raise _malformed(f"{name!r} is missing")
    try:
        with np.errstate(all="ignore"):
            array = np.asarray(response[name], OUTPUTS[name])
    except (TypeError, ValueError, OverflowError) as error:
        raise _malformed(f"{name!r} is no array of its type") from error
    if not array.ndim:
        raise _malformed(f"{name!r} is no array")
    return array


def _check_shapes(arrays: dict[str, np.ndarray], count: int) -> None:
    """Checks that all arrays have the same N, H, T, rows and columns."""
    shape = arrays["attention"].shape
    if len(shape) != 5 or not all(shape[1:]):
        raise _malformed(f"the attention has the shape {shape}")
    expected = dict.fromkeys(OUTPUTS, (count, shape[1]))
    of_words = (count, *shape[1:3])
    expected |= dict.fromkeys(("tokens", "gate", "locations"), of_words)
    expected |= dict.fromkeys(_PER_IMAGE, (count,))
    expected["attention"] = (count, *shape[1:])
    for name, array in arrays.items():
        if array.shape != expected[name]:
            raise _malformed(
                f"{name!r} has the shape {array.shape}, not {expected[name]}"
            )


def _captions(arrays: dict[str, np.ndarray], n: int, image: bytes) -> Caption:
    """Returns the best caption of an image, with the others in it."""
    alternatives = tuple(
        _caption(arrays, n, h, image)
        for h in range(1, arrays["caption"].shape[1])
        if arrays["log_probability"][n, h] > _EMPTY
    )
    return _caption(arrays, n, 0, image, alternatives)


def _caption(arrays, n: int, h: int, image: bytes, alternatives=()) -> Caption:
    values = {
        name: array[n] if name in _PER_IMAGE else array[n, h]
        for name, array in arrays.items()
    }
    length = int(values["length"])
    words = split_joined(_text(values["caption"]), length)
    if not 0 <= length <= len(values["gate"]) or len(words) != length:
        raise _malformed(f"a caption of {len(words)} words has length {length}")
    steps = {k: values[k][:length] for k in ("attention", "gate", "locations")}
    _check_values(values, **steps)
    locations = steps["locations"]
    single = length > 0 and (locations >= 0).all()
    return Caption(
        words=tuple(words),
        log_probability=float(values["log_probability"]),
        score=float(values["score"]),
        finished=bool(values["finished"]),
        attention=steps["attention"],
        gate=steps["gate"],
        alternatives=alternatives,
        photo=image,
        resize_mode=_text(values["resize_mode"]),
        locations=tuple(locations.tolist()) if single else None,
    )


def _check_values(values, attention, gate, locations) -> None:
    if not np.isfinite([values["log_probability"], values["score"]]).all():
        raise _malformed("a log-probability is not finite")
    if not (np.isfinite(attention) & (attention >= 0)).all():
        raise _malformed("an attention is negative or not finite")
    if not ((gate >= 0) & (gate <= 1)).all():
        raise _malformed("a gate is not in [0, 1]")
    count = values["attention"][0].size
    if not ((locations >= -1) & (locations < count)).all():
        raise _malformed("a location is outside the image")
    if _text(values["resize_mode"]) not in RESIZE_MODES:
        raise _malformed(f"the resize_mode is none of {RESIZE_MODES}")


def _text(value) -> str:
    """Returns text that cannot control the terminal it is printed in."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        raise _malformed("a caption is no text")
    return printable(value)


def _malformed(reason: str) -> CaptionerError:
    return CaptionerError(
        "Expected the response of a captioner that `export` wrote, from its "
        f"signature serving_default or n_best. Received: {reason}"
    )
