"""A folder of images with a CSV or JSON Lines file of names and captions.

CSV, with a header; `file_name`, `filename` and `image` serve as `file` does,
and `split` may be left out:

    file,caption,split
    cats/1.jpg,"A cat, asleep.",train

JSON Lines, with the same names:

    {"file": "cats/1.jpg", "captions": ["A cat, asleep."], "split": "train"}

Several lines for one image gather. Without splits, 90 % of the images are
for training, 5 % for validation and 5 % for test, by the SHA-256 of the file
name, so that an image stays where it is when others are added.
"""

import dataclasses
import hashlib
import os
import posixpath
from collections.abc import Sequence
from typing import Any

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.annotation_files import read_csv, read_json_lines
from pipelines.sources.gathering import Gathering, canonical_split
from pipelines.sources.image_folder import (
    ImageFolder,
    check_data_dir,
    first_existing,
)

_FILE_COLUMNS = ("file", "file_name", "filename", "image")
_DEFAULT_FILES = ("captions.csv", "captions.jsonl")


@dataclasses.dataclass
class _Row:
    where: str
    id: str
    captions: Sequence[Any]
    split: str | None
    problem: str | None = None


def load_folder(data_dir: str | None, captions: str | None = None) -> Source:
    """Loads a folder of images.

    Args:
        data_dir: The folder that the file names start from.
        captions: The CSV or JSON Lines (`.jsonl`, `.json`) file; by default
            `captions.csv` or `captions.jsonl` in `data_dir`.

    Returns:
        The images in the order of their first line; the id is the file name.

    Raises:
        UserError: A file is missing or not of this form, or too much is
            doubtful.
    """
    check_data_dir(data_dir, "images")
    captions = captions or first_existing(data_dir, *_DEFAULT_FILES)
    if captions is None:
        raise UserError(
            f"Expected {' or '.join(_DEFAULT_FILES)} in the data folder; give "
            f"a file of names and captions with --captions=FILE. Received: "
            f"data_dir={data_dir!r}"
        )
    rows = list(_rows(captions))
    has_splits = any(row.split for row in rows if not row.problem)
    gathering = Gathering(
        "folder",
        f"Give the folder of the images with --data_dir. Received: "
        f"data_dir={data_dir!r}, captions={captions!r}",
    )
    folder = ImageFolder(data_dir)
    for row in rows:
        split = row.split if has_splits else hash_split(row.id)
        problem = row.problem or _split_problem(gathering, row.id, split)
        if problem:
            gathering.doubt("caption", row.where, problem)
            continue
        if row.id not in gathering:
            gathering.add_image(row.id, split, folder)
        if row.id in gathering:
            for text in row.captions:
                gathering.add_caption(row.id, text, row.where)
    return gathering.source()


def hash_split(id: str) -> str:
    """Returns the split of an image that was given none.

    Args:
        id: The file name.

    Returns:
        `"train"` for 90 % of all names, `"validation"` and `"test"` for 5 %
        each: the first eight bytes of the SHA-256 of the name, as a number
        in [0, 1), are below 0.90, below 0.95, or above.
    """
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < 0.90:
        return "train"
    return "validation" if place < 0.95 else "test"


def _split_problem(gathering, id, split):
    if split is None:
        return "no split, though others have one"
    if id in gathering and gathering.split(id) != split:
        return f"its image is in {gathering.split(id)} already"
    return None


def _rows(path):
    is_json = path.lower().endswith((".jsonl", ".json", ".ndjson"))
    for number, row in read_json_lines(path) if is_json else read_csv(path):
        where = f"{os.path.basename(path)} line {number}"
        columns = [name for name in _FILE_COLUMNS if name in row]
        if not is_json and (not columns or "caption" not in row):
            raise UserError(
                f"Expected a header such as file,caption in {path}. "
                f"Received: {', '.join(str(name) for name in row)}"
            )
        file = row[columns[0]] if columns else None
        yield _row(where, file, row)


def _row(where, file, row):
    if None in row:  # where csv.DictReader puts fields beyond the header
        problem = "more fields than the header; quote what holds a comma"
        return _Row(where, "", (), None, problem)
    if not isinstance(file, str) or not file.strip():
        return _Row(where, "", (), None, "no file name")
    captions = row.get("captions", row.get("caption", ""))
    return _Row(
        where,
        id=posixpath.normpath(file.strip()),
        captions=captions if isinstance(captions, list) else [captions],
        split=canonical_split(row.get("split")),
    )
