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
    tells which is whose, also of earlier runs.

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
        self._earlier = self._read_names()  # Photos by their pictures.

    def save(self, picture: Image.Image, photo: str) -> None:
        """Writes the picture of a photo."""
        name = self._free_name(photo)
        save_picture(picture, os.path.join(self.path, name))
        self._names.append((photo, name))

    def finish(self) -> str:
        """Says how many pictures went where, and keeps names that differ."""
        numbered = any(
            name != f"{os.path.splitext(os.path.basename(photo))[0]}.png"
            for photo, name in self._names
        )
        if numbered or self._earlier:
            file = io.StringIO()
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            names = {name: _cell(photo) for photo, name in self._names}
            for name, photo in {**self._earlier, **names}.items():
                writer.writerow((photo, _cell(name)))
            write_output(self._names_path, file.getvalue().encode())
        listed = f", whose photos {NAMES_FILE} names" if numbered else ""
        return f"{len(self._names)} pictures of attention{listed}: {self.path}"

    def _read_names(self) -> dict[str, str]:
        """Returns what earlier runs wrote, whose pictures are still there."""
        if not os.path.exists(self._names_path):
            return {}
        with open(self._names_path, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 2][1:]
        names = {name: photo for photo, name in rows}
        there = set(os.listdir(self.path))
        return {name: names[name] for name in names if name in there}

    def _free_name(self, photo: str) -> str:
        stem = os.path.splitext(os.path.basename(photo))[0]
        name, number, mine = f"{stem}.png", 1, _cell(photo)
        while self._earlier.get(name, mine) != mine or not self._is_free(name):
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


def _cell(text: str) -> str:
    return csv_cell(printable(text))


def _folded(name: str) -> str:
    """What some file systems take for the same name."""
    return unicodedata.normalize("NFC", name).casefold()
