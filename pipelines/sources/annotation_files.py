"""Reads annotations that others wrote: text, lines, JSON Lines, large JSON.

Files may be damaged or malicious: sizes and depths are limited, and errors
name the file and the line or record.
"""

import io
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

import ijson

from pipelines.errors import UserError
from pipelines.files import check_size, decode_text, parse_json, read_bytes
from pipelines.sources.western_text import decode_western

MEND = "name it with --captions=FILE, or its folder with --data_dir=FOLDER"

_MAX_RECORDS_BYTES = 2 * 2**30  # of a file that is read record by record
_MAX_VALUE_BYTES = 2**22  # of one record
_MAX_DEPTH = 100


def read_annotations(path: str, mend: str = MEND) -> tuple[str, str]:
    """Returns the text of a file, and a note on its encoding, mostly empty.

    Text is Unicode, see `pipelines.files.read_text`, or Windows-1252 where
    that is certain.
    """
    data = read_bytes(path, mend)
    if data.startswith(b"PK\x03\x04"):
        raise UserError(
            f"Expected text in {path}; save a spreadsheet as CSV (UTF-8). "
            "Received: a workbook or another zip file"
        )
    try:
        return decode_text(data, path), ""
    except UserError:
        text = decode_western(data)
        if text is None:
            raise
    return text, "read as Windows-1252; save it as UTF-8 if letters are wrong"


def split_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each line."""
    # Of the characters that end lines for Python, only the newline does here;
    # old Macs end all lines by a carriage return.
    newline = "\n" if "\n" in text else "\r"
    yield from enumerate(io.StringIO(text, newline=newline), start=1)


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each line of a file."""
    yield from split_lines(read_annotations(path)[0])


def split_json_lines(
    text: str, path: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the number and the object of each line that is not blank."""
    for number, line in split_lines(text):
        if not line.strip():
            continue
        record = parse_json(line.rstrip(), path, number)
        if not isinstance(record, dict):
            raise UserError(
                f"Expected a JSON object in {path}, line {number}. "
                f"Received: {line.strip()[:80]!r}"
            )
        yield number, record


def read_json_records(
    path: str, fields: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, int, Any]]:
    """Yields list, index and record of the lists named by `fields`.

    COCO's instances are some 450 MB in a file, nearly all of it outlines.
    Read completely they take gigabytes; record by record a few megabytes.
    Objects have only the fields wanted; a value has at most 4 MiB.
    """
    try:
        check_size(path, _MAX_RECORDS_BYTES)
        with open(path, "rb") as file:
            if file.read(3) != b"\xef\xbb\xbf":
                file.seek(0)
            yield from _Records(file, path).read(fields)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error


class _LimitedFile(io.RawIOBase):
    """Passes bytes on until one value takes too many."""

    def __init__(self, file: BinaryIO):
        self._file, self.value_bytes = file, 0

    def readinto(self, buffer) -> int:
        count = self._file.readinto(buffer)
        self.value_bytes += count
        if self.value_bytes > _MAX_VALUE_BYTES:
            raise ValueError(f"more than {_MAX_VALUE_BYTES} bytes")
        return count


class _Records:
    """Builds records from the events of a JSON parser."""

    def __init__(self, file: BinaryIO, path: str):
        self._file, self._path = _LimitedFile(file), path
        self._where = "the beginning"

    def read(self, fields):
        events = ijson.basic_parse(self._file, use_float=True)
        try:
            if next(events)[0] != "start_map":
                self._fail("a value in place of an object")
            yield from self._lists(events, fields)
        except (ijson.JSONError, ValueError, SystemError) as error:
            if isinstance(error, UserError):
                raise
            self._fail(str(error).strip().partition("\n")[0])

    def _lists(self, events, fields):
        for event, name in events:
            if event == "end_map":
                self._where = "the end"
                continue
            self._start(f"{name!r:.100}")
            event, value = next(events)
            if event != "start_array":
                self._value(event, value, events, None)
                continue
            for number, (event, value) in enumerate(events):
                self._start(f"{name:.100}[{number}]")
                if event == "end_array":
                    break
                wanted = fields.get(name)
                record = self._value(event, value, events, wanted)
                if wanted is not None:
                    yield name, number, record

    def _start(self, where):
        self._where, self._file.value_bytes = where, 0

    def _value(self, event, value, events, fields):
        """Returns a value; of an object the `fields`, of others nothing."""
        if not event.startswith("start"):
            return value
        builder, depth = ijson.ObjectBuilder(), 1
        builder.event(event, value)
        kept = fields is not None
        for event, value in events:
            if event == "number" and not kept:
                continue  # Outlines, nearly all of the file.
            if depth == 1 and event == "map_key":
                kept = fields is not None and value in fields
            if event.startswith("start"):
                depth += 1
                if depth > _MAX_DEPTH:
                    self._fail("brackets that are nested too deeply")
            elif event.startswith("end"):
                depth -= 1
            if kept or not depth:
                builder.event(event, value)
            if not depth:
                return builder.value

    def _fail(self, problem):
        raise UserError(
            f"Expected JSON with lists of records in {self._path}. Received "
            f"at {self._where}: {problem}"
        )
