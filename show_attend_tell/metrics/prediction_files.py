"""Captions in COCO's results form, and the checks of what others wrote.

    [{"image_id": 42, "caption": "a dog runs on the grass"}, ...]

An image is named by an integer or by text, once.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

from pipelines.errors import UserError
from pipelines.files import write_json

MAX_FILE_BYTES = 2**30
MAX_CAPTION_CHARACTERS = 10_000
_MAX_NAME_CHARACTERS = 1024

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_predictions(path: str) -> dict[int | str, str]:
    """Reads captions in COCO's results form.

    Args:
        path: The JSON file, UTF-8 with or without a byte-order mark.

    Returns:
        The caption of each image, in the order of the file.

    Raises:
        UserError: The file cannot be used; the message names the entry.
    """
    entries = parse_json(read_text(path), path)
    if not isinstance(entries, list) or not entries:
        raise UserError(
            'Expected a list [{"image_id": ..., "caption": "..."}, ...] in '
            f"{path}. Received: {shown(entries)}"
        )
    captions, positions = {}, {}
    for number, entry in enumerate(entries):
        where = f"{path}[{number}]"
        id = name_in(entry, "image_id", where)
        if str(id) in positions:
            raise UserError(
                f"Expected one caption for each image. Received: {where} "
                f"(image_id {id!r}) again after [{positions[str(id)]}]"
            )
        positions[str(id)] = number
        where = f"{where} (image_id {id!r})"
        captions[id] = checked_caption(entry.get("caption"), where)
    return captions


def write_predictions(
    path: str, ids: Sequence[int | str], captions: Sequence[str]
) -> None:
    """Writes captions in COCO's results form.

    Args:
        path: The JSON file.
        ids: The images.
        captions: The caption of each.
    """
    entries = zip(ids, captions, strict=True)
    write_json(path, [{"image_id": id, "caption": c} for id, c in entries])


def read_text(path: str) -> str:
    """Reads a UTF-8 file, with or without a byte-order mark.

    Raises:
        UserError: It is missing, too large, or of another encoding.
    """
    if not os.path.isfile(path):
        raise UserError(f"Expected a file of captions. Received: {path!r}")
    size = os.path.getsize(path)
    if size > MAX_FILE_BYTES:
        raise UserError(
            f"Expected at most {MAX_FILE_BYTES} bytes in {path}. "
            f"Received: {size} bytes"
        )
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if data.startswith(_UTF16) or b"\0" in data[:4]:
        raise UserError(
            f"Expected UTF-8 in {path}. Received: UTF-16 or UTF-32; save the "
            "file as UTF-8"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"Expected UTF-8 in {path}; save the file as UTF-8. Received: "
            f"byte 0x{data[error.start]:02x} in line {line}"
        ) from error


def parse_json(text: str, path: str) -> Any:
    """Returns what JSON says.

    Raises:
        UserError: It is not JSON; the message has line and column.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"Expected JSON in {path}. Received: line {error.lineno}, column "
            f"{error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise UserError(
            f"Expected JSON in {path}. Received: brackets that are nested "
            "too deeply"
        ) from error
    except ValueError as error:  # Such as a number of 5,000 digits.
        raise UserError(
            f"Expected JSON in {path}. Received: {error}"
        ) from error


def name_in(entry: Any, key: str, where: str) -> int | str:
    """Returns the name of an image in an entry: an integer or text.

    Raises:
        UserError: The entry is no object, or has no such name.
    """
    if not isinstance(entry, dict):
        raise UserError(
            f"Expected an object with {key} at {where}. "
            f"Received: {shown(entry)}"
        )
    name = entry.get(key)
    if isinstance(name, str):
        usable = 0 < len(name) <= _MAX_NAME_CHARACTERS and is_encodable(name)
    else:
        usable = isinstance(name, int) and not isinstance(name, bool)
    if not usable:
        received = f"{key}={shown(name)}" if key in entry else f"no {key}"
        raise UserError(
            f"Expected {key} to be an integer or a name at {where}. "
            f"Received: {received}"
        )
    return name


def checked_caption(text: Any, where: str) -> str:
    """Returns a caption that can be scored.

    Raises:
        UserError: It is no text, empty, too long, or holds half a surrogate
            pair.
    """
    if not isinstance(text, str):
        problem = f"caption={shown(text)}"
    elif not text.strip():
        problem = f"an empty caption, {shown(text)}"
    elif len(text) > MAX_CAPTION_CHARACTERS:
        problem = f"{len(text)} characters"
    elif not is_encodable(text):
        problem = f"half a surrogate pair, caption={shown(text)}"
    else:
        return text
    raise UserError(
        "Expected a caption, text of at most "
        f"{MAX_CAPTION_CHARACTERS} characters, at {where}. Received: {problem}"
    )


def is_encodable(text: str) -> bool:
    """Tells whether text can be written: JSON allows half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """Returns a short form of anything, safe to print."""
    if isinstance(value, list) and value:
        return f"a list of {len(value)}, the first {shown(value[0])}"
    if isinstance(value, dict) and value:
        keys = ", ".join(shown(key) for key in list(value)[:5])
        return f"an object with the keys {keys}"
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
