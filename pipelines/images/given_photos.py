"""The photos that a command was given, each with what it is known by."""

import collections
import dataclasses
import os
from collections.abc import Sequence

from pipelines.captions import Skipped, summarize_skipped
from pipelines.ending import report, report_error
from pipelines.errors import UserError
from pipelines.images.photo_folders import photos_in
from pipelines.outputs import PICTURE_MARK, has_mark
from pipelines.printing import printable

PICTURE = "a picture of attention, which is captioned where it is named itself"


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
        if os.path.isdir(given):
            ours = {path for path in photos if _is_picture(path)}
            others = (*others, *(Skipped(path, PICTURE) for path in ours))
            photos = [path for path in photos if path not in ours]
            names += [os.path.relpath(path, given) for path in photos]
        else:
            names.append(os.path.basename(given) or given)
        paths += photos
        left_out += others
    for line in summarize_skipped(left_out).splitlines():
        report(line)
    ids = _unique(paths, names)
    return [GivenPhoto(p, i) for p, i in zip(paths, ids, strict=True)], failed


def _is_picture(path: str) -> bool:
    try:
        return os.path.isfile(path) and has_mark(path, PICTURE_MARK)
    except OSError:
        return False  # Reading it as a photo tells why.


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
