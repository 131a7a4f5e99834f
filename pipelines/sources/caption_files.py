r"""The formats of caption files, read for training and for scoring alike.

    COCO          {"images": [{"id": 9, "file_name": "9.jpg"}],
                   "annotations": [{"image_id": 9, "caption": "A dog runs."}]}
    Karpathy      {"images": [{"filename": "9.jpg", "filepath": "val2014",
                   "split": "test", "cocoid": 9, "imgid": 0,
                   "sentences": [{"raw": "A dog runs."}]}]}
    token file    9.jpg#0<TAB>A dog runs.
    CSV           file,caption,split
                  cats/9.jpg,"A cat, asleep.",train
    JSON Lines    {"file": "9.jpg", "captions": ["A dog."], "split": "train"}

In CSV and JSON Lines `file_name`, `filename` and `image` serve as `file`
does, and `split` may be left out. Without splits, 90 % of the images are for
training, 5 % for validation and 5 % for test, by the SHA-256 of the file
name, so that an image stays where it is when others are added.
"""

import dataclasses
import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.errors import UserError
from pipelines.files import parse_json, read_text
from pipelines.sources.annotation_files import (
    read_csv,
    read_json_lines,
    read_lines,
)
from pipelines.sources.gathering import Gathering, canonical_split
from pipelines.sources.image_folder import ImageFolder

_FILE_COLUMNS = ("file", "file_name", "filename", "image")


def add_captions(gathering: Gathering, path: str) -> None:
    """Adds a file of whichever format for scoring, without images."""
    text = read_text(path, "name it with --references=FILE")
    first = text.lstrip().partition("\n")[0]
    if first.startswith(("{", "[")) and not _is_record(first):
        content = parse_json(text, path)
        if isinstance(content, dict) and "annotations" in content:
            add_coco(gathering, content, path)
        else:
            add_karpathy(gathering, content, path)
    elif "\t" in first:
        for name, caption, where in token_captions(gathering, path):
            if name in gathering or gathering.add_image(name, None, None):
                gathering.add_caption(name, caption, where)
    else:
        add_table(gathering, path)


def _is_record(line: str) -> bool:
    """Whether a line is a record of JSON Lines, and no complete file."""
    if len(line) > 2**16:
        return False
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return any(name in record for name in _FILE_COLUMNS)


def add_coco(
    gathering: Gathering,
    content: Any,
    path: str,
    split: str | None = None,
    folder: ImageFolder | None = None,
) -> None:
    """Adds COCO's caption annotations: `content`, of the file `path`.

    For scoring, without `folder`, images may have no file name, and the list
    of images may be left out.
    """
    parts = content if isinstance(content, dict) else {}
    images, annotations = parts.get("images"), parts.get("annotations")
    file = os.path.basename(path)
    if images is None and folder is None and isinstance(annotations, list):
        keys = dict.fromkeys(_number(each, "image_id") for each in annotations)
        images = [{"id": key} for key in keys if key is not None]
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise UserError(
            f'Expected {{"images": [...], "annotations": [...]}} in {path}; '
            "give COCO's caption annotations with --captions=FILE. Received: "
            f"{sorted(map(str, parts))[:10] or type(content).__name__}"
        )
    names = {}
    for number, image in enumerate(images):
        key = _number(image, "id")
        if key is None or key in names:
            where = f"{file} images[{number}]"
            gathering.doubt("image", where, "no id of its own")
            continue
        name = image.get("file_name")
        if name is None and folder is None:
            name = str(key)
        usable = gathering.add_image(name, split, folder, numbers={"id": key})
        names[key] = name if usable else None
    for number, annotation in enumerate(annotations):
        key = _number(annotation, "image_id")
        where = f"{file} annotations[{number}]"
        if key not in names:
            gathering.doubt("caption", where, "of an image that is not named")
        elif names[key] is not None:
            gathering.add_caption(names[key], annotation.get("caption"))


def _number(record: Any, key: str) -> int | str | None:
    value = record.get(key) if isinstance(record, dict) else None
    return value if type(value) in (int, str) else None


def add_karpathy(
    gathering: Gathering,
    content: Any,
    path: str,
    folder: ImageFolder | None = None,
) -> None:
    """Adds Karpathy's split JSON: `content`, of the file `path`.

    An image is searched as `filepath/filename`, then as `filename`. For
    scoring, without `folder`, images may have only a `cocoid` or `imgid`.
    """
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise UserError(
            f'Expected {{"images": [...]}} in {path}; give Karpathy\'s '
            f"split JSON with --captions=dataset_coco.json. Received: "
            f"{type(content).__name__}"
        )
    for number, image in enumerate(images):
        if isinstance(image, dict):
            _add_karpathy_image(gathering, image, folder)
        else:
            gathering.doubt("image", f"images[{number}]", "not an object")


def _add_karpathy_image(gathering, image, folder):
    keys = {"id": _number(image, "cocoid"), "imgid": _number(image, "imgid")}
    numbers = {k: value for k, value in keys.items() if value is not None}
    name = image.get("filename")
    if name is None and folder is None:
        name = next(map(str, numbers.values()), None)
    split = canonical_split(image.get("split"))
    if split is None and folder is not None:
        return gathering.doubt("image", name, "no split")
    files = [name]
    if isinstance(image.get("filepath"), str) and isinstance(name, str):
        files.insert(0, f"{image['filepath']}/{name}")
    if gathering.add_image(name, split, folder, *files, numbers=numbers):
        sentences = image.get("sentences")
        for sentence in sentences if isinstance(sentences, list) else ():
            gathering.add_caption(name, _sentence(sentence))


def _sentence(sentence: Any) -> Any:
    if not isinstance(sentence, dict):
        return None
    tokens = sentence.get("tokens")
    if "raw" not in sentence and isinstance(tokens, list):
        return " ".join(token for token in tokens if isinstance(token, str))
    return sentence.get("raw")


def token_captions(
    gathering: Gathering, path: str
) -> Iterator[tuple[str, str, str]]:
    """Yields the lines of a token file: image, caption, name in messages."""
    for number, line in read_lines(path):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name, _, index = key.rpartition("#")
        if tab and name and index.isdecimal():
            yield name, caption, key
        else:
            where = f"{os.path.basename(path)} line {number}"
            gathering.doubt("caption", where, "not NAME.jpg#k<TAB>caption")


@dataclasses.dataclass
class TableRow:
    """A row of CSV or JSON Lines; `problem` says why it cannot be used."""

    where: str
    id: str = ""
    captions: Sequence[Any] = ()
    split: str | None = None
    problem: str | None = None


def table_rows(path: str) -> Iterator[TableRow]:
    """Yields the rows of a CSV or JSON Lines file."""
    is_json = path.lower().endswith((".jsonl", ".json", ".ndjson"))
    first = next((line for _, line in read_lines(path) if line.strip()), "")
    is_json = is_json or first.lstrip().startswith("{")
    for number, row in read_json_lines(path) if is_json else read_csv(path):
        columns = [name for name in _FILE_COLUMNS if name in row]
        if not is_json and (not columns or "caption" not in row):
            raise UserError(
                f"Expected a header such as file,caption in {path}. "
                f"Received: {', '.join(str(name) for name in row)}"
            )
        where = f"{os.path.basename(path)} line {number}"
        yield _table_row(where, row[columns[0]] if columns else None, row)


def _table_row(where, file, row):
    if None in row:  # where csv.DictReader puts fields beyond the header
        problem = "more fields than the header; quote what holds a comma"
        return TableRow(where, problem=problem)
    if not isinstance(file, str) or not file.strip():
        return TableRow(where, problem="no file name")
    captions = row.get("captions", row.get("caption", ""))
    return TableRow(
        where,
        id=posixpath.normpath(file.strip()),
        captions=captions if isinstance(captions, list) else [captions],
        split=canonical_split(row.get("split")),
    )


def add_table(
    gathering: Gathering, path: str, folder: ImageFolder | None = None
) -> None:
    """Adds CSV or JSON Lines; several rows for one image gather."""
    rows = list(table_rows(path))
    has_splits = any(row.split for row in rows if not row.problem)
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


def hash_split(id: str) -> str:
    """Returns the split of a file name that was given none.

    The first eight bytes of its SHA-256, as a number in [0, 1), are below 0.90
    for `"train"`, below 0.95 for `"validation"`, or else it is `"test"`.
    """
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:8], "big") / 2**64
    if number < 0.90:
        return "train"
    return "validation" if number < 0.95 else "test"


def _split_problem(gathering, id, split):
    if split is None:
        return "no split, though others have one"
    if id in gathering and gathering.split(id) != split:
        return f"its image is in {gathering.split(id)} already"
    return None
