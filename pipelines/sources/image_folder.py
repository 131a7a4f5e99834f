"""A folder of image files, listed once, that no name can lead out of."""

import os
import re

from pipelines.errors import UserError


class DoubtfulName(Exception):
    """A name from a list that gives no usable image; says why."""


class ImageFolder:
    """Finds the files of a folder by the names that a list gives.

    Every (sub)folder is listed once with `os.scandir`, so that 120,000 names
    cost one listing and no search. Files are not opened: a first byte costs
    milliseconds on a cold disk, and extraction decodes every image anyway.
    """

    def __init__(self, path: str):
        self.path = path
        self._listings = {}

    def find(self, name: str) -> str:
        """Returns the path of a file, named by a relative path with `/`.

        Raises a DoubtfulName where that leads out of the folder or to no file.
        """
        # Backslashes and drive letters lead out on Windows, a NUL nowhere.
        leads_out = re.search(r"[\\\0]|^/|^[A-Za-z]:", name)
        if leads_out or ".." in name.split("/"):
            raise DoubtfulName(
                "the name leads out of the image folder, or has \\"
            )
        folder, base = os.path.split(os.path.normpath(name))
        entry = self._listing(folder).get(base)
        if entry is None:
            raise DoubtfulName("no such image file")
        try:
            if not entry.is_file():
                raise DoubtfulName("not a file")
            if entry.stat().st_size == 0:
                raise DoubtfulName("the image file is empty")
        except OSError as error:
            raise DoubtfulName("the image file cannot be read") from error
        return os.path.join(self.path, folder, base)

    def _listing(self, folder):
        if folder not in self._listings:
            try:
                with os.scandir(os.path.join(self.path, folder)) as entries:
                    listing = {entry.name: entry for entry in entries}
            except OSError:
                listing = {}
            self._listings[folder] = listing
        return self._listings[folder]


def check_data_dir(data_dir: str | None, expected: str) -> None:
    """Raises a UserError unless the data folder was given and is one."""
    if data_dir is None or not os.path.isdir(data_dir):
        raise UserError(
            f"Expected a folder with {expected}; give it with "
            f"--data_dir=FOLDER. Received: data_dir={data_dir!r}"
        )


def first_existing(data_dir: str, *names: str) -> str | None:
    """Returns the path of the first of `names` that exists in `data_dir`."""
    for name in names:
        path = os.path.join(data_dir, name) if name else data_dir
        if os.path.exists(path):
            return path
    return None
