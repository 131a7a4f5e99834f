"""JSON that is too large to hold: one record at a time.

COCO's instances are some 450 MB in a file, nearly all of it outlines. Read
whole they take gigabytes; read in pieces, a few megabytes.
"""

import json
import os
import re
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from pipelines.errors import UserError

_LARGEST_FILE = 2 * 2**30  # bytes
_LARGEST_VALUE = 2**22  # characters
_CHUNK = 2**20  # characters

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODE = json.JSONDecoder().raw_decode


def read_records(
    path: str, names: Collection[str]
) -> Iterator[tuple[str, int, Any]]:
    """Yields the records of some lists of a JSON file, in the file's order.

    Args:
        path: A file such as `{"images": [{...}, ...], "categories": [...]}`.
        names: The lists wanted; others are passed over.

    Yields:
        The name of the list, the number of the record in it, from 0, and the
        record.

    Raises:
        UserError: The file is missing, too large, no such JSON, or a single
            value has more than four million characters.
    """
    try:
        size = os.path.getsize(path)
        if size > _LARGEST_FILE:
            raise UserError(
                f"Expected at most {_LARGEST_FILE} bytes in {path}; split the "
                f"file. Received: {size} bytes"
            )
        with open(path, encoding="utf-8-sig") as file:
            for name, number, record in _Reader(file, path).lists():
                if name in names:
                    yield name, number, record
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


class _Reader:
    """Goes through a JSON object and keeps only the text at hand."""

    def __init__(self, file: TextIO, path: str):
        self._file, self._path = file, path
        self._text, self._at, self._ended = "", 0, False

    def lists(self) -> Iterator[tuple[str, int, Any]]:
        """Yields the elements of every list of the object."""
        self._expect("{", "the beginning")
        more = not self._take("}")
        while more:
            name = self._value("a name")
            self._expect(":", f"{name!r:.100}")
            if self._take("["):
                for number, record in self._elements(name):
                    yield name, number, record
            else:
                self._value(f"{name!r:.100}")
            more = self._take(",")
            if not more:
                self._expect("}", "the end")
        if self._next():
            self._fail("the end", "more text")

    def _elements(self, name):
        number, more = 0, not self._take("]")
        while more:
            where = f"{name:.100}[{number}]"
            yield number, self._value(where)
            number += 1
            more = self._take(",")
            if not more:
                self._expect("]", where)

    def _value(self, where):
        """Reads one JSON value."""
        self._next()
        while True:
            try:
                value, end = _DECODE(self._text, self._at)
                # A number goes on, perhaps, where the text at hand ends.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
                problem = "it is too long"
            # What is cut short looks damaged; deep nesting overflows.
            except (ValueError, RecursionError) as error:
                problem = str(error)
            too_long = len(self._text) - self._at > _LARGEST_VALUE
            if self._ended or too_long:
                self._fail(where, problem)
            self._read_on()

    def _take(self, sign):
        """Passes over a sign if it is the next one."""
        taken = self._next() == sign
        self._at += taken
        return taken

    def _expect(self, sign, where):
        if not self._take(sign):
            self._fail(where, f"{self._next()!r} in place of {sign!r}")

    def _next(self):
        """Returns the next sign that is no white space; `""` at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._read_on()

    def _read_on(self):
        rest = self._text[self._at :]
        more = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._at, self._ended = rest + more, 0, not more

    def _fail(self, where, problem):
        raise UserError(
            f"Expected JSON with lists of records in {self._path}. Received "
            f"at {where}: {problem}"
        )
