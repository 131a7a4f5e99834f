"""Captions in COCO's results form.

    [{"image_id": 42, "caption": "a dog runs on the grass"}, ...]

An image is named by an integer or by text, once. A caption may be empty. An
object of captions by image, `{"42": "a dog runs on the grass"}`, is read, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.errors import UserError
from pipelines.files import read_json, write_json
from pipelines.sources.gathering import is_encodable

MAX_CAPTION_CHARACTERS = 10_000
_MAX_NAME_CHARACTERS = 1024


def read_predictions(path: str) -> dict[int | str, str]:
    """Reads captions in COCO's results form, in the order of the file.

    Raises:
        UserError: The file cannot be used; the message names the entry.
    """
    captions = {}
    for id, entry, where in _entries(path):
        if "caption" not in entry:
            raise UserError(
                f'Expected a caption, "caption": "...", at {where}. '
                f"Received: {_short(entry)}"
            )
        captions[id] = _caption(entry["caption"], where)
    return captions


def read_field(path: str, name: str) -> dict[int | str, Any]:
    """Reads what else a file has of each caption, None where it has nothing.

    Args:
        path: The file, as for `read_predictions`.
        name: That of the field, such as `"attention"`.

    Raises:
        UserError: The file cannot be used; the message names the entry.
    """
    return {id: entry.get(name) for id, entry, _ in _entries(path)}


def write_predictions(
    path: str,
    ids: Sequence[int | str],
    captions: Sequence[str],
    more: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Writes the caption of each image in COCO's results form.

    `more` has what else is written of each caption, by name.
    """
    more = [{}] * len(captions) if more is None else more
    entries = zip(ids, captions, more, strict=True)
    write_json(
        path,
        [{"image_id": id, "caption": c, **rest} for id, c, rest in entries],
    )


def _entries(path: str) -> Iterator[tuple[int | str, dict, str]]:
    """Yields the id of each entry, itself, and where it is, for messages."""
    entries = read_json(path, unique=True)
    if isinstance(entries, dict) and all(
        isinstance(text, str) for text in entries.values()
    ):
        named = entries.items()
        entries = [{"image_id": id, "caption": text} for id, text in named]
    if not isinstance(entries, list) or not entries:
        raise UserError(
            'Expected a list [{"image_id": ..., "caption": "..."}, ...] in '
            f"{path}. Received: {_short(entries)}"
        )
    positions = {}
    for number, entry in enumerate(entries):
        where = f"{path}[{number}]"
        id = _image_id(entry, where)
        if str(id) in positions:
            raise UserError(
                f"Expected one caption for each image. Received: {where} "
                f"(image_id {id!r}) again after [{positions[str(id)]}]"
            )
        positions[str(id)] = number
        yield id, entry, f"{where} (image_id {id!r})"


def _image_id(entry: Any, where: str) -> int | str:
    if not isinstance(entry, dict):
        raise UserError(
            f"Expected an object with image_id at {where}. "
            f"Received: {_short(entry)}"
        )
    id = entry.get("image_id")
    if isinstance(id, float) and id.is_integer():
        id = int(id)  # As spreadsheets and pandas write numbers.
    if isinstance(id, str):
        usable = 0 < len(id) <= _MAX_NAME_CHARACTERS and is_encodable(id)
    else:
        usable = isinstance(id, int) and not isinstance(id, bool)
    if not usable:
        present = "image_id" in entry
        received = f"image_id={_short(id)}" if present else "no image_id"
        raise UserError(
            f"Expected image_id to be an integer or a name at {where}. "
            f"Received: {received}"
        )
    return id


def _caption(text: Any, where: str) -> str:
    if not isinstance(text, str):
        problem = f"caption={_short(text)}"
    elif len(text) > MAX_CAPTION_CHARACTERS:
        problem = f"{len(text)} characters"
    elif not is_encodable(text):
        problem = f"half a surrogate pair, caption={_short(text)}"
    else:
        return text
    raise UserError(
        "Expected a caption, text of at most "
        f"{MAX_CAPTION_CHARACTERS} characters, at {where}. Received: {problem}"
    )


def _short(value: Any) -> str:
    """Returns a short form of anything, safe to print."""
    if isinstance(value, list) and value:
        return f"a list of {len(value)}, the first {_short(value[0])}"
    if isinstance(value, dict) and value:
        keys = ", ".join(_short(key) for key in list(value)[:5])
        return f"an object with the keys {keys}"
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
