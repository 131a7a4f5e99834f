"""Makes text of strangers fit for terminals and spreadsheets.

File names, captions and answers of servers may hold anything: line breaks that
forge a line, escapes that control the terminal, half characters that no file
can hold.
"""

import re

# Control characters, line and paragraph separators, what turns the direction
# of writing, and surrogates: Python's form of bytes that are no Unicode.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    r"""Returns text as one line that any terminal and UTF-8 file can take.

    Control characters, line breaks, overrides of the direction of writing
    and bytes that are no Unicode become escapes such as `\n` and `\xe9`.
    Everything else stays.

        >>> printable("caf\udce9\x1b[2J.jpg")
        'caf\\xe9\\x1b[2J.jpg'
    """
    return _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":  # How Python holds such a byte.
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def csv_cell(text: str) -> str:
    """Returns text that spreadsheets do not take for a formula.

    It gets a leading apostrophe where it begins with `=`, `+`, `-`, `@`, a tab
    or a carriage return. Numbers are not passed through it.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text
