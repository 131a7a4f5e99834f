"""Finds the photos of a folder, and says what it leaves out."""

import os
from collections.abc import Iterator

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.images.formats import ENDINGS, HEAD_BYTES, NAMES, format_of

HIDDEN = "hidden: the name begins with a dot"
LINKED = "a link to a folder, which is not followed"
NO_PHOTO = "not a photo, by its name and its first bytes"


def photos_in(path: str) -> tuple[list[str], tuple[Skipped, ...]]:
    """Returns a file as it is, a folder as the photos in it, sorted.

    Sub-folders are searched too. A photo is what its first bytes or its name
    say is one: of a damaged photo, decoding tells. Every other file is left
    out, and so is what is hidden, such as the `._photo.jpg` of macOS. Links
    to files are followed, links to folders are not.

        photos, left_out = photos_in("holidays")
        print(summarize_skipped(left_out))

    Returns:
        The paths of the photos, and all that was left out of the folder.

    Raises:
        UserError: The folder cannot be read, or holds no photo.
    """
    if not os.path.isdir(path):
        return [path], ()
    photos, left_out = [], []
    for file, reason in _walk(path):
        if reason:
            left_out.append(Skipped(file, reason))
        else:
            photos.append(file)
    if not photos:
        raise UserError(
            f"Expected photos ({NAMES}) in the folder {path!r}. Received: "
            f"none, and {len(left_out)} others (links, hidden files, files "
            "that are no photos)"
        )
    return sorted(photos), tuple(sorted(left_out, key=lambda item: item.name))


def _walk(path: str) -> Iterator[tuple[str, str]]:
    """Yields each file with the reason to leave it out, or with none."""
    errors: list[OSError] = []
    for folder, folders, files in os.walk(path, onerror=errors.append):
        for name in list(folders):
            below = os.path.join(folder, name)
            linked = os.path.islink(below)
            if linked or name.startswith("."):
                folders.remove(name)
                yield below, LINKED if linked else HIDDEN
        for name in files:
            below = os.path.join(folder, name)
            yield below, _reason(below)
    for error in errors:
        if error.filename == path:
            raise UserError(
                f"Expected a folder of photos that can be read. Received: "
                f"{path!r} ({error.strerror})"
            )
        yield error.filename, f"a folder that cannot be read: {error.strerror}"


def _reason(path: str) -> str:
    """Says why a file is no photo; nothing if it is one."""
    name = os.path.basename(path)
    if name.startswith("."):
        return HIDDEN
    if name.lower().endswith(ENDINGS):
        return ""
    if not os.path.isfile(path):  # Reading a pipe would wait for ever.
        return "not a regular file"
    try:
        with open(path, "rb") as file:
            return "" if format_of(file.read(HEAD_BYTES)) else NO_PHOTO
    except OSError as error:
        return f"cannot be read: {error.strerror}"
