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
    JSON          [{"file": "9.jpg", "caption": "A dog."}, ...]
                  {"9.jpg": ["A dog."], ...}
                  {"file": {"0": "9.jpg", ...}, "caption": {"0": ...}}

The content tells which it is, not the name of the file. For the columns of
tables see `pipelines.sources.caption_tables`. Without splits, those of
`pipelines.sources.hashed_splits` are given.
"""

import collections
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.errors import UserError
from pipelines.files import parse_first_json, parse_json
from pipelines.sources.annotation_files import (
    read_annotations,
    split_json_lines,
    split_lines,
)
from pipelines.sources.caption_tables import (
    CaptionRow,
    Columns,
    csv_rows,
    record_rows,
)
from pipelines.sources.gathering import Gathering, canonical_split
from pipelines.sources.image_folder import ImageFolder

COCO = "COCO's caption annotations"
KARPATHY = "Karpathy's split JSON"
TOKENS = "a token file"
TABLE = "a table of file names and captions"

_TOKEN_LINE = re.compile(r"[^\t\r\n]+#\d+\t")


def read_captions(
    gathering: Gathering, path: str, flag: str = "--captions"
) -> tuple[str, Any]:
    """Returns the form of a file of captions, and its content.

    That is the JSON of `COCO`, the list of images of `KARPATHY`, or the
    `CaptionRow`s of `TOKENS` and `TABLE`. `flag` names files, for messages.

    Raises:
        UserError: The file cannot be read, or is of no such form.
    """
    text, note = read_annotations(path, f"name it with {flag}=FILE")
    if note:
        gathering.note(os.path.basename(path), note)
    start = re.match(r"\s*", text).end()
    if text[start : start + 1] in ("{", "["):
        value, more = parse_first_json(text, path)
        if more and isinstance(value, dict):
            return TABLE, record_rows(_json_lines(text, path))
        if more:
            parse_json(text, path)  # Tells where the first value ends.
        return _json_form(value, path, flag)
    if _TOKEN_LINE.match(text, start):
        return TOKENS, _token_rows(text, path)
    return TABLE, csv_rows(text, path)


def read_form(gathering: Gathering, path: str, form: str, example: str) -> Any:
    """Returns the content of a file that must be of one form."""
    received, content = read_captions(gathering, path)
    if received != form:
        dataset = {COCO: "coco", KARPATHY: "karpathy"}.get(received, "folder")
        raise UserError(
            f"Expected {form}, {example}, in {path}; give another file with "
            f"--captions=FILE, or read this one with --dataset={dataset}. "
            f"Received: {received}"
        )
    return content


def _json_lines(text, path):
    for number, record in split_json_lines(text, path):
        yield f"{os.path.basename(path)} line {number}", record


def _json_form(value, path, flag):
    records = value if isinstance(value, list) else None
    if isinstance(value, dict):
        images, annotations = value.get("images"), value.get("annotations")
        if "annotations" in value and not _is_table(annotations):
            return COCO, value
        if isinstance(images, list) and not _is_table(images):
            return KARPATHY, images
        if Columns.of(tuple(value)).complete:
            records = _transposed(value)
        elif "annotations" in value or "images" in value:
            records = annotations or images
        elif all(isinstance(one, str | list) for one in value.values()):
            named = value.items()
            records = [{"file": k, "captions": texts} for k, texts in named]
    if _is_karpathy(_first(records)):
        return KARPATHY, records
    if records == [] or _is_table(records):
        file, rows = os.path.basename(path), enumerate(records)
        return TABLE, record_rows((f"{file}[{k}]", row) for k, row in rows)
    first = _first(records) if isinstance(records, list) else value
    shown = list(first)[:10] if isinstance(first, dict) else first
    raise UserError(
        'Expected COCO\'s {"images": [...], "annotations": [...]}, Karpathy\'s '
        '{"images": [{"sentences": [...]}]}, a token file, CSV, JSON Lines or '
        f"JSON records with file names and captions in {path}; name another "
        f"with {flag}=FILE. Received: {type(value).__name__} of {shown!r:.200}"
    )


def _transposed(record):
    """Returns the records of columns, as pandas writes them; or the record."""
    columns = [
        list(c.values()) if isinstance(c, dict) else c for c in record.values()
    ]
    lists = all(isinstance(column, list) for column in columns)
    if not lists or len({len(column) for column in columns}) != 1:
        return [record]
    return [
        dict(zip(record, row, strict=True))
        for row in zip(*columns, strict=True)
    ]


def _first(records):
    return records[0] if isinstance(records, list) and records else None


def _is_karpathy(record):
    sentences = isinstance(record, dict) and record.get("sentences")
    return isinstance(_first(sentences), dict)


def _is_table(records):
    """Whether the first of records has fields of a table."""
    first = _first(records)
    fields = Columns.of(tuple(first)) if isinstance(first, dict) else None
    return bool(fields and fields.complete and not _is_karpathy(first))


def add_captions(
    gathering: Gathering,
    path: str,
    folder: ImageFolder | None = None,
    flag: str = "--captions",
) -> None:
    """Adds a file of whichever format; for scoring, without images."""
    form, content = read_captions(gathering, path, flag)
    if form == COCO:
        add_coco(gathering, content, path, None, folder)
    elif form == KARPATHY:
        add_karpathy(gathering, content, folder)
    else:
        add_rows(gathering, content, folder, hash_splits=form == TABLE)


def add_coco(
    gathering: Gathering,
    content: Any,
    path: str,
    split: str | None = None,
    folder: ImageFolder | None = None,
) -> None:
    """Adds COCO's caption annotations: `content`, of the file `path`.

    For scoring, without `folder`, images may have no file name, and the list
    of images may be left out. A number is the same id as its text.
    """
    images, annotations = content.get("images"), content.get("annotations")
    file = os.path.basename(path)
    if images is None and folder is None and isinstance(annotations, list):
        keys = dict.fromkeys(_identifier(a, "image_id") for a in annotations)
        images = [{"id": key} for key in keys if key is not None]
    _check_coco(images, annotations, path)
    names, unpadded = {}, None
    shared = _shared_ids(images)
    for number, image in enumerate(images):
        key = _identifier(image, "id")
        if key is None or _number(key) in names or _number(key) in shared:
            where = f"{file} images[{number}]"
            gathering.doubt("image", where, "no id of its own")
            continue
        name = image.get("file_name")
        if name is None and folder is None:
            name = str(key)
        usable = gathering.add_image(name, split, folder, numbers={"id": key})
        names[_number(key)] = name if usable else None
    for number, annotation in enumerate(annotations):
        key = _number(_identifier(annotation, "image_id"))
        if key is not None and key not in names:
            unpadded = _unpadded(names) if unpadded is None else unpadded
            key = unpadded.get(str(key).lstrip("0"))
        if key is None:
            where = f"{file} annotations[{number}]"
            gathering.doubt("caption", where, "of an image that is not named")
        elif names[key] is not None:
            gathering.add_caption(names[key], annotation.get("caption"))


def _shared_ids(images: list[Any]) -> set[int | str | None]:
    """Returns the ids of several files, whose captions could be of either."""
    files, shared = {}, set()
    for image in images:
        if isinstance(image, dict):
            key, file = (
                _number(_identifier(image, "id")),
                image.get("file_name"),
            )
            if files.setdefault(key, file) != file:
                shared.add(key)
    return shared


def _number(key: int | str | None) -> int | str | None:
    """Returns the number that text is, written as Python does."""
    if type(key) is not str or not (key.isascii() and key.isdecimal()):
        return key
    return int(key) if key == "0" or len(key) < 20 and key[0] != "0" else key


def _unpadded(keys: Iterable[int | str]) -> dict[str, int | str]:
    """Returns ids by their text without zeros in front, where that is one's."""
    texts = collections.Counter(str(key).lstrip("0") for key in keys)
    named = ((str(key).lstrip("0"), key) for key in keys)
    return {text: key for text, key in named if texts[text] == 1}


def _check_coco(images, annotations, path):
    if not isinstance(images, list) or not isinstance(annotations, list):
        lists = type(images).__name__, type(annotations).__name__
        raise UserError(
            f'Expected {{"images": [...], "annotations": [...]}} in {path}; '
            "give COCO's caption annotations with --captions=FILE. Received: "
            f"images of {lists[0]} and annotations of {lists[1]}"
        )
    records = [one for one in annotations if isinstance(one, dict)]
    if records and not any("caption" in one for one in records):
        raise UserError(
            f"Expected annotations with captions in {path}; give COCO's "
            "captions_*.json, not its instances or keypoints. Received: "
            f"annotations of {', '.join(map(str, records[0]))}"[:500]
        )


def _identifier(record: Any, key: str) -> int | str | None:
    value = record.get(key) if isinstance(record, dict) else None
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) else None


def add_karpathy(
    gathering: Gathering,
    images: list[Any],
    folder: ImageFolder | None = None,
) -> None:
    """Adds the images of Karpathy's split JSON.

    An image is searched as `filepath/filename`, then, where no other has this
    name, as `filename`. For scoring, without `folder`, images may have only
    a `cocoid` or `imgid`.
    """
    records = [image for image in images if isinstance(image, dict)]
    names = collections.Counter(str(r.get("filename")) for r in records)
    for number, image in enumerate(images):
        if isinstance(image, dict):
            is_unique = names[str(image.get("filename"))] == 1
            _add_karpathy_image(gathering, image, folder, is_unique)
        else:
            gathering.doubt("image", f"images[{number}]", "not an object")


def _add_karpathy_image(gathering, image, folder, is_unique):
    numbers = {"id": _identifier(image, "cocoid")}
    numbers["imgid"] = _identifier(image, "imgid")
    numbers = {k: value for k, value in numbers.items() if value is not None}
    name = image.get("filename")
    if name is None and folder is None:
        name = next(map(str, numbers.values()), None)
    files = [name]
    if isinstance(image.get("filepath"), str) and isinstance(name, str):
        name = posixpath.join(image["filepath"], name)
        files = [name, *files] if is_unique else [name]
    split = canonical_split(image.get("split"))
    if split is None and folder is not None:
        return gathering.doubt("image", name, "no split")
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


def _token_rows(text: str, path: str) -> Iterator[CaptionRow]:
    """Yields the lines of a token file."""
    for number, line in split_lines(text):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name, _, index = key.rpartition("#")
        if tab and name and index.isdecimal():
            yield CaptionRow(key, name, [caption])
        else:
            where = f"{os.path.basename(path)} line {number}"
            problem = "not NAME.jpg#k<TAB>caption"
            yield CaptionRow(where, problem=problem)


def add_rows(
    gathering: Gathering,
    rows: Iterable[CaptionRow],
    folder: ImageFolder | None = None,
    hash_splits: bool = True,
) -> None:
    """Adds the rows of a table or token file; those of one image gather."""
    rows = list(rows)
    has_splits = any(row.split for row in rows if not row.problem)
    gathering.hashes_splits |= hash_splits and not has_splits
    for row in rows:
        problem = row.problem
        if has_splits and not problem and row.split is None:
            problem = "no split, though others have one"
        if not problem and row.name not in gathering:
            if not gathering.add_image(row.name, row.split, folder, merge=True):
                continue
        if (
            not problem
            and has_splits
            and gathering.split(row.name) != row.split
        ):
            problem = f"its image is in {gathering.split(row.name)} already"
        if problem:
            gathering.doubt("caption", row.where, problem)
        else:
            for text in row.captions:
                gathering.add_caption(row.name, text, row.where)
