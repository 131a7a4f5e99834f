"""Reading text that others wrote: lines, JSON, JSON Lines and CSV.

Each reader checks the size before it reads and names the file, and the line
where there is one, in its errors.
"""

import csv
import json
import os
from collections.abc import Iterator
from typing import Any

from pipelines.errors import UserError

# Karpathy's JSON for COCO, the largest in use, is 144 MB.
MAX_ANNOTATION_BYTES = 2**30


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the lines of a UTF-8 file, with or without a byte-order mark.

    Args:
        path: The file.

    Yields:
        The number of the line, from 1, and the line with its newline.

    Raises:
        UserError: The file is missing, too large, or not UTF-8.
    """
    _check_file(path)
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"Expected UTF-8 text in {path}, line {number}: {error}; "
                    "save the file as UTF-8."
                ) from error


def read_json(path: str) -> Any:
    """Returns what a JSON file holds.

    Raises:
        UserError: The file is missing, too large, or not JSON in UTF-8.
    """
    text = "".join(line for _, line in read_lines(path))
    return _parse_json(text, path)


def read_json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the number and the object of each line that is not blank.

    Raises:
        UserError: The file is missing, too large, or a line is not an object.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        record = _parse_json(line, path, number)
        if not isinstance(record, dict):
            raise UserError(
                f"Expected a JSON object in {path}, line {number}. "
                f"Received: {line.strip()[:80]!r}"
            )
        yield number, record


def read_csv(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the rows of a CSV file as its header names them.

    Fields beyond the header are under the key `None`.

    Yields:
        The number of the line where the row ends, and the row.

    Raises:
        UserError: The file is missing, too large, or badly quoted.
    """
    lines = (line for _, line in read_lines(path))
    rows = csv.DictReader(lines, strict=True)
    try:
        rows.fieldnames = [
            name.strip().lower() for name in rows.fieldnames or ()
        ]
        for row in rows:
            yield rows.reader.line_num, row
    except csv.Error as error:
        raise UserError(
            f"Expected CSV with double quotes around fields that hold commas "
            f"in {path}, line {rows.reader.line_num}: {error}"
        ) from error


def _check_file(path):
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        raise UserError(
            "Expected a file with captions or splits that can be read; name "
            f"it with --captions=FILE, or its folder with --data_dir=FOLDER. "
            f"Received: {path!r}"
        )
    size = os.path.getsize(path)
    if size > MAX_ANNOTATION_BYTES:
        raise UserError(
            f"Expected at most {MAX_ANNOTATION_BYTES} bytes in {path}; split "
            f"the file. Received: {size} bytes"
        )


def _parse_json(text, path, line=None):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = line or getattr(error, "lineno", 1)
        raise UserError(
            f"Expected JSON in {path}, line {where}: {error}"
        ) from error
