"""A folder of image files, listed once, that nothing leads out of."""

import os
import posixpath
import re
import unicodedata

from pipelines.errors import UserError
from pipelines.images.formats import ENDINGS

MISSING = "no such image file"
LEADS_OUT = "the name leads out of the image folder"
LINKED_OUT = "a link that leads out of the image folder; copy the file there"
SIMILAR = "several image files have this name, but for case or ending"

# Drive letters lead out on Windows, a NUL nowhere.
_DOUBTFUL = re.compile(r"^(?:/|\.\.(?:/|$)|[A-Za-z]:)|\0")
_MAX_FOLDERS = 1000  # that advice searches


class DoubtfulName(Exception):
    """A name from a list that gives no usable image; says why."""


def canonical_name(name: str) -> str:
    r"""Returns the one spelling of a path in a list: `./a\b` is `a/b`.

    Characters are composed (NFC), as most systems write them.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return posixpath.normpath(name.replace("\\", "/"))


class ImageFolder:
    """Finds the files of a folder by the names that a list gives.

    Every (sub)folder is listed once with `os.scandir`, so that 120,000 names
    cost one listing and no search. Files are not opened: a first byte costs
    milliseconds on a cold disk, and extraction decodes every image anyway.
    Links are followed inside the folder only.
    """

    def __init__(self, path: str):
        self.path = path
        # Ends in a slash, as / itself does.
        self._root = os.path.join(os.path.realpath(path), "")
        self._listings = {}  # of each folder: entries by name
        self._similar = {}  # of each folder: names by what is loosely the same
        self._folders = {}  # spellings of folders

    def find(self, name: str) -> str:
        """Returns the path below the folder, as it is spelled there, of a file.

        Where no file has the name exactly, that which differs in Unicode
        normalization or in upper and lower case, or has an ending where the
        name has none, is the one, if it is the only such file.

        Raises:
            DoubtfulName: The name, or a link, leads out of the folder or to
                no file.
        """
        name = self._below(canonical_name(name))
        folder, base = posixpath.split(name)
        folder = self._folder(folder)
        base = self._spelling(folder, base)
        entry = self._listing(folder)[base]
        if entry.is_symlink():
            self._check_inside(entry.path)
        try:
            if not entry.is_file():
                raise DoubtfulName("not a file")
            if entry.stat().st_size == 0:
                raise DoubtfulName("the image file is empty")
        except OSError as error:
            raise DoubtfulName("the image file cannot be read") from error
        return posixpath.join(folder, base)

    def advice(self, name: str) -> str:
        """Says where a file is that was not found, if it is near by."""
        name = canonical_name(name)
        folder, base = posixpath.split(name)
        parent = os.path.dirname(os.path.abspath(self.path))
        if os.path.isfile(os.path.join(parent, name)):
            return f"{name} is a file below {parent}: give that --data_dir"
        if folder and base in self._listing(""):
            return (
                f"{base} is in {self.path} itself, not in {folder}/: take that "
                "out of the names, or move the files"
            )
        for entry in list(self._listing("").values())[:_MAX_FOLDERS]:
            if os.path.isfile(os.path.join(entry.path, name)):
                return f"{name} is in {entry.path}: give that --data_dir"
        return ""

    def _below(self, name):
        """Makes an absolute path relative, or raises where it leads out."""
        if not _DOUBTFUL.search(name):
            return name
        for root in (os.path.join(os.path.abspath(self.path), ""), self._root):
            if name.startswith(root) and "\0" not in name:
                return name[len(root) :]
        raise DoubtfulName(LEADS_OUT)

    def _folder(self, path):
        """Returns the spelling of a folder below this one."""
        if path and path not in self._folders:
            above, base = posixpath.split(path)
            above = self._folder(above)
            self._folders[path] = posixpath.join(
                above, self._spelling(above, base)
            )
        return self._folders.get(path, path)

    def _spelling(self, folder, base):
        if base in self._listing(folder):
            return base
        if folder not in self._similar:
            similar = self._similar[folder] = {}
            for name in self._listing(folder):
                for loose in _loose_names(name):
                    similar.setdefault(loose, []).append(name)
        names = self._similar[folder].get(_loose(base), ())
        if len(names) != 1:
            raise DoubtfulName(SIMILAR if names else MISSING)
        return names[0]

    def _listing(self, folder):
        if folder not in self._listings:
            path = os.path.join(self.path, folder)
            self._check_inside(path)
            try:
                with os.scandir(path) as entries:
                    listing = {entry.name: entry for entry in entries}
            except OSError:
                listing = {}
            self._listings[folder] = listing
        return self._listings[folder]

    def _check_inside(self, path):
        if not os.path.join(os.path.realpath(path), "").startswith(self._root):
            raise DoubtfulName(LINKED_OUT)


def _loose(name):
    return unicodedata.normalize("NFC", name).casefold()


def _loose_names(name):
    name = _loose(name)
    stem, ending = os.path.splitext(name)
    return (name, stem) if ending in ENDINGS else (name,)


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
