"""Windows-1252, which Western European spreadsheets write, where it is certain.

The bytes of one code page are letters in every other, so that a wrong guess
is silent. A guess counts as certain here where all that is not ASCII are
letters of one Western European language, less than most of any word, and marks
that stand where marks stand. Text of other code pages, such as Russian,
Chinese, Polish or that of DOS and of old Macs, then fails.
"""

import re

# Beside the letters a to z, those of each language and of its loan words.
_LETTERS = (
    "äöüßéèêàâçñ",  # German
    "àâæçèéêëîïôœùûüÿñ",  # French
    "áéíóúüñçàèïòªº",  # Spanish, Catalan
    "áâãàçéêíóôõúüñªº",  # Portuguese
    "àèéìíîòóùúçêñªº",  # Italian
    "ëéèêïíîóòôöüûúáàâäçñ",  # Dutch
    "æøåéèêóòôàâçñüäö",  # Danish, Norwegian
    "åäöéèêàâáüçñæø",  # Swedish, Finnish
    "äöõüéèàçñ",  # Estonian
    "áéíóúýðþæö",  # Icelandic
)
_MARKS = "€£§©®°²³½·×±¡¿«»„“”‘’…–—\u00a0"
_WORD = re.compile(r"[^\W\d_]+")
# Marks in pairs are halves of other scripts' characters; and between two
# letters stand only apostrophes, dots and dashes.
_MISPLACED = re.compile(r"[¡-¿]{2}|[^\W\d_][€£§©®°²³½×±¡¿«»„“”…][^\W\d_]")


def decode_western(data: bytes) -> str | None:
    """Returns the text of Windows-1252, or `None` where that is not certain."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    used = {c for c in text if not c.isascii()} - set(_MARKS)
    letters = {character.lower() for character in used}
    if not any(letters.issubset(language) for language in _LETTERS):
        return None
    if "\0" in text or _MISPLACED.search(text):
        return None
    words = (w for w in _WORD.findall(text) if not w.isascii())
    return text if all(_is_mostly_ascii(word) for word in words) else None


def _is_mostly_ascii(word: str) -> bool:
    others = sum(not character.isascii() for character in word)
    return others <= (len(word) + 1) // 2
