"""A folder with a picture of attention for each of many photos."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterable

from PIL import Image

from pipelines.outputs import (
    PICTURE_MARK,
    check_output_file,
    check_output_folder,
    identity,
    may_write,
    write_output,
)
from pipelines.printing import csv_cell, printable
from show_attend_tell.inference.attention_figure import save_picture

NAMES_FILE = "pictures.csv"
_COLUMNS = ("file", "picture")
_NAMES_MARK = ",".join(_COLUMNS).encode() + rb"\r\n"


class PictureFolder:
    """Writes pictures named after their photos, over no other file.

    `x.jpg` has its picture in `x.png`; where that is the picture of another
    photo, or a file that was not written so, in `x-2.png`, and `pictures.csv`
    tells which is whose.

    Args:
        path: The folder, made with the first picture.
        photos: Paths that no picture may replace.
        flag: Which chooses another folder, for messages.

    Raises:
        UserError: The folder cannot be written to.
    """

    def __init__(
        self, path: str, photos: Iterable[str], flag: str = "--attention"
    ):
        self.path = path
        self._names: list[tuple[str, str]] = []
        self._taken: set[str] = set()
        self._photos = {identity(photo) for photo in photos} - {None}
        self._names_path = os.path.join(path, NAMES_FILE)
        check_output_folder(path, flag)
        check_output_file(self._names_path, flag, _NAMES_MARK)

    def save(self, picture: Image.Image, photo: str) -> None:
        """Writes the picture of a photo."""
        name = self._free_name(os.path.splitext(os.path.basename(photo))[0])
        save_picture(picture, os.path.join(self.path, name))
        self._names.append((photo, name))

    def finish(self) -> str:
        """Says how many pictures went where, and keeps names that differ."""
        numbered = any(
            name != f"{os.path.splitext(os.path.basename(photo))[0]}.png"
            for photo, name in self._names
        )
        if numbered:
            file = io.StringIO()
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for row in self._names:
                writer.writerow([csv_cell(printable(text)) for text in row])
            write_output(self._names_path, file.getvalue().encode())
        listed = f", whose photos {NAMES_FILE} names" if numbered else ""
        return f"{len(self._names)} pictures of attention{listed}: {self.path}"

    def _free_name(self, stem: str) -> str:
        name, number = f"{stem}.png", 1
        while not self._is_free(name):
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(_folded(name))
        return name

    def _is_free(self, name: str) -> bool:
        path = os.path.join(self.path, name)
        if _folded(name) in self._taken or identity(path) in self._photos:
            return False
        if os.path.islink(path) or os.path.isdir(path):
            return False
        return may_write(path, PICTURE_MARK)


def _folded(name: str) -> str:
    """What some file systems take for the same name."""
    return unicodedata.normalize("NFC", name).casefold()
