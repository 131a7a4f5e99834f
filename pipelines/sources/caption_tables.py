"""Tables of file names and captions, of spreadsheets and of JSON.

A table has a column of file names and one or more of captions, such as
`caption1` to `caption5`, under the names below, and perhaps `split`. In JSON
records one field may hold a list of captions.

What separates the columns of CSV is decided by its header: the first of comma,
semicolon, tab and bar by which it has both columns. (`csv.Sniffer` counts
characters, and captions are full of commas.) Rows and columns that a
spreadsheet left empty do not count. Where quotes do not match, they are text,
if every row has as many cells as the header without them.
"""

import collections
import csv
import dataclasses
import functools
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipelines.errors import UserError
from pipelines.sources.gathering import canonical_split
from pipelines.sources.image_folder import canonical_name

# In the order in which they are preferred.
_FILE_COLUMNS = (
    *("file", "file_name", "filename", "image", "image_name", "image_file"),
    *("filepath", "file_path", "image_path", "image_filename", "path", "img"),
    *("img_name", "img_path", "photo"),
)
_CAPTION_COLUMNS = (
    *("caption", "text", "comment", "sentence", "description", "title", "raw"),
)
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# A first line by which spreadsheets name what separates the columns.
_NAMED_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[,;\t|]*(?:\r\n?|\n)', re.I)


@dataclasses.dataclass
class CaptionRow:
    """A row of a table, or a line; `problem` says why it cannot be used."""

    where: str
    name: str = ""
    captions: Sequence[Any] = ()
    split: str | None = None
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """The positions of the columns of a table, or of the fields of a record."""

    file: int | None
    captions: tuple[int, ...]
    split: int | None

    @classmethod
    def of(cls, header: Sequence[str]) -> "Columns":
        """Finds them by their names, in whatever case."""
        names = [re.sub(r"[\s-]+", "_", c.strip().lower()) for c in header]
        files = [names.index(c) for c in _FILE_COLUMNS if c in names]
        captions = ()
        for column in _CAPTION_COLUMNS:
            form = re.compile(rf"{column}s?(_?\d{{1,3}})?")
            captions = [k for k, n in enumerate(names) if form.fullmatch(n)]
            if captions:
                break
        split = names.index("split") if "split" in names else None
        return cls(files[0] if files else None, tuple(captions), split)

    @property
    def complete(self) -> bool:
        """Whether there are file names and captions."""
        return self.file is not None and bool(self.captions)


def csv_rows(text: str, path: str) -> Iterator[CaptionRow]:
    """Yields the rows of CSV text below its header.

    Raises:
        UserError: It has no header with both columns, or quotes that do not
            match.
    """
    named = _NAMED_SEPARATOR.match(text)
    above = 1 if named else 0
    text = text[named.end() :] if named else text
    header, separator = _header(text, path, named and named[1])
    columns, rows = Columns.of(header), _reader(text, separator)
    start, file, below = above + 1, os.path.basename(path), False
    if _has_loose_quotes(text, separator, len(header)):
        rows = _reader(text, separator, csv.QUOTE_NONE)
    try:
        for row in rows:
            where, start = f"{file} line {start}", above + rows.line_num + 1
            if any(map(str.strip, row)):
                if below:
                    surplus = any(map(str.strip, row[len(header) :]))
                    kind = _SEPARATORS[separator] if surplus else ""
                    yield _csv_row(where, row, columns, kind)
                below = True
    except csv.Error as error:
        raise UserError(
            "Expected CSV with double quotes around fields that hold a "
            f"{_SEPARATORS[separator]} in {path}, line "
            f"{above + rows.line_num}, in the row that begins in line {start}: "
            f"{error}"
        ) from error


def _has_loose_quotes(text, separator, width):
    """Whether quotes are no CSV, and all is well without them."""
    try:
        collections.deque(_reader(text, separator), maxlen=0)
    except csv.Error as error:
        if "end of data" in str(error):  # Perhaps the file is not complete.
            return False
    else:
        return False
    try:
        rows = _reader(text, separator, csv.QUOTE_NONE)
        return all(len(row) == width for row in rows if any(row))
    except csv.Error:
        return False


def _csv_row(where, row, columns, surplus):
    if surplus:
        problem = f"more fields than the header; quote what holds a {surplus}"
        return CaptionRow(where, problem=problem)
    return _row(where, dict(enumerate(map(str.strip, row))), columns)


def _header(text, path, separator) -> tuple[list[str], str]:
    """Returns the cells of the header, and what separates them."""
    for one in separator or _SEPARATORS:
        try:
            rows = _reader(text, one)
            header = next((row for row in rows if any(map(str.strip, row))), [])
        except csv.Error:
            continue
        if Columns.of(header).complete or not header:
            return header, one
    first = text.lstrip().splitlines()[0]
    raise UserError(
        f"Expected a header such as file,caption in {path}: a column of file "
        f"names ({', '.join(_FILE_COLUMNS[:4])}, ...) and one of captions "
        f"({', '.join(_CAPTION_COLUMNS[:3])}, ...). Received: {first[:80]!r}"
    )


def _reader(text, separator, quoting=csv.QUOTE_MINIMAL):
    # Kaggle's Flickr30k has spaces after its bars, and quotes that are text;
    # where they follow commas, quotes after them are quotes.
    first = text.lstrip()[:1000].partition("\n")[0]
    spaced = f"{separator} " in first and separator != "|"
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quoting=quoting,
        skipinitialspace=spaced,
        strict=True,
    )


def record_rows(
    records: Iterable[tuple[str, Any]],
) -> Iterator[CaptionRow]:
    """Yields the rows of JSON records, each with its name in messages."""
    for where, record in records:
        if not isinstance(record, dict):
            yield CaptionRow(where, problem="not an object")
            continue
        columns = _fields(tuple(record))
        yield _row(where, dict(enumerate(record.values())), columns)


@functools.lru_cache(maxsize=100)
def _fields(names: tuple[str, ...]) -> Columns:
    return Columns.of(names)


def _row(where, cells, columns):
    file = cells.get(columns.file)
    if not isinstance(file, str) or not file.strip():
        return CaptionRow(where, problem="no file name")
    if not columns.captions:
        return CaptionRow(where, problem="no caption")
    captions = [cells.get(position, "") for position in columns.captions]
    # Of several columns, some are empty where there are fewer captions.
    captions = [c for c in captions if c not in ("", None)] or captions[:1]
    texts = []
    for caption in captions:
        texts += caption if isinstance(caption, list) else [caption]
    split = canonical_split(cells.get(columns.split))
    return CaptionRow(where, canonical_name(file.strip()), texts, split)
