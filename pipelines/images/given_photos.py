"""The photos that a command was given, each with what it is known by."""

import collections
import dataclasses
import os
import sys
from collections.abc import Sequence

from pipelines.captions import summarize_skipped
from pipelines.ending import report_error
from pipelines.errors import UserError
from pipelines.images.photo_folders import photos_in
from pipelines.printing import printable


@dataclasses.dataclass(frozen=True)
class GivenPhoto:
    """A photo, by its path, and the id that it has in files.

    The id is the path below the folder that was given, or the name of a photo
    that was given by itself; where two have the same, the paths as given.
    """

    path: str
    id: str


def given_photos(arguments: Sequence[str]) -> tuple[list[GivenPhoto], int]:
    """Returns the photos of arguments, in order, folders searched.

    What is left out of folders is summarized on stderr, and so is a folder
    that holds no photo or cannot be read; the others count.

    Returns:
        The photos, and how many arguments have none.

    Raises:
        UserError: There are no arguments.
    """
    if not arguments:
        raise UserError("Expected photos or folders of photos. Received: none")
    paths, names, left_out, failed = [], [], [], 0
    for given in arguments:
        try:
            photos, others = photos_in(given)
        except UserError as error:
            report_error(error)
            failed += 1
            continue
        folder = given if os.path.isdir(given) else os.path.dirname(given)
        names += [os.path.relpath(path, folder or ".") for path in photos]
        paths += photos
        left_out += others
    if left_out:
        print(summarize_skipped(left_out), file=sys.stderr)
    ids = _unique(paths, names)
    return [GivenPhoto(p, i) for p, i in zip(paths, ids, strict=True)], failed


def _unique(paths: Sequence[str], names: Sequence[str]) -> list[str]:
    """Returns names, and for different photos of one name their paths."""
    same = [os.path.abspath(path) for path in paths]
    # Names that differ in nothing that can be printed.
    numbered = [f"{path} ({n})" for n, path in enumerate(same, 1)]
    ids = list(names)
    for longer in (paths, same, numbered):
        pairs = {*zip(map(printable, ids), same, strict=True)}
        counts = collections.Counter(name for name, _ in pairs)
        ids = [
            other if counts[printable(id)] > 1 else id
            for id, other in zip(ids, longer, strict=True)
        ]
    return [printable(id) for id in ids]
